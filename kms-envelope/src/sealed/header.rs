//! The first 104 bytes of a message: section 1 of the specification.

use core::fmt;

use super::cursor::Cursor;
use super::{malformed, unsupported};
use crate::Error;
use crate::crypto::Aead;

/// Bytes of the header.
pub(super) const HEADER_LEN: usize = 104;
/// Bytes of the header in front of the commitment: what the commitment and the keys depend on.
pub(super) const BOUND_LEN: usize = 72;
pub(super) const SALT_LEN: usize = 32;

const MAGIC: [u8; 4] = [0x93, b'K', b'M', b'S'];
const VERSION: u8 = 1;
const WHOLE: u8 = 0;
const STREAM: u8 = 1;

/// The algorithms of a message: HKDF-SHA-256, HMAC-SHA-256 and one of these ciphers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Suite {
    /// AES-256-GCM.
    #[default]
    Aes256Gcm,
    /// ChaCha20-Poly1305 of RFC 8439: faster where the processor has no AES instructions.
    ChaCha20Poly1305,
}

impl Suite {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    pub(super) const fn aead(self) -> Aead {
        match self {
            Self::Aes256Gcm => Aead::Aes256Gcm,
            Self::ChaCha20Poly1305 => Aead::ChaCha20Poly1305,
        }
    }

    const fn id(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    fn from_id(id: u8) -> Result<Self, Error> {
        match id {
            1 => Ok(Self::Aes256Gcm),
            2 => Ok(Self::ChaCha20Poly1305),
            _ => Err(unsupported(format!("suite {id} is not known"))),
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much plaintext a chunk of a stream holds: a power of two from 4 KiB to 16 MiB.
///
/// A reader and a writer hold two chunks in memory. Small chunks cost more (16 bytes and
/// one cipher call each) and make shorter waits and finer seeks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChunkSize(u8);

impl ChunkSize {
    /// 4 KiB.
    pub const MIN: Self = Self(12);
    /// 16 MiB.
    pub const MAX: Self = Self(24);

    /// 2^`exponent` bytes; `None` unless it is 12 to 24.
    #[must_use]
    pub const fn from_exponent(exponent: u8) -> Option<Self> {
        if exponent < Self::MIN.0 || exponent > Self::MAX.0 {
            return None;
        }
        Some(Self(exponent))
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        // 12 to 24, so no bit is lost.
        1 << self.0
    }
}

/// 64 KiB.
impl Default for ChunkSize {
    fn default() -> Self {
        Self(16)
    }
}

/// Whether a message is one ciphertext or a row of chunks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Form {
    /// One ciphertext, opened at once.
    Whole,
    /// Chunks, each opened by itself.
    Stream(ChunkSize),
}

/// A header that keeps to the format. Whether it is genuine nobody has checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    /// All of it, for the AAD.
    pub(super) bytes: &'a [u8; HEADER_LEN],
    pub(super) bound: &'a [u8; BOUND_LEN],
    pub(super) suite: Suite,
    pub(super) form: Form,
    pub(super) salt: &'a [u8; SALT_LEN],
    pub(super) context: &'a [u8; 32],
    pub(super) commitment: &'a [u8; 32],
}

impl<'a> Header<'a> {
    /// Reads the header off the front of a message.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Error> {
        let mut all = Cursor(message);
        let magic: &[u8; 4] = Cursor(message).array("magic")?;
        if *magic != MAGIC {
            return Err(malformed("magic", "is not that of a sealed message"));
        }
        let bytes = all.array::<HEADER_LEN>("header")?;
        let bound = Cursor(bytes).array("header")?;
        let mut fields = Cursor(bytes);
        fields.array::<4>("magic")?;
        let version = fields.u8("version")?;
        if version != VERSION {
            return Err(unsupported(format!("version {version} is not known")));
        }
        let suite = Suite::from_id(fields.u8("suite")?)?;
        let form = fields.u8("form")?;
        let exponent = fields.u8("chunk exponent")?;
        let form = match form {
            WHOLE if exponent == 0 => Form::Whole,
            WHOLE => return Err(malformed("chunk exponent", "of a whole message is not 0")),
            STREAM => ChunkSize::from_exponent(exponent)
                .map(Form::Stream)
                .ok_or_else(|| malformed("chunk exponent", "is not 12 to 24"))?,
            _ => return Err(unsupported(format!("form {form} is not known"))),
        };
        Ok(Self {
            bytes,
            bound,
            suite,
            form,
            salt: fields.array("salt")?,
            context: fields.array("context digest")?,
            commitment: fields.array("commitment")?,
        })
    }
}

/// The header up to the commitment.
pub(super) fn bound_part(
    suite: Suite,
    form: Form,
    salt: &[u8; SALT_LEN],
    context: &[u8; 32],
) -> [u8; BOUND_LEN] {
    let (form, exponent) = match form {
        Form::Whole => (WHOLE, 0),
        Form::Stream(ChunkSize(exponent)) => (STREAM, exponent),
    };
    let [m0, m1, m2, m3] = MAGIC;
    let start = [m0, m1, m2, m3, VERSION, suite.id(), form, exponent];
    join(&[&start, salt, context])
}

/// Byte strings one after the other. They must be `N` bytes together.
pub(super) fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    put(parts, &mut out);
    out
}

