//! Azure Key Vault and Managed HSM as key providers.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod activation;
pub mod compat;
pub mod credential;
pub mod doctor;
pub mod error;
mod jitter;
pub mod key_url;
pub mod provider;
pub mod transport;
pub mod vault;
