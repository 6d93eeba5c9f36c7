//! Behaviour of the test kit itself.

mod broken;
mod faults;
mod suite;
