//! The loopback Key Vault and Managed HSM, over the wire.

mod client;
mod crypt;
mod errors;
mod interop;
mod life;
mod roles;
mod tokens;
mod wire;
