//! `EncryptedObject`, parsed without copying and checked as upstream checks it.

use kms_core::KeyId;

use super::super::Fault;
use super::super::wire::{BYTES, Reader, VARINT};
use super::annotation::Collector;
use crate::kubernetes::DekSourceType;

/// The longest encrypted DEK source, in bytes.
pub(crate) const MAX_DEK_SOURCE_LEN: usize = 1024;

const ENCRYPTED_DATA: &str = "encryptedData";
const KEY_ID: &str = "keyID";
const DEK_SOURCE: &str = "encryptedDEKSource";
const ANNOTATIONS: &str = "annotations";
const DEK_SOURCE_TYPE: &str = "encryptedDEKSourceType";

const NOT_UTF8: &str = "is not UTF-8";
const CUT_OFF: &str = "is cut off";

/// A value of KMS v2, borrowed.
#[derive(Debug)]
pub(crate) struct EncryptedObject<'a> {
    pub(crate) encrypted_data: &'a [u8],
    pub(crate) key_id: &'a str,
    pub(crate) dek_source: &'a [u8],
    /// In order of their names.
    pub(crate) annotations: Vec<(&'a str, &'a [u8])>,
    pub(crate) dek_source_type: DekSourceType,
}

impl<'a> EncryptedObject<'a> {
    /// Parses and checks what follows the prefix.
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self, Fault> {
        let mut encrypted_data: &[u8] = &[];
        let mut key_id = "";
        let mut dek_source: &[u8] = &[];
        let mut annotations = Collector::default();
        let mut dek_source_type = 0;

        let mut message = Reader::new(payload);
        while !message.is_empty() {
            let (field, wire_type) = message
                .tag()
                .ok_or(Fault::new("EncryptedObject", "is no protobuf message"))?;
            match (field, wire_type) {
                (1, BYTES) => encrypted_data = bytes(&mut message, ENCRYPTED_DATA)?,
                (2, BYTES) => key_id = string(&mut message, KEY_ID)?,
                (3, BYTES) => dek_source = bytes(&mut message, DEK_SOURCE)?,
                (4, BYTES) => {
                    let (name, value) = map_entry(bytes(&mut message, ANNOTATIONS)?)?;
                    annotations.push(name, value)?;
                }
                // An open enum of 32 bits: the rest is cut off.
                (5, VARINT) => {
                    dek_source_type = message
                        .varint()
                        .ok_or(Fault::new(DEK_SOURCE_TYPE, CUT_OFF))?
                        as i32;
                }
                _ => message
                    .skip(field, wire_type)
                    .ok_or(Fault::new("an unknown field", "is no protobuf"))?,
            }
        }

        if encrypted_data.is_empty() {
            return Err(Fault::new(ENCRYPTED_DATA, "is empty"));
        }
        check_key_id(key_id)?;
        match dek_source.len() {
            0 => return Err(Fault::new(DEK_SOURCE, "is empty")),
            1..=MAX_DEK_SOURCE_LEN => {}
            _ => return Err(Fault::new(DEK_SOURCE, "is over 1024 bytes")),
        }
        Ok(Self {
            encrypted_data,
            key_id,
            dek_source,
            annotations: annotations.finish()?,
            dek_source_type: DekSourceType::from_number(dek_source_type)
                .ok_or(Fault::new(DEK_SOURCE_TYPE, "is unknown"))?,
        })
    }
}

/// As upstream, and one rule more: a control character is refused, as [`KeyId`] refuses it.
fn check_key_id(key_id: &str) -> Result<(), Fault> {
    match key_id.len() {
        0 => Err(Fault::new(KEY_ID, "is empty")),
        1..=KeyId::MAX_LEN => {
            if key_id.bytes().any(|byte| byte.is_ascii_control())
                || (!key_id.is_ascii() && key_id.chars().any(char::is_control))
            {
                Err(Fault::new(KEY_ID, "holds a control character"))
            } else {
                Ok(())
            }
        }
        _ => Err(Fault::new(KEY_ID, "is over 1024 bytes")),
    }
}

