//! Our own rules, by the engine of the agent.

mod build;
mod changes;
mod denial;
mod gates;
mod network;
mod state;
