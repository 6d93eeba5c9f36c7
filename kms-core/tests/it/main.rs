//! Behaviour of the core crate, one binary for all.

mod layers;
#[cfg(feature = "local")]
mod local;
