//! What composes the other crates: provider URIs, decrypting one stored value, and the quickstart
//! scenario. The binary `kms` is arguments in and text out over this.

mod decrypt;
mod failure;
mod input;
pub mod provider;
pub mod quickstart;

pub use decrypt::{DecryptRequest, decrypt};
pub use failure::Failure;
pub use input::{Encoding, read_text, read_value};
