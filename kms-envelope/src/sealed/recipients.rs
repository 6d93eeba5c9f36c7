//! Who can open a message: section 2 of the specification.

use core::fmt;

use kms_core::{KeyId, WrappedKey};

use super::cursor::Cursor;
use super::limits::{
    MAX_ANNOTATION_NAME_LEN, MAX_ANNOTATIONS, MAX_ENTRIES_LEN, MAX_KEY_VERSION_LEN,
    MAX_PROVIDER_ID_LEN, MAX_RECIPIENTS,
};
use super::{malformed, unsupported};
use crate::Error;

pub(super) const MAC_LEN: usize = 32;
/// Count and length, in front of the entries.
pub(super) const BLOCK_START_LEN: usize = 6;

/// Someone to seal for: a DEK wrapped by one provider.
///
/// The provider id is the application's name for the provider, by which it finds the right one
/// again. It decides nothing else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    provider_id: String,
    key_version: String,
    key_id: KeyId,
    wrapped: WrappedKey,
}

impl Recipient {
    /// A recipient.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the provider id is not 1 to 64
    /// bytes of `a`–`z`, `0`–`9`, `-`, `.`, `_`; if the wrapped key does not name its key; or if
    /// it has over 64 annotations or one whose name is empty or over 255 bytes.
    pub fn new(provider_id: impl Into<String>, wrapped: WrappedKey) -> Result<Self, Error> {
        let provider_id = provider_id.into();
        if !is_provider_id(provider_id.as_bytes()) {
            return Err(unsupported("a provider id is not 1 to 64 of a-z 0-9 - . _"));
        }
        let key_id = wrapped
            .key_id()
            .ok_or_else(|| unsupported("a wrapped key does not name the key it is under"))?
            .clone();
        if wrapped.annotations().len() > MAX_ANNOTATIONS {
            return Err(unsupported("a wrapped key has over 64 annotations"));
        }
        if !wrapped
            .annotations()
            .keys()
            .all(|name| (1..=MAX_ANNOTATION_NAME_LEN).contains(&name.len()))
        {
            return Err(unsupported("an annotation's name is not 1 to 255 bytes"));
        }
        Ok(Self {
            provider_id,
            key_version: String::new(),
            key_id,
            wrapped,
        })
    }

    /// Sets the provider's own name for the key version, such as `3`. For people.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if it is over 255 bytes or holds
    /// a control character.
    pub fn with_key_version(mut self, version: impl Into<String>) -> Result<Self, Error> {
        self.key_version = version.into();
        if self.key_version.len() > MAX_KEY_VERSION_LEN || has_control(&self.key_version) {
            return Err(unsupported(
                "a key version is over 255 bytes or holds a control character",
            ));
        }
        Ok(self)
    }

    /// The application's name for the provider.
    #[must_use]
    pub fn provider_id(&self) -> &str {
        &self.provider_id
    }

    /// The DEK as the provider wrapped it.
    #[must_use]
    pub const fn wrapped_key(&self) -> &WrappedKey {
        &self.wrapped
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_short(out, self.provider_id.as_bytes());
        put_long(out, self.key_id.as_str().as_bytes());
        put_short(out, self.key_version.as_bytes());
        let annotations = self.wrapped.annotations();
        out.push(u8::try_from(annotations.len()).unwrap_or(u8::MAX));
        for (name, value) in annotations {
            put_short(out, name.as_bytes());
            put_long(out, value);
        }
        put_long(out, self.wrapped.ciphertext());
    }
}

