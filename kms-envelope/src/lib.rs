//! kube-apiserver's storage formats, read and written byte for byte.
//!
//! [`kubernetes`] parses a real `EncryptionConfiguration`, reads and writes the values that
//! kube-apiserver keeps in etcd, and says without any key what a stored value is encrypted with.
//!
//! [`cache`] keeps DEKs in memory for any program that seals or opens data.
//!
//! No network, no clock, no file system: keys come from a [`kms_core::KeyProvider`], time and
//! randomness are injected.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod cache;
mod error;
pub mod kubernetes;

pub use error::{Error, ErrorKind};
