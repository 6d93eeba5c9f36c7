//! Key Vault as a provider, against the loopback vault.

mod compat;
mod conformance;
mod counts;
mod credentials;
mod doctor;
mod example;
mod failures;
mod rotation;
mod secrecy;
mod spans;
mod support;
mod transport;
