//! Bytes that must not outlive their use, or be seen.

use core::fmt;

use subtle::ConstantTimeEq as _;

use crate::{Error, SecureRandom};

/// Secret bytes: a data-encryption key (DEK), a seed, a passphrase.
///
/// Zeroized on drop, not `Clone`, compared in constant time, and printed as its length alone.
/// The bytes sit in one heap allocation, so moving the value leaves no copy behind.
///
/// ```
/// use kms_core::SecretBytes;
///
/// let secret = SecretBytes::from_vec(vec![7; 32]);
/// assert_eq!(format!("{secret:?}"), "SecretBytes(32 bytes)");
/// assert_eq!(secret.expose(), &[7; 32]);
/// ```
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes over where they are. Spare capacity stays, and is wiped with them.
    #[must_use]
    pub const fn from_vec(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Copies the bytes. Wiping the original is the caller's business.
    #[must_use]
    pub fn copy_from_slice(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// `len` fresh random bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if there is no randomness to be had.
    pub fn random(random: &dyn SecureRandom, len: usize) -> Result<Self, Error> {
        let mut secret = Self(vec![0; len]);
        random.fill(&mut secret.0)?;
        Ok(secret)
    }

    /// The bytes in clear. Do not copy them to anything that is not wiped.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        // To the end of the allocation, and at memory speed: `zeroize` goes byte by byte, which takes
        // longer than to decrypt them.
        self.0.resize(self.0.capacity(), 0);
        self.0.fill(0);
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

impl zeroize::ZeroizeOnDrop for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

/// In constant time for secrets of one length; the length itself is no secret.
impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_byte() {
        let secret = SecretBytes::from_vec(b"hunter2".to_vec());
        assert_eq!(format!("{secret:?}"), "SecretBytes(7 bytes)");
    }

    #[test]
    fn spare_capacity_does_not_change_the_value() {
        let mut roomy = Vec::with_capacity(64);
        roomy.extend_from_slice(b"abc");
        assert_eq!(
            SecretBytes::from_vec(roomy),
            SecretBytes::copy_from_slice(b"abc")
        );
    }

    #[test]
    fn secrets_of_different_length_differ() {
        assert_ne!(
            SecretBytes::copy_from_slice(b"ab"),
            SecretBytes::copy_from_slice(b"abc")
        );
    }
}
