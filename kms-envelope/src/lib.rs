//! Envelope encryption: this SDK's own sealed format, and kube-apiserver's storage formats, read
//! and written byte for byte.
//!
//! [`Envelope`] seals and opens data under key providers. [`sealed`] is its format: one or several
//! recipients, key commitment, streams. [`crypto`] is what that takes its primitives from.
//!
//! [`kubernetes`] parses a real `EncryptionConfiguration`, reads and writes the values that
//! kube-apiserver keeps in etcd, and says without any key what a stored value is encrypted with.
//!
//! [`cache`] keeps DEKs in memory for any program that seals or opens data.
//!
//! [`reencrypt`] counts what a cluster's objects are encrypted with.
//!
//! No network, no clock, no file system: keys come from a [`kms_core::KeyProvider`], time and
//! randomness are injected. With the feature `arbitrary`, the types that a caller hands in are made
//! out of a fuzzer's bytes; see `kms_core::arbitrary`.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "arbitrary")]
mod arbitrary;
pub mod cache;
pub mod crypto;
mod digest;
mod envelope;
mod error;
pub mod kubernetes;
pub mod reencrypt;
pub mod sealed;

pub use envelope::{Envelope, EnvelopeBuilder, Purpose};
pub use error::{Error, ErrorKind};
