//! The stored formats: bytes to parts and back.

pub(super) mod aes_cbc;
pub(super) mod aes_gcm;
pub(super) mod kms_v1;
pub(super) mod kms_v2;
pub(super) mod plaintext;
pub(super) mod prefix;
pub(super) mod secretbox;
pub(super) mod wire;

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

#[cfg(all(test, not(feature = "kubernetes-legacy")))]
mod tests {
    use super::*;

    #[test]
    fn what_this_build_lacks_is_said() {
        let body = [7; 48];
        let kind = |error: Option<Error>| error.map(|error| error.kind());
        let unsupported = Some(ErrorKind::Unsupported);
        assert_eq!(kind(aes_cbc::open(&[0; 32], &body).err()), unsupported);
        assert_eq!(kind(secretbox::open(&[0; 32], &body).err()), unsupported);
        assert_eq!(kind(aes_gcm::open(&[0; 24], b"", &body).err()), unsupported);
        // It may be the AES-CBC of an old KMS v1.
        assert_eq!(kind(kms_v1::open(&[0; 32], b"", &body).err()), unsupported);
        let not_cbc = kms_v1::open(&[0; 32], b"", &body[..47]).err();
        assert_eq!(kind(not_cbc), Some(ErrorKind::Crypto));
    }
}