/// Writes byte strings one after the other. They must fill `out`.
pub(super) fn put(parts: &[&[u8]], out: &mut [u8]) {
    debug_assert_eq!(
        parts.iter().map(|part| part.len()).sum::<usize>(),
        out.len()
    );
    let mut rest = out;
    for part in parts {
        let Some((place, behind)) = rest.split_at_mut_checked(part.len()) else {
            break;
        };
        place.copy_from_slice(part);
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn header(form: Form) -> [u8; HEADER_LEN] {
        let bound = bound_part(Suite::ChaCha20Poly1305, form, &[1; 32], &[2; 32]);
        join(&[&bound, &[3; 32]])
    }

    #[test]
    fn what_is_written_is_read() {
        for form in [
            Form::Whole,
            Form::Stream(ChunkSize::MIN),
            Form::Stream(ChunkSize::MAX),
        ] {
            let bytes = header(form);
            let read = Header::parse(&bytes).unwrap();
            assert_eq!((read.suite, read.form), (Suite::ChaCha20Poly1305, form));
            assert_eq!(read.bytes, &bytes);
            assert_eq!(read.bound, &bytes[..72]);
            assert_eq!(
                (read.salt, read.context, read.commitment),
                (&[1; 32], &[2; 32], &[3; 32])
            );
        }
    }

    #[test]
    fn every_other_value_of_the_first_eight_bytes_is_refused() {
        let whole = header(Form::Whole);
        let stream = header(Form::Stream(ChunkSize::default()));
        for value in 0..=255 {
            for (at, kind, known) in [
                (0, ErrorKind::Malformed, &[0x93][..]),
                (1, ErrorKind::Malformed, b"K"),
                (2, ErrorKind::Malformed, b"M"),
                (3, ErrorKind::Malformed, b"S"),
                (4, ErrorKind::Unsupported, &[1]),
                (5, ErrorKind::Unsupported, &[1, 2]),
                (7, ErrorKind::Malformed, &[0]),
            ] {
                let mut bytes = whole;
                bytes[at] = value;
                match Header::parse(&bytes) {
                    Ok(_) => assert!(known.contains(&value), "byte {at} is {value}"),
                    Err(error) => {
                        assert!(!known.contains(&value), "byte {at} is {value}");
                        assert_eq!(error.kind(), kind);
                    }
                }
            }
            let mut bytes = stream;
            bytes[6] = value;
            assert_eq!(Header::parse(&bytes).is_ok(), value == 1);
            let mut bytes = stream;
            bytes[7] = value;
            assert_eq!(Header::parse(&bytes).is_ok(), (12..=24).contains(&value));
        }
    }

    #[test]
    fn a_cut_off_header_is_refused() {
        let bytes = header(Form::Whole);
        for len in 0..HEADER_LEN {
            let error = Header::parse(&bytes[..len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed);
        }
    }
}
