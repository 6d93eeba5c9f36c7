//! What composes the other crates: provider URIs, decrypting one stored value, a whole
//! cluster's objects, and the quickstart
//! scenario. The binary `kms` is arguments in and text out over this.

pub mod cluster;
mod decrypt;
mod failure;
mod figures;
mod input;
pub mod policy;
pub mod provider;
pub mod quickstart;
pub mod retire;
pub mod rotation;

pub use decrypt::{DecryptRequest, Decrypted, decrypt};
pub use failure::Failure;
pub use input::{
    Encoding, StoredInput, advice_on_damage, advice_on_encoding, read_manifest, read_secret,
    read_text, read_value,
};
