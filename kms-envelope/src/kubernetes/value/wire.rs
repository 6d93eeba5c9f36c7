//! Protobuf's wire format, read as google.golang.org/protobuf reads it.
//!
//! What is accepted and what is not follows that library to the letter, so that a damaged value
//! gets the same verdict here and in kube-apiserver. `None` is a message that does not parse.

/// The largest field number of a message.
pub(crate) const MAX_FIELD: u64 = (1 << 29) - 1;
/// Within a group that is skipped, the library is more lenient.
const MAX_SKIPPED_FIELD: u64 = i32::MAX as u64;
/// How many groups may stand within one another.
const MAX_GROUP_DEPTH: usize = 10_001;

pub(crate) const VARINT: u8 = 0;
pub(crate) const BYTES: u8 = 2;
const FIXED_64: u8 = 1;
const GROUP_START: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED_32: u8 = 5;

/// The rest of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At most ten bytes, and no more than 64 bits in them.
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        // Nearly all tags and many lengths are of one byte.
        if let Some((byte, rest)) = self.0.split_first()
            && *byte < 0x80
        {
            self.0 = rest;
            return Some(u64::from(*byte));
        }
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            if shift == 63 && *byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A field number and a wire type.
    #[inline]
    pub(crate) fn tag(&mut self) -> Option<(u64, u8)> {
        self.tag_up_to(MAX_FIELD)
    }

    #[inline]
    fn tag_up_to(&mut self, max_field: u64) -> Option<(u64, u8)> {
        let tag = self.varint()?;
        let field = tag >> 3;
        let wire_type = u8::try_from(tag & 7).ok()?;
        (1..=max_field)
            .contains(&field)
            .then_some((field, wire_type))
    }

    /// A length and as many bytes.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Passes over the value of a field that is unknown, or known with another wire type.
    pub(crate) fn skip(&mut self, field: u64, wire_type: u8) -> Option<()> {
        if wire_type != GROUP_START {
            return self.skip_plain(wire_type);
        }
        // The groups that are open. Each took a byte of input at least, and the depth is bounded.
        let mut open = vec![field];
        while let Some(innermost) = open.last() {
            match self.tag_up_to(MAX_SKIPPED_FIELD)? {
                (field, GROUP_END) => {
                    if field != *innermost {
                        return None;
                    }
                    open.pop();
                }
                (field, GROUP_START) => {
                    if open.len() >= MAX_GROUP_DEPTH {
                        return None;
                    }
                    open.push(field);
                }
                (_, wire_type) => self.skip_plain(wire_type)?,
            }
        }
        Some(())
    }

    fn skip_plain(&mut self, wire_type: u8) -> Option<()> {
        match wire_type {
            VARINT => self.varint().map(drop),
            FIXED_64 => self.take(8).map(drop),
            BYTES => self.bytes().map(drop),
            FIXED_32 => self.take(4).map(drop),
            _ => None,
        }
    }
}

/// How many bytes a varint takes.
pub(crate) const fn varint_len(value: u64) -> usize {
    // 7 bits a byte, and one byte for zero.
    (70_u32.saturating_sub((value | 1).leading_zeros()) / 7) as usize
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field of bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_ten_bytes_and_64_bits() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(bytes.len(), varint_len(value), "{value}");
            assert_eq!(Reader::new(&bytes).varint(), Some(value));
            assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).varint(), None);
        }
        // Longer than it need be is fine.
        assert_eq!(Reader::new(&[0x80, 0x80, 0]).varint(), Some(0));
        let mut over = [0xff; 10];
        over[9] = 2;
        assert_eq!(Reader::new(&over).varint(), None);
        assert_eq!(Reader::new(&[0x80; 11]).varint(), None);
    }

    #[test]
    fn a_field_number_has_bounds() {
        let tag = |field: u64| {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, field << 3);
            Reader::new(&bytes).tag()
        };
        assert_eq!(tag(0), None);
        assert_eq!(tag(1), Some((1, VARINT)));
        assert_eq!(tag(MAX_FIELD), Some((MAX_FIELD, VARINT)));
        assert_eq!(tag(MAX_FIELD + 1), None);
    }

    #[test]
    fn groups_end_with_their_own_number() {
        // Field 7: group { field 2: group { } field 1: varint 5 }.
        let good = [0x13, 0x14, 0x08, 5, 0x3c, 0xaa];
        let mut reader = Reader::new(&good);
        assert_eq!(reader.skip(7, GROUP_START), Some(()));
        assert_eq!(reader.0, [0xaa]);
        let other_end = [0x13, 0x1c, 0x3c];
        assert_eq!(Reader::new(&other_end).skip(7, GROUP_START), None);
        assert_eq!(Reader::new(&good[..4]).skip(7, GROUP_START), None);
        assert_eq!(Reader::new(&[]).skip(7, GROUP_END), None);
        assert_eq!(Reader::new(&[0; 9]).skip(7, 6), None);
    }

    #[test]
    fn groups_have_a_depth() {
        let nested = |depth: usize| {
            let mut bytes = vec![0x0b; depth - 1];
            bytes.extend(vec![0x0c; depth]);
            Reader::new(&bytes).skip(1, GROUP_START)
        };
        assert_eq!(nested(MAX_GROUP_DEPTH), Some(()));
        assert_eq!(nested(MAX_GROUP_DEPTH + 1), None);
    }
}