// The bounds of `Recipient` and `WrappedKey` keep every length within its field.
fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(crate) fn is_provider_id(id: &[u8]) -> bool {
    (1..=MAX_PROVIDER_ID_LEN).contains(&id.len())
        && id
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_'))
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Writes count, length and entries: what the MAC covers.
pub(super) fn encode(recipients: &[Recipient]) -> Result<Vec<u8>, Error> {
    if !(1..=MAX_RECIPIENTS).contains(&recipients.len()) {
        return Err(unsupported("a message has 1 to 16 recipients"));
    }
    let mut left = recipients;
    while let Some((recipient, others)) = left.split_first() {
        left = others;
        if others.iter().any(|other| {
            other.provider_id == recipient.provider_id && other.key_id == recipient.key_id
        }) {
            return Err(unsupported("two recipients have one provider and key id"));
        }
    }
    let mut entries = Vec::new();
    recipients
        .iter()
        .for_each(|recipient| recipient.put(&mut entries));
    if entries.len() > MAX_ENTRIES_LEN {
        return Err(unsupported("the recipients are over 1048576 bytes in all"));
    }
    let count = u16::try_from(recipients.len()).unwrap_or(u16::MAX);
    let length = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    Ok([&count.to_be_bytes()[..], &length.to_be_bytes(), &entries].concat())
}

/// A recipients block that keeps to the format. Whether it is genuine nobody has checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    /// All of it.
    pub(super) bytes: &'a [u8],
    /// Count, length and entries.
    pub(super) covered: &'a [u8],
    pub(super) mac: &'a [u8; MAC_LEN],
    pub(super) recipients: Recipients<'a>,
}

/// The number of bytes of a block that begins so.
pub(super) fn block_len(start: &[u8]) -> Result<usize, Error> {
    let mut cursor = Cursor(start);
    let count = cursor.u16("recipient count")?;
    if !(1..=MAX_RECIPIENTS).contains(&usize::from(count)) {
        return Err(malformed("recipient count", "is not 1 to 16"));
    }
    usize::try_from(cursor.u32("recipients length")?)
        .ok()
        .filter(|length| *length <= MAX_ENTRIES_LEN)
        .and_then(|length| length.checked_add(BLOCK_START_LEN)?.checked_add(MAC_LEN))
        .ok_or_else(|| malformed("recipients length", "is over 1048576"))
}

impl<'a> Block<'a> {
    /// Reads the block off the front of what is behind the header.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let len = block_len(bytes)?;
        let mut cursor = Cursor(bytes);
        let covered = cursor.take(len.saturating_sub(MAC_LEN), "recipients")?;
        let mac = cursor.array("recipients MAC")?;
        let bytes = bytes.get(..len).unwrap_or_default();
        let mut entries = Cursor(covered);
        let count = entries.u16("recipient count")?;
        entries.u32("recipients length")?;
        let recipients = Recipients {
            left: count,
            entries,
        };

        let mut walk = recipients;
        for index in 0..count {
            let entry = walk.parse_next()?;
            let (provider_id, key_id) = (entry.provider_id, entry.key_id);
            if recipients
                .take(index.into())
                .any(|earlier| earlier.provider_id == provider_id && earlier.key_id == key_id)
            {
                return Err(malformed(
                    "recipients",
                    "name one provider and key id twice",
                ));
            }
        }
        if !walk.entries.0.is_empty() {
            return Err(malformed("recipients", "are followed by bytes left over"));
        }
        Ok(Self {
            bytes,
            covered,
            mac,
            recipients,
        })
    }
}

/// The recipients of a message, in its order.
#[derive(Clone, Copy)]
pub struct Recipients<'a> {
    left: u16,
    entries: Cursor<'a>,
}

impl<'a> Recipients<'a> {
    fn parse_next(&mut self) -> Result<RecipientInfo<'a>, Error> {
        self.left = self.left.saturating_sub(1);
        RecipientInfo::parse(&mut self.entries)
    }
}

impl<'a> Iterator for Recipients<'a> {
    type Item = RecipientInfo<'a>;

    fn next(&mut self) -> Option<RecipientInfo<'a>> {
        if self.left == 0 {
            return None;
        }
        // All entries were read once when the block was parsed.
        self.parse_next().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl ExactSizeIterator for Recipients<'_> {}

impl fmt::Debug for Recipients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// One recipient as a message names it. Nothing here is authenticated until the message opens.
#[derive(Clone, Copy)]
pub struct RecipientInfo<'a> {
    provider_id: &'a str,
    key_id: &'a str,
    key_version: &'a str,
    annotation_count: u8,
    annotations: Cursor<'a>,
    wrapped: &'a [u8],
}

