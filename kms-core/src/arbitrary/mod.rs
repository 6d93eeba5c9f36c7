//! Valid values out of a fuzzer's bytes, for fuzzing harnesses (feature `arbitrary`).
//!
//! The types that a caller hands in implement [`Arbitrary`](::arbitrary::Arbitrary): in this crate,
//! and under the same feature in the crates above it. Each value is built by the checked
//! constructors, so a harness gets past them and fuzzes what lies behind. A few bytes are enough
//! for a value at its limit.
//!
//! ```
//! use arbitrary::{Arbitrary as _, Unstructured};
//! use kms_core::{EncryptionContext, KeyId};
//!
//! let mut bytes = Unstructured::new(b"what a fuzzer came up with");
//! let (id, context) = (KeyId::arbitrary(&mut bytes)?, EncryptionContext::arbitrary(&mut bytes)?);
//! assert!(!id.as_str().is_empty());
//! assert!(EncryptionContext::from_canonical_bytes(&context.to_canonical_bytes()).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`bytes`], [`text`] and [`length`] are what they are made of, for bounded types of your own.

mod keys;
mod objects;

use core::ops::RangeInclusive;

use ::arbitrary::{Error, Result, Unstructured};

/// How much of a value is the fuzzer's own; what is longer repeats it, so that a value at its limit
/// costs no input of that length.
const PATTERN: usize = 64;

/// Beyond ASCII: two, three and four bytes long, without a glyph, right to left, combining.
const WIDE: [char; 8] = [
    '\u{e9}',
    '\u{df}',
    '\u{85}',
    '\u{20ac}',
    '\u{202e}',
    '\u{feff}',
    '\u{301}',
    '\u{1f511}',
];

/// A length out of the range: often one of its ends or one below the upper, mostly a small one.
///
/// # Errors
///
/// [`Error::IncorrectFormat`] if the range is empty.
pub fn length(u: &mut Unstructured<'_>, range: RangeInclusive<usize>) -> Result<usize> {
    let (least, most) = (*range.start(), *range.end());
    if range.is_empty() {
        return Err(Error::IncorrectFormat);
    }
    // Without input all choices are zero, and the value is the smallest.
    match u.int_in_range(0..=7_u8)? {
        0 => Ok(least),
        1 => Ok(most),
        2 => Ok(most.saturating_sub(1).max(least)),
        3 => u.int_in_range(range),
        _ => u.int_in_range(least..=least.saturating_add(32).min(most)),
    }
}

/// Bytes whose [`length`] is within the range.
///
/// # Errors
///
/// As [`length`].
pub fn bytes(u: &mut Unstructured<'_>, lengths: RangeInclusive<usize>) -> Result<Vec<u8>> {
    let length = length(u, lengths)?;
    let mut pattern = vec![0; length.min(PATTERN)];
    u.fill_buffer(&mut pattern)?;
    Ok(pattern.into_iter().cycle().take(length).collect())
}

/// Text of a [`length`], in bytes, within the range, of allowed characters alone. The letter `a`
/// stands in for others and for what does not fit, so it must be allowed.
///
/// # Errors
///
/// As [`length`].
pub fn text(
    u: &mut Unstructured<'_>,
    lengths: RangeInclusive<usize>,
    allowed: impl Fn(char) -> bool,
) -> Result<String> {
    let length = length(u, lengths)?;
    let mut pattern = vec![0; length.min(PATTERN)];
    u.fill_buffer(&mut pattern)?;
    let character = |byte: u8| {
        let wide = WIDE.get(usize::from(byte & 7)).copied().unwrap_or('a');
        let character = if byte.is_ascii() {
            char::from(byte)
        } else {
            wide
        };
        if allowed(character) { character } else { 'a' }
    };
    let mut text = String::with_capacity(length);
    for next in pattern.into_iter().map(character).cycle() {
        let left = length.saturating_sub(text.len());
        if left < next.len_utf8() {
            text.extend(core::iter::repeat_n('a', left));
            break;
        }
        text.push(next);
    }
    Ok(text)
}

/// For a checked constructor that was given what it must take.
pub(crate) fn accepted<T, E>(built: core::result::Result<T, E>) -> Result<T> {
    built.map_err(|_| Error::IncorrectFormat)
}
