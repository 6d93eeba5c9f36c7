//! The stored formats: bytes to parts and back.

pub(super) mod aes_cbc;
pub(super) mod aes_gcm;
pub(super) mod kms_v1;
pub(super) mod kms_v2;
pub(super) mod plaintext;
pub(super) mod prefix;
pub(super) mod secretbox;

use crate::{Error, ErrorKind};

/// What is wrong with the shape of a value: the field, and the fault. Costs nothing to make, since
/// a reader may meet many and a census meets them by the thousand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) field: &'static str,
    pub(super) problem: &'static str,
}

impl Fault {
    pub(super) const fn new(field: &'static str, problem: &'static str) -> Self {
        Self { field, problem }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::new(
            ErrorKind::Malformed,
            format!("{} {}", fault.field, fault.problem),
        )
    }
}

/// The one answer to data that does not open, whatever the reason.
pub(super) fn does_not_open() -> Error {
    Error::new(
        ErrorKind::Crypto,
        "the value does not open under this key and etcd key",
    )
}

#[cfg(not(feature = "kubernetes-legacy"))]
pub(super) fn needs_legacy(cipher: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("{cipher} needs a build with the feature `kubernetes-legacy`"),
    )
}

pub(super) fn bad_key(cipher: &str) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("a key of this length is none for {cipher}"),
    )
}

pub(super) fn too_long() -> Error {
    Error::new(ErrorKind::Unsupported, "the plaintext is too long")
}
