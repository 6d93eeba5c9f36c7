//! Behaviour of the test kit itself.

mod broken;
mod faults;
mod suite;
#[cfg(feature = "vault")]
mod vault;