fn map_entry(entry: &[u8]) -> Result<(&str, &[u8]), Fault> {
    let mut name = "";
    let mut value: &[u8] = &[];
    let mut entry = Reader::new(entry);
    while !entry.is_empty() {
        let fault = Fault::new(ANNOTATIONS, "are no protobuf map");
        match entry.tag().ok_or(fault)? {
            (1, BYTES) => name = string(&mut entry, ANNOTATIONS)?,
            (2, BYTES) => value = bytes(&mut entry, ANNOTATIONS)?,
            (field, wire_type) => entry.skip(field, wire_type).ok_or(fault)?,
        }
    }
    Ok((name, value))
}

fn bytes<'a>(message: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], Fault> {
    message.bytes().ok_or_else(|| Fault::new(field, CUT_OFF))
}

fn string<'a>(message: &mut Reader<'a>, field: &'static str) -> Result<&'a str, Fault> {
    core::str::from_utf8(bytes(message, field)?).map_err(|_| Fault::new(field, NOT_UTF8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::value::wire::{put_bytes, put_varint};

    fn object() -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, b"data");
        put_bytes(&mut out, 2, b"key-1");
        put_bytes(&mut out, 3, b"source");
        out
    }

    fn with(extra: &[u8]) -> Vec<u8> {
        let mut out = object();
        out.extend_from_slice(extra);
        out
    }

    fn fault(extra: &[u8]) -> Fault {
        EncryptedObject::parse(&with(extra)).unwrap_err()
    }

    #[test]
    fn the_last_of_a_field_counts() {
        let bytes = with(b"\x12\x01k\x0a\x01d\x28\x00\x28\x01");
        let object = EncryptedObject::parse(&bytes).unwrap();
        assert_eq!((object.key_id, object.encrypted_data), ("k", &b"d"[..]));
        assert_eq!(
            object.dek_source_type,
            DekSourceType::HkdfSha256XnonceAesGcmSeed
        );
    }

    #[test]
    fn a_known_field_of_another_wire_type_is_unknown() {
        // Field 2 as a varint, field 5 as bytes, a group, 4 and 8 bytes.
        let bytes = with(b"\x10\x07\x2a\x01x\x3b\x3c\x3d1234\x3912345678");
        let object = EncryptedObject::parse(&bytes).unwrap();
        assert_eq!(object.key_id, "key-1");
        assert_eq!(object.dek_source_type, DekSourceType::AesGcmKey);
    }

    #[test]
    fn the_type_is_cut_to_32_bits() {
        let mut extra = vec![0x28];
        put_varint(&mut extra, (1 << 32) + 1);
        let bytes = with(&extra);
        assert_eq!(
            EncryptedObject::parse(&bytes).unwrap().dek_source_type,
            DekSourceType::HkdfSha256XnonceAesGcmSeed
        );
        assert_eq!(fault(b"\x28\x02").field, DEK_SOURCE_TYPE);
    }

    #[test]
    fn every_string_must_be_utf8_even_one_that_is_replaced() {
        assert_eq!(fault(b"\x12\x01\xff\x12\x01k").problem, NOT_UTF8);
        assert_eq!(fault(b"\x22\x03\x0a\x01\xff").problem, NOT_UTF8);
    }

    #[test]
    fn an_entry_without_name_has_the_empty_one() {
        assert_eq!(fault(b"\x22\x00").field, ANNOTATIONS);
        let bytes = with(b"\x22\x05\x0a\x03a.b");
        let object = EncryptedObject::parse(&bytes).unwrap();
        assert_eq!(object.annotations, [("a.b", &b""[..])]);
    }

    #[test]
    fn a_key_id_holds_no_control_character() {
        assert_eq!(fault(b"\x12\x02a\n").field, KEY_ID);
        assert_eq!(fault("\x12\x02\u{85}".as_bytes()).field, KEY_ID);
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |from: &[u8]| EncryptedObject::parse(from).unwrap_err().field;
        assert_eq!(missing(b""), ENCRYPTED_DATA);
        assert_eq!(missing(b"\x0a\x01d"), KEY_ID);
        assert_eq!(missing(b"\x0a\x01d\x12\x01k"), DEK_SOURCE);
    }
}
