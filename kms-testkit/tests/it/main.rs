//! Behaviour of the test kit itself.

mod broken;
mod broken_state;
#[cfg(all(feature = "deterministic", any(debug_assertions, fuzzing)))]
mod deterministic;
mod faults;
mod suite;
#[cfg(feature = "vault")]
mod vault;
