//! Behaviour tests of `kms-core`, one binary for all.

#[cfg(feature = "local")]
mod local;
