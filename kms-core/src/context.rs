//! What a key is used for, bound to what it wraps.

use core::fmt;
use std::collections::BTreeMap;

use crate::{Error, ErrorKind};

/// Names and values that say what a wrapped key is for, such as a tenant and a table.
///
/// Not secret. A provider that can (see [`Capabilities::context`](crate::Capabilities::context))
/// authenticates it, so that a wrapped key does not open under another context. Choose it coarse:
/// each distinct context has DEKs of its own, so one for each record would cost a wrap for each
/// record.
///
/// The canonical encoding does not depend on the order of insertion, and no two contexts share
/// one: a version byte, the number of pairs as `u16`, then for each pair in byte order of its name
/// the name and the value, each behind its length as `u16`, all big-endian. The empty context
/// encodes to the three bytes `01 0000`.
///
/// ```
/// use kms_core::EncryptionContext;
///
/// let one = EncryptionContext::new().with("tenant", "acme")?.with("table", "users")?;
/// let two = EncryptionContext::new().with("table", "users")?.with("tenant", "acme")?;
/// assert_eq!(one, two);
/// assert_eq!(one.to_canonical_bytes(), two.to_canonical_bytes());
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EncryptionContext(BTreeMap<String, String>);

const ENCODING_VERSION: u8 = 1;

impl EncryptionContext {
    /// The most pairs.
    pub const MAX_PAIRS: usize = 64;
    /// The longest name, in bytes. A name is never empty.
    pub const MAX_NAME_LEN: usize = 255;
    /// The longest value, in bytes.
    pub const MAX_VALUE_LEN: usize = 4096;

    /// The empty context.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a pair.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the name is empty, too long or already there, the value too
    /// long, or the pairs too many.
    pub fn with(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, Error> {
        let (name, value) = (name.into(), value.into());
        let fault = if name.is_empty() {
            "a context name is empty"
        } else if name.len() > Self::MAX_NAME_LEN {
            "a context name is over 255 bytes"
        } else if value.len() > Self::MAX_VALUE_LEN {
            "a context value is over 4096 bytes"
        } else if self.0.contains_key(&name) {
            "a context name is given twice"
        } else if self.0.len() >= Self::MAX_PAIRS {
            "the context has over 64 pairs"
        } else {
            self.0.insert(name, value);
            return Ok(self);
        };
        Err(Error::new(ErrorKind::InvalidInput, fault))
    }

    /// The value of a name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The pairs in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The canonical encoding described above.
    #[must_use]
    pub fn to_canonical_bytes(&self) -> Vec<u8> {
        fn put(out: &mut Vec<u8>, length: usize, bytes: &[u8]) {
            // The bounds of `with` keep every length far below u16::MAX.
            let length = u16::try_from(length).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        let mut out = vec![ENCODING_VERSION];
        put(&mut out, self.0.len(), &[]);
        for (name, value) in &self.0 {
            put(&mut out, name.len(), name.as_bytes());
            put(&mut out, value.len(), value.as_bytes());
        }
        out
    }

    /// Reads the canonical encoding, and nothing but that: another order, a name given twice, or
    /// a byte left over is an error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`], naming what is wrong.
    pub fn from_canonical_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let fault = |what: &str| Error::new(ErrorKind::InvalidInput, format!("context: {what}"));
        let (version, mut rest) = bytes.split_first().ok_or_else(|| fault("no bytes"))?;
        if *version != ENCODING_VERSION {
            return Err(fault("unknown encoding version"));
        }
        let count = take_u16(&mut rest).ok_or_else(|| fault("pair count is cut off"))?;
        let mut context = Self::new();
        for _ in 0..count {
            let name =
                take_text(&mut rest).ok_or_else(|| fault("a name is cut off or not UTF-8"))?;
            let value =
                take_text(&mut rest).ok_or_else(|| fault("a value is cut off or not UTF-8"))?;
            if context
                .0
                .last_key_value()
                .is_some_and(|(last, _)| last.as_str() >= name)
            {
                return Err(fault("names are not in order"));
            }
            context = context.with(name, value)?;
        }
        if rest.is_empty() {
            Ok(context)
        } else {
            Err(fault("bytes are left over"))
        }
    }
}

fn take_u16(rest: &mut &[u8]) -> Option<usize> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    *rest = tail;
    Some(usize::from(u16::from_be_bytes(*length)))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = take_u16(rest)?;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    core::str::from_utf8(text).ok()
}

impl fmt::Debug for EncryptionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_empty_context_is_three_bytes() {
        assert_eq!(EncryptionContext::new().to_canonical_bytes(), [1, 0, 0]);
    }

    #[test]
    fn pairs_cannot_run_into_each_other() {
        let one = EncryptionContext::new().with("ab", "c").unwrap();
        let two = EncryptionContext::new().with("a", "bc").unwrap();
        assert_ne!(one.to_canonical_bytes(), two.to_canonical_bytes());
    }

    #[test]
    fn the_bounds_hold() {
        let context = EncryptionContext::new().with("a", "x").unwrap();
        assert!(context.clone().with("a", "y").is_err());
        assert!(context.clone().with("", "y").is_err());
        assert!(context.clone().with("n".repeat(256), "y").is_err());
        assert!(context.with("b", "v".repeat(4097)).is_err());
    }

    #[test]
    fn another_order_is_refused() {
        let bytes = [1, 0, 2, 0, 1, b'b', 0, 0, 0, 1, b'a', 0, 0];
        assert!(EncryptionContext::from_canonical_bytes(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn every_context_survives_its_encoding(
            pairs in proptest::collection::btree_map("[a-z]{1,8}", ".{0,16}", 0..8)
        ) {
            let context = pairs.into_iter().fold(EncryptionContext::new(), |context, (name, value)| {
                context.with(name, value).unwrap()
            });
            let bytes = context.to_canonical_bytes();
            prop_assert_eq!(&EncryptionContext::from_canonical_bytes(&bytes).unwrap(), &context);
            for cut in 0..bytes.len() {
                prop_assert!(EncryptionContext::from_canonical_bytes(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn what_parses_is_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(context) = EncryptionContext::from_canonical_bytes(&bytes) {
                prop_assert_eq!(context.to_canonical_bytes(), bytes);
            }
        }
    }
}
