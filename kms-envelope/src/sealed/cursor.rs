//! Taking fields off the front of bytes that nobody vouches for.

use super::malformed;
use crate::Error;

/// What is not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    /// The next bytes; `field` names them if they are cut off.
    pub(super) fn take(&mut self, len: usize, field: &str) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| cut_off(field))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &str) -> Result<&'a [u8; N], Error> {
        let (taken, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| cut_off(field))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self, field: &str) -> Result<u8, Error> {
        self.array::<1>(field).map(|[byte]| *byte)
    }

    pub(super) fn u16(&mut self, field: &str) -> Result<u16, Error> {
        self.array::<2>(field)
            .map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32, Error> {
        self.array::<4>(field)
            .map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Bytes behind their length in one byte.
    pub(super) fn short(&mut self, field: &str) -> Result<&'a [u8], Error> {
        let len = self.u8(field)?;
        self.take(len.into(), field)
    }

    /// Bytes behind their length in two bytes.
    pub(super) fn long(&mut self, field: &str) -> Result<&'a [u8], Error> {
        let len = self.u16(field)?;
        self.take(len.into(), field)
    }
}

fn cut_off(field: &str) -> Error {
    malformed(field, "is cut off")
}
