//! Key Vault as a provider, against the loopback vault.

mod conformance;
mod counts;
mod credentials;
mod failures;
mod rotation;
mod secrecy;
mod support;
mod transport;
