//! Key Vault as a provider, against the loopback vault.

mod conformance;
mod support;
