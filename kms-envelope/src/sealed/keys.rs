//! What is derived from a DEK, and digests: sections 3 to 5 of the specification.

use core::fmt;

use kms_core::EncryptionContext;
use zeroize::Zeroizing;

use super::header::{BOUND_LEN, SALT_LEN};
use super::{internal, recipients};
use crate::Error;
use crate::crypto::{CryptoBackend, Key32};

/// Bytes of a DEK.
pub(super) const DEK_LEN: usize = 32;

// Each label stands behind its length. What follows the first two is the length of the header's
// bound part.
const MESSAGE_KEY: &[u8] = b"\0\x19kms-sealed-v1 message key\0\x48";
const COMMITMENT: &[u8] = b"\0\x18kms-sealed-v1 commitment\0\x48";
const RECIPIENTS: &[u8] = b"\0\x18kms-sealed-v1 recipients";
const CONTEXT: &[u8] = b"\0\x15kms-sealed-v1 context";
const STREAM_AAD: &[u8] = b"\0\x18kms-sealed-v1 stream aad";

/// What the bytes of one message are under.
pub(super) struct MessageKeys {
    pub(super) message: Key32,
    /// Stands in the header; not secret there.
    pub(super) commitment: Key32,
}

impl MessageKeys {
    pub(super) fn derive(
        backend: &dyn CryptoBackend,
        dek: &[u8],
        salt: &[u8; SALT_LEN],
        bound: &[u8; BOUND_LEN],
    ) -> Result<Self, Error> {
        let mut keys: [Key32; 2] = Default::default();
        let infos: [&[&[u8]]; 2] = [&[MESSAGE_KEY, bound], &[COMMITMENT, bound]];
        backend
            .hkdf_sha256(salt, dek, &infos, &mut keys)
            .map_err(|_| internal("key derivation failed"))?;
        let [message, commitment] = keys;
        Ok(Self {
            message,
            commitment,
        })
    }
}

/// What the list of recipients is authenticated with, the same for all messages of a DEK.
pub(super) fn recipients_key(backend: &dyn CryptoBackend, dek: &[u8]) -> Result<Box<Key32>, Error> {
    let mut key = Box::new(Zeroizing::default());
    backend
        .hkdf_sha256(
            &[0; 32],
            dek,
            &[&[RECIPIENTS]],
            core::slice::from_mut(&mut *key),
        )
        .map_err(|_| internal("key derivation failed"))?;
    Ok(key)
}

pub(super) fn recipients_mac(
    backend: &dyn CryptoBackend,
    key: &Key32,
    covered: &[u8],
) -> [u8; recipients::MAC_LEN] {
    backend.hmac_sha256(key.as_slice(), &[covered])
}

pub(super) fn stream_aad_digest(backend: &dyn CryptoBackend, aad: &[u8]) -> [u8; 32] {
    backend.sha256(&[STREAM_AAD, aad])
}

/// The digest of an encryption context, as it stands in a header. Not secret.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct ContextDigest(pub(super) [u8; 32]);

impl ContextDigest {
    /// The digest of this context.
    #[must_use]
    pub fn new(backend: &dyn CryptoBackend, context: &EncryptionContext) -> Self {
        Self(backend.sha256(&[CONTEXT, &context.to_canonical_bytes()]))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ContextDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContextDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextDigest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_stands_behind_its_length() {
        let labels = [
            (MESSAGE_KEY, "kms-sealed-v1 message key", true),
            (COMMITMENT, "kms-sealed-v1 commitment", true),
            (RECIPIENTS, "kms-sealed-v1 recipients", false),
            (CONTEXT, "kms-sealed-v1 context", false),
            (STREAM_AAD, "kms-sealed-v1 stream aad", false),
        ];
        for (bytes, label, bound) in labels {
            let mut expected = u16::try_from(label.len()).unwrap().to_be_bytes().to_vec();
            expected.extend_from_slice(label.as_bytes());
            if bound {
                expected.extend_from_slice(&u16::try_from(BOUND_LEN).unwrap().to_be_bytes());
            }
            assert_eq!(bytes, expected);
        }
    }
}
