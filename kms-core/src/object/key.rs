//! What an object is called in its store.

use core::borrow::Borrow;
use core::fmt;
use std::sync::Arc;

use crate::{Error, ErrorKind};

/// The key of a stored object: raw bytes, never empty, ordered bytewise.
///
/// For Kubernetes it is the whole etcd key, such as `/registry/secrets/default/token`, prefix
/// included; exactly these bytes are the associated data of encrypted values. `Display` escapes
/// everything that is not printable ASCII, and the backslash, so that no two keys look the same
/// and none upsets a terminal. Cloning is cheap.
///
/// ```
/// use kms_core::object::ObjectKey;
///
/// let key = ObjectKey::new(b"/registry/secrets/a\xff\n")?;
/// assert_eq!(key.to_string(), r"/registry/secrets/a\xff\n");
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey(Arc<[u8]>);

impl ObjectKey {
    /// The longest key, in bytes. Keys of Kubernetes stay under 1 KiB; etcd itself bounds only
    /// the request, by default to 1.5 MiB.
    pub const MAX_LEN: usize = 64 * 1024;

    /// Checks and copies a key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is empty or over [`ObjectKey::MAX_LEN`] bytes.
    pub fn new(key: impl AsRef<[u8]>) -> Result<Self, Error> {
        let key = key.as_ref();
        let fault = match key.len() {
            0 => "object key is empty",
            length if length > Self::MAX_LEN => "object key is over 65536 bytes",
            _ => return Ok(Self(key.into())),
        };
        Err(Error::new(ErrorKind::InvalidInput, fault))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for ObjectKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for ObjectKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_bounded_at_both_ends() {
        assert!(ObjectKey::new([0]).is_ok());
        assert!(ObjectKey::new(vec![0xff; ObjectKey::MAX_LEN]).is_ok());
        for bad in [vec![], vec![b'a'; ObjectKey::MAX_LEN + 1]] {
            assert_eq!(
                ObjectKey::new(bad).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
        }
    }

    #[test]
    fn no_two_keys_look_the_same() {
        let byte = ObjectKey::new(b"\n").unwrap();
        let text = ObjectKey::new(br"\n").unwrap();
        assert_ne!(byte.to_string(), text.to_string());
        assert!(byte < text);
    }
}
