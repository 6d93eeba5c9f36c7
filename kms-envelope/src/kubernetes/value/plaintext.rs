//! A decrypted value on its way to the caller.

use kms_core::SecretBytes;

pub(crate) use crate::crypto::wipe;

/// Wiped when dropped.
///
/// `zeroize` writes byte by byte, which takes longer than the decryption did; this
/// fills the buffer at memory speed and keeps the compiler from leaving that out.
pub(crate) struct Plaintext(Vec<u8>);

impl Plaintext {
    /// A buffer that holds `bytes`, to be decrypted in place.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Cuts off what is no secret, such as padding: it is not wiped.
    #[cfg(feature = "kubernetes-legacy")]
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub(crate) fn into_secret(mut self) -> SecretBytes {
        SecretBytes::from_vec(core::mem::take(&mut self.0))
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}
