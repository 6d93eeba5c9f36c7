//! The primitives of the sealed format, injected.
//!
//! Nothing here implements a primitive: a backend hands the work to a library. [`ring`] is the
//! default; `aws-lc-rs` is behind the feature of that name. Both are held to the same tests.
//!
//! No backend keeps a prepared key. `ring` does not wipe its key schedules when it drops them, so
//! a schedule lives on the stack for one call, and what is kept between calls is raw key bytes in
//! types that wipe themselves.
//!
//! [`ring`]: RingBackend

use core::fmt;

use zeroize::Zeroizing;

#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
mod ring;
#[cfg(test)]
mod tests;

#[cfg(feature = "aws-lc-rs")]
pub use self::aws_lc::AwsLcBackend;
pub use self::ring::RingBackend;

/// A key of 32 bytes that wipes itself.
pub type Key32 = Zeroizing<[u8; 32]>;

/// Overwrites with zeros, for certain: at memory speed, where `zeroize` goes byte by byte.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}

/// Wipes a whole allocation: what was cleared is still there, behind the length.
pub(crate) fn wipe_allocation(buffer: &mut Vec<u8>) {
    buffer.resize(buffer.capacity(), 0);
    wipe(buffer);
}

/// Bytes of an AEAD nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of an AEAD tag.
pub const TAG_LEN: usize = 16;

/// An authenticated cipher with a key of 32 bytes, a nonce of 12 and a tag of 16.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Aead {
    /// AES-256-GCM, NIST SP 800-38D.
    Aes256Gcm,
    /// ChaCha20-Poly1305, RFC 8439.
    ChaCha20Poly1305,
}

/// A cryptographic operation failed. Why is not told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unspecified;

impl fmt::Display for Unspecified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cryptographic operation failed")
    }
}

impl core::error::Error for Unspecified {}

/// A library of primitives.
pub trait CryptoBackend: fmt::Debug + Send + Sync + 'static {
    /// SHA-256 over the parts as if they were one.
    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32];

    /// HMAC-SHA-256 over the parts as if they were one.
    fn hmac_sha256(&self, key: &[u8], parts: &[&[u8]]) -> [u8; 32];

    /// HKDF-SHA-256 (RFC 5869): one extraction, then for each `info`, given in parts, a key of 32
    /// bytes at the same place of `keys`.
    ///
    /// # Errors
    ///
    /// [`Unspecified`] if the library refuses, or if there are not as many infos as keys.
    fn hkdf_sha256(
        &self,
        salt: &[u8],
        secret: &[u8],
        infos: &[&[&[u8]]],
        keys: &mut [Key32],
    ) -> Result<(), Unspecified>;

    /// Encrypts in place and returns the tag.
    ///
    /// # Errors
    ///
    /// [`Unspecified`] if the plaintext is longer than the cipher allows.
    fn seal(
        &self,
        aead: Aead,
        key: &[u8; 32],
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Unspecified>;

    /// Verifies and decrypts in place: `in_out` is ciphertext and tag. Returns the plaintext, its
    /// first part.
    ///
    /// # Errors
    ///
    /// [`Unspecified`] if it does not verify; `in_out` then holds nothing of use, and must not be
    /// given out.
    fn open<'a>(
        &self,
        aead: Aead,
        key: &[u8; 32],
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        in_out: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unspecified>;
}
