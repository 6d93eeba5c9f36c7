//! What etcd keeps in the bucket `key`: one record for each change of each object.
//!
//! The bucket's key is the change's revision: `main` (8 bytes, big-endian), `_`, `sub` (8 bytes),
//! and `t` if the object was deleted. Its value is a protobuf `mvccpb.KeyValue`: key 1,
//! create_revision 2, mod_revision 3, version 4, value 5, lease 6.

use kms_core::object::{HistoryPosition, LeaseId, ObjectKey, Revision};

const POSITION_LEN: usize = 17;

/// Reads the bucket's key: the position of the change, and whether it is a deletion.
pub(super) fn parse_position(key: &[u8]) -> Option<(HistoryPosition, bool)> {
    let (position, mark) = key.split_at_checked(POSITION_LEN)?;
    let is_deletion = match mark {
        b"" => false,
        b"t" => true,
        _ => return None,
    };
    let (main, rest) = position.split_first_chunk()?;
    let sub = rest.strip_prefix(b"_")?.first_chunk()?;
    let main = u64::from_be_bytes(*main);
    // Revisions are positive numbers of 63 bits.
    i64::try_from(main).ok().filter(|main| *main > 0)?;
    let position = HistoryPosition::new(Revision::new(main), u64::from_be_bytes(*sub));
    Some((position, is_deletion))
}

/// The bucket's key of a position, without a mark.
pub(super) fn position_key(position: HistoryPosition) -> [u8; POSITION_LEN] {
    let mut key = [b'_'; POSITION_LEN];
    let main = position.revision.get().to_be_bytes();
    let sub = position.sub.to_be_bytes();
    let digits = main.into_iter().chain([b'_']).chain(sub);
    for (to, from) in key.iter_mut().zip(digits) {
        *to = from;
    }
    key
}

/// A `KeyValue`, of which only what is needed is kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct KeyValue<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// Where the key begins within the record, in bytes.
    pub(super) key_offset: usize,
    /// Where the value begins within the record, in bytes.
    pub(super) value_offset: usize,
    pub(super) mod_revision: u64,
    pub(super) lease: Option<LeaseId>,
}

impl<'a> KeyValue<'a> {
    /// Decodes a record; what is wrong with it otherwise.
    pub(super) fn parse(mut bytes: &'a [u8]) -> Result<Self, &'static str> {
        let len = bytes.len();
        let mut record = Self::default();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes)?;
            match (tag >> 3, tag & 7) {
                (1, 2) => {
                    record.key = chunk(&mut bytes)?;
                    let after = len.saturating_sub(bytes.len());
                    record.key_offset = after.saturating_sub(record.key.len());
                }
                (5, 2) => {
                    record.value = chunk(&mut bytes)?;
                    let after = len.saturating_sub(bytes.len());
                    record.value_offset = after.saturating_sub(record.value.len());
                }
                (3, 0) => record.mod_revision = varint(&mut bytes)?,
                (6, 0) => record.lease = LeaseId::new(varint(&mut bytes)?.cast_signed()),
                (1 | 3 | 5 | 6, _) => return Err("a field of a record has the wrong type"),
                (0, _) => return Err("a record has a field of number zero"),
                (_, kind) => skip(kind, &mut bytes)?,
            }
        }
        match record.key.len() {
            0 => Err("a record has no key"),
            length if length > ObjectKey::MAX_LEN => Err("a record's key is over 65536 bytes"),
            _ => Ok(record),
        }
    }
}

fn skip(kind: u64, bytes: &mut &[u8]) -> Result<(), &'static str> {
    let fixed = match kind {
        0 => return varint(bytes).map(drop),
        2 => return chunk(bytes).map(drop),
        1 => 8,
        5 => 4,
        _ => return Err("a field of a record is of no known type"),
    };
    *bytes = bytes.get(fixed..).ok_or(CUT)?;
    Ok(())
}

const CUT: &str = "a record is cut off";

fn chunk<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let length = usize::try_from(varint(bytes)?).map_err(|_| CUT)?;
    let (chunk, rest) = bytes.split_at_checked(length).ok_or(CUT)?;
    *bytes = rest;
    Ok(chunk)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(CUT)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number of a record is over 64 bits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let position = HistoryPosition::new(Revision::new(0x0102), 3);
        let key = position_key(position);
        assert_eq!(key, *b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        assert_eq!(parse_position(&key), Some((position, false)));
        let deleted = [&key[..], b"t"].concat();
        assert_eq!(parse_position(&deleted), Some((position, true)));
        let wrong: [&[u8]; 5] = [
            b"",
            &key[..16],
            b"\0\0\0\0\0\0\x01\x02-\0\0\0\0\0\0\0\x03",
            b"\xff\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03",
            b"\0\0\0\0\0\0\0\0_\0\0\0\0\0\0\0\x03",
        ];
        for key in wrong {
            assert_eq!(parse_position(key), None, "{key:?}");
        }
        assert_eq!(parse_position(&[&key[..], b"x"].concat()), None);
    }

    #[test]
    fn a_record_is_read_whatever_the_order_of_its_fields() {
        let bytes = b"\x2a\x02hi\x0a\x01k\x10\x05\x18\xac\x02\x20\x07\x30\x09\x3a\x01x";
        let record = KeyValue::parse(bytes).unwrap();
        assert_eq!(
            record,
            KeyValue {
                key: b"k",
                value: b"hi",
                key_offset: 6,
                value_offset: 2,
                mod_revision: 300,
                lease: LeaseId::new(9),
            }
        );
    }

    #[test]
    fn what_is_not_a_record_is_refused() {
        let wrong: [&[u8]; 8] = [
            b"",
            b"\x2a\x02hi",
            b"\x0a\x02k",
            b"\x0a",
            b"\x08\x01",
            b"\x0a\x01k\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\x0a\x01k\x00\x01",
            b"\x0a\x01k\x3b\x01",
        ];
        for bytes in wrong {
            assert!(KeyValue::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = KeyValue::parse(&bytes);
            let _ = parse_position(&bytes);
        }
    }
}
