//! Envelope encryption: this SDK's own sealed format, and kube-apiserver's storage formats, read
//! and written byte for byte.
//!
//! [`sealed`] is the format for everything that is ours: one or several recipients, key
//! commitment, streams. [`crypto`] is what it takes its primitives from.
//!
//! [`kubernetes`] parses a real `EncryptionConfiguration`, reads and writes the values that
//! kube-apiserver keeps in etcd, and says without any key what a stored value is encrypted with.
//!
//! No network, no clock, no file system: keys come from a [`kms_core::KeyProvider`], time and
//! randomness are injected.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod crypto;
mod error;
pub mod kubernetes;
pub mod sealed;

pub use error::{Error, ErrorKind};
