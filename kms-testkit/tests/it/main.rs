//! Behaviour of the test kit itself.

mod broken;
#[cfg(all(feature = "deterministic", any(debug_assertions, fuzzing)))]
mod deterministic;
mod faults;
mod suite;
#[cfg(feature = "vault")]
mod vault;
