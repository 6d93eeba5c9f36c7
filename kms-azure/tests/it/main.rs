//! Key Vault as a provider, against the loopback vault.

mod compat;
mod conformance;
mod doctor;
mod support;
