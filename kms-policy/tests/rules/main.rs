//! Our own rules, by the engine of the agent.

mod any;
mod attacks;
mod build;
mod changes;
mod denial;
mod edges;
mod gates;
// Minutes in a release build, an hour in another.
#[cfg(not(debug_assertions))]
mod mutants;
mod network;
mod people;
mod state;
