//! Wrapping under an RSA key here, with its public half alone.
//!
//! Nothing is sent, and a vault's limits are not touched. The service itself advises it, and the
//! right to read the key is all that it takes. What the service would look at is looked at here:
//! whether the version is enabled, within its time, and allowed to wrap.

use kms_core::{Error, ErrorKind, SecretBytes};

use crate::vault::RsaPublicKey;

/// The size of the RSA key that a ciphertext is under, by its length; `None` if there is none.
pub(crate) const fn rsa_bits(ciphertext_len: usize) -> Option<u16> {
    match ciphertext_len {
        256 => Some(2048),
        384 => Some(3072),
        512 => Some(4096),
        _ => None,
    }
}

/// A public key, ready to wrap.
#[cfg(feature = "local-wrap")]
#[derive(Clone, Debug)]
pub(crate) struct LocalKey(aws_lc_rs::rsa::PublicEncryptingKey);

#[cfg(feature = "local-wrap")]
impl LocalKey {
    /// `None` if this is no public key, which a vault does not give.
    pub(crate) fn new(key: &RsaPublicKey) -> Option<Self> {
        let components = aws_lc_rs::rsa::PublicKeyComponents {
            n: key.modulus.as_slice(),
            e: key.exponent.as_slice(),
        };
        components.try_into().ok().map(Self)
    }

    /// RSA-OAEP-256: OAEP with SHA-256 and MGF1 with SHA-256, no label (RFC 8017).
    pub(crate) fn wrap(&self, dek: &SecretBytes) -> Result<Vec<u8>, Error> {
        use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey};
        let failed = |_| Error::new(ErrorKind::Internal, "the DEK could not be wrapped");
        let key = OaepPublicEncryptingKey::new(self.0.clone()).map_err(failed)?;
        let mut ciphertext = vec![0; key.ciphertext_size()];
        key.encrypt(&OAEP_SHA256_MGF1SHA256, dek.expose(), &mut ciphertext, None)
            .map_err(failed)?;
        Ok(ciphertext)
    }
}

/// Without the feature `local-wrap` there is no such key.
#[cfg(not(feature = "local-wrap"))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum LocalKey {}

#[cfg(not(feature = "local-wrap"))]
impl LocalKey {
    pub(crate) const fn new(_: &RsaPublicKey) -> Option<Self> {
        None
    }

    pub(crate) fn wrap(&self, _: &SecretBytes) -> Result<Vec<u8>, Error> {
        match *self {}
    }
}