impl<'a> RecipientInfo<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let provider_id = cursor.short("provider id")?;
        if !is_provider_id(provider_id) {
            return Err(malformed("provider id", "is not 1 to 64 of a-z 0-9 - . _"));
        }
        let key_id = text(cursor.long("key id")?, "key id")?;
        if !(1..=KeyId::MAX_LEN).contains(&key_id.len()) || has_control(key_id) {
            return Err(malformed(
                "key id",
                "is not 1 to 1024 bytes without control characters",
            ));
        }
        let key_version = text(cursor.short("key version")?, "key version")?;
        if has_control(key_version) {
            return Err(malformed("key version", "holds a control character"));
        }
        let annotation_count = cursor.u8("number of annotations")?;
        if usize::from(annotation_count) > MAX_ANNOTATIONS {
            return Err(malformed("number of annotations", "is over 64"));
        }
        let annotations = *cursor;
        let mut last = "";
        let mut total = 0_usize;
        for _ in 0..annotation_count {
            let (name, value) = annotation(cursor)?;
            // The first name must be over the empty one, so none is empty.
            if name <= last {
                return Err(malformed(
                    "annotations",
                    "are not in ascending order of their names",
                ));
            }
            last = name;
            total = total.saturating_add(name.len()).saturating_add(value.len());
        }
        if total > WrappedKey::MAX_ANNOTATIONS_LEN {
            return Err(malformed("annotations", "are over 32768 bytes in all"));
        }
        let wrapped = cursor.long("wrapped DEK")?;
        if wrapped.is_empty() {
            return Err(malformed("wrapped DEK", "is empty"));
        }
        Ok(Self {
            provider_id: text(provider_id, "provider id")?,
            key_id,
            key_version,
            annotation_count,
            annotations,
            wrapped,
        })
    }

    /// The writer's name for the provider.
    #[must_use]
    pub const fn provider_id(&self) -> &'a str {
        self.provider_id
    }

    /// The KEK that the DEK is under.
    #[must_use]
    pub const fn key_id(&self) -> &'a str {
        self.key_id
    }

    /// The provider's own name for the key version, if it gave one.
    #[must_use]
    pub fn key_version(&self) -> Option<&'a str> {
        Some(self.key_version).filter(|version| !version.is_empty())
    }

    /// The wrapped DEK.
    #[must_use]
    pub const fn wrapped(&self) -> &'a [u8] {
        self.wrapped
    }

    /// The provider's notes, by name.
    pub fn annotations(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let mut cursor = self.annotations;
        // All of them were read once when the entry was parsed.
        (0..self.annotation_count).map_while(move |_| annotation(&mut cursor).ok())
    }

    /// A copy that a provider can unwrap.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) if `kms-core` is stricter than this
    /// format, which it is not today.
    pub fn to_wrapped_key(&self) -> Result<WrappedKey, Error> {
        let fault = |error: kms_core::Error| malformed("recipient", error.message());
        let key_id = KeyId::new(self.key_id).map_err(fault)?;
        let mut wrapped = WrappedKey::new(key_id, self.wrapped.to_vec()).map_err(fault)?;
        for (name, value) in self.annotations() {
            wrapped = wrapped
                .with_annotation(name, value.to_vec())
                .map_err(fault)?;
        }
        Ok(wrapped)
    }
}

impl fmt::Debug for RecipientInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecipientInfo")
            .field("provider_id", &self.provider_id)
            .field("key_id", &self.key_id)
            .field("key_version", &self.key_version())
            .field("annotations", &self.annotation_count)
            .field("wrapped_len", &self.wrapped.len())
            .finish()
    }
}

fn annotation<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, &'a [u8]), Error> {
    let name = text(cursor.short("annotation name")?, "annotation name")?;
    Ok((name, cursor.long("annotation value")?))
}

fn text<'a>(bytes: &'a [u8], field: &str) -> Result<&'a str, Error> {
    core::str::from_utf8(bytes).map_err(|_| malformed(field, "is not UTF-8"))
}
