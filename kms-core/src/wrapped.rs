//! A wrapped key: what a provider returns and is later given back.

use core::fmt;
use std::collections::BTreeMap;

use crate::{Error, ErrorKind, KeyId};

/// A DEK under a KEK: ciphertext, the id of the KEK, and the provider's own notes.
///
/// Nothing in it is secret; all of it may come from hostile storage, so it is bounded here once
/// and providers need not check again.
///
/// ```
/// use kms_core::WrappedKey;
///
/// let wrapped = WrappedKey::new("key-1".parse()?, vec![1, 2, 3])?
///     .with_annotation("version.example.com", b"7".to_vec())?;
/// assert_eq!(wrapped.key_id().map(|id| id.as_str()), Some("key-1"));
/// assert_eq!(wrapped.annotation("version.example.com"), Some(&b"7"[..]));
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct WrappedKey {
    key_id: Option<KeyId>,
    ciphertext: Vec<u8>,
    annotations: BTreeMap<String, Vec<u8>>,
}

impl WrappedKey {
    /// The longest ciphertext, in bytes: what the 16-bit length of a KMS v1 value can say.
    /// KMS v2 allows 1,024, which its reader and writer check.
    pub const MAX_CIPHERTEXT_LEN: usize = 65_535;
    /// The most that all annotations, names and values, may take, in bytes: the bound of KMS v2.
    pub const MAX_ANNOTATIONS_LEN: usize = 32 * 1024;

    /// A key wrapped under `key_id`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the ciphertext is empty or over
    /// [`WrappedKey::MAX_CIPHERTEXT_LEN`].
    pub fn new(key_id: KeyId, ciphertext: Vec<u8>) -> Result<Self, Error> {
        Self::from_parts(Some(key_id), ciphertext)
    }

    /// A wrapped key from a format that does not say which key wrapped it (KMS v1).
    ///
    /// Such a format stores no annotations either. Only a provider with
    /// [`Capabilities::unwraps_without_key_id`] opens it.
    ///
    /// # Errors
    ///
    /// As [`WrappedKey::new`].
    ///
    /// [`Capabilities::unwraps_without_key_id`]: crate::Capabilities::unwraps_without_key_id
    pub fn without_key_id(ciphertext: Vec<u8>) -> Result<Self, Error> {
        Self::from_parts(None, ciphertext)
    }

    fn from_parts(key_id: Option<KeyId>, ciphertext: Vec<u8>) -> Result<Self, Error> {
        let fault = match ciphertext.len() {
            0 => "wrapped key is empty",
            length if length > Self::MAX_CIPHERTEXT_LEN => "wrapped key is over 65535 bytes",
            _ => {
                return Ok(Self {
                    key_id,
                    ciphertext,
                    annotations: BTreeMap::new(),
                });
            }
        };
        Err(Error::new(ErrorKind::InvalidInput, fault))
    }

    /// Adds a note of the provider's, or replaces the one of that name. Notes are stored in clear.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if all notes together would be over
    /// [`WrappedKey::MAX_ANNOTATIONS_LEN`].
    pub fn with_annotation(
        mut self,
        name: impl Into<String>,
        value: Vec<u8>,
    ) -> Result<Self, Error> {
        let mut annotations = core::mem::take(&mut self.annotations);
        annotations.insert(name.into(), value);
        self.with_annotations(annotations)
    }

    /// Sets all of the provider's notes at once.
    ///
    /// # Errors
    ///
    /// As [`WrappedKey::with_annotation`].
    pub fn with_annotations(
        mut self,
        annotations: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, Error> {
        let total = annotations.iter().fold(0_usize, |sum, (name, value)| {
            sum.saturating_add(name.len()).saturating_add(value.len())
        });
        if total > Self::MAX_ANNOTATIONS_LEN {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "annotations of a wrapped key are over 32768 bytes in all",
            ));
        }
        self.annotations = annotations;
        Ok(self)
    }

    /// The KEK it is under, unless the format it was read from does not say.
    #[must_use]
    pub const fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
    }

    /// The wrapped bytes.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// The provider's notes, by name.
    #[must_use]
    pub const fn annotations(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.annotations
    }

    /// One note.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&[u8]> {
        self.annotations.get(name).map(Vec::as_slice)
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappedKey")
            .field("key_id", &self.key_id)
            .field("ciphertext_len", &self.ciphertext.len())
            .field("annotations", &self.annotations.keys())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_hold() {
        let id = || "k".parse::<KeyId>().unwrap();
        assert!(WrappedKey::new(id(), vec![]).is_err());
        assert!(WrappedKey::new(id(), vec![0; 65_536]).is_err());
        let wrapped = WrappedKey::new(id(), vec![0; 65_535]).unwrap();
        assert!(
            wrapped
                .clone()
                .with_annotation("a", vec![0; 32_767])
                .is_ok()
        );
        assert!(wrapped.with_annotation("a", vec![0; 32_768]).is_err());
    }
}
