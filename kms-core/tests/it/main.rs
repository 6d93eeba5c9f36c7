//! Behaviour of the core crate.

mod layers;
