//! Kata agent policies for confidential pods.
//!
//! A confidential pod runs in a virtual machine whose agent obeys only what its policy allows, and whose
//! attestation report holds the hash of that policy. This crate makes the policy from the pod's YAML
//! ([`image`]: and from what is known of its images), offline and reproducibly.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod file;
pub mod generate;
pub mod image;
pub mod manifest;
mod policy;
pub mod rules;
pub mod settings;

pub use error::{Error, ErrorKind};
pub use policy::{MAX_ANNOTATIONS_LEN, Policy};
