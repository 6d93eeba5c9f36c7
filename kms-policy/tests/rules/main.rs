//! Our own rules, by the engine of the agent.

mod any;
mod attacks;
mod build;
mod changes;
mod denial;
mod gates;
mod mutants;
mod network;
mod people;
mod state;
