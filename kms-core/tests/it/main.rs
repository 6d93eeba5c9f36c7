//! Behaviour of the core crate, one binary for all.

#[cfg(feature = "arbitrary")]
mod arbitrary;
mod layers;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "local")]
mod state;
