//! The loopback Key Vault and Managed HSM, over the wire.

mod client;
mod crypt;
