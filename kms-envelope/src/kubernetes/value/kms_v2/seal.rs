//! Keys from a DEK source, and the encrypted data.

use kms_core::WrappedKey;
use ring::hkdf;
use zeroize::Zeroizing;

use super::super::plaintext::{Plaintext, wipe};
use super::super::wire::{BYTES, VARINT, put_bytes, put_varint, varint_len};
use super::super::{Fault, aes_gcm, does_not_open, too_long};
use crate::kubernetes::DekSourceType;
use crate::{Error, ErrorKind};

/// The random input of the key derivation that stands in front of the nonce.
pub(crate) const INFO_LEN: usize = 32;
const MIN_SEED_LEN: usize = 32;
const DEK_LEN: usize = 32;
const ENCRYPTED_DATA_TAG: u8 = 1 << 3 | BYTES;

/// Whether an unwrapped DEK source can be used at all.
pub(crate) fn check_dek_source(kind: DekSourceType, source: &[u8]) -> Result<(), Error> {
    match kind {
        DekSourceType::AesGcmKey => aes_gcm::check_key(source),
        DekSourceType::HkdfSha256XnonceAesGcmSeed if source.len() >= MIN_SEED_LEN => Ok(()),
        DekSourceType::HkdfSha256XnonceAesGcmSeed => Err(Error::new(
            ErrorKind::Malformed,
            "the seed is under 32 bytes",
        )),
    }
}

/// The length of the encrypted data of an empty object.
pub(crate) const fn min_encrypted_data_len(kind: DekSourceType) -> usize {
    match kind {
        DekSourceType::AesGcmKey => aes_gcm::OVERHEAD,
        DekSourceType::HkdfSha256XnonceAesGcmSeed => INFO_LEN + aes_gcm::OVERHEAD,
    }
}

/// Opens `encryptedData`.
pub(crate) fn open(
    kind: DekSourceType,
    source: &[u8],
    aad: &[u8],
    encrypted_data: &[u8],
) -> Result<Plaintext, Error> {
    if encrypted_data.len() < min_encrypted_data_len(kind) {
        return Err(Fault::new("encryptedData", "is too short").into());
    }
    match kind {
        DekSourceType::AesGcmKey => aes_gcm::open(source, aad, encrypted_data),
        DekSourceType::HkdfSha256XnonceAesGcmSeed => {
            let (info, sealed) = encrypted_data
                .split_first_chunk::<INFO_LEN>()
                .ok_or_else(does_not_open)?;
            aes_gcm::open(derive(source, info)?.as_slice(), aad, sealed)
        }
    }
}

/// What stands behind the encrypted data in every value of one DEK source, encoded once.
#[derive(Debug)]
pub(crate) struct Tail(Box<[u8]>);

impl Tail {
    /// `wrapped` must have been checked: a key id, and lengths within the limits.
    pub(crate) fn new(wrapped: &WrappedKey, kind: DekSourceType) -> Self {
        let mut out = Vec::new();
        let key_id = wrapped.key_id().map_or("", |id| id.as_str());
        put_bytes(&mut out, 2, key_id.as_bytes());
        put_bytes(&mut out, 3, wrapped.ciphertext());
        for (name, value) in wrapped.annotations() {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, name.as_bytes());
            put_bytes(&mut entry, 2, value);
            put_bytes(&mut out, 4, &entry);
        }
        if kind.number() != 0 {
            out.push(5 << 3 | VARINT);
            put_varint(&mut out, u64::try_from(kind.number()).unwrap_or_default());
        }
        Self(out.into())
    }
}

/// Makes a whole stored value in one allocation of exact size.
///
/// `head` stands in front of the nonce: the derivation's `info` for a seed, nothing for a DEK.
pub(crate) fn seal(
    prefix: &[u8],
    tail: &Tail,
    source: &[u8],
    head: Option<&[u8; INFO_LEN]>,
    nonce: &[u8; aes_gcm::NONCE_LEN],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    let head_bytes: &[u8] = head.map_or(&[], |info| info);
    let data_len = plaintext
        .len()
        .checked_add(head_bytes.len())
        .and_then(|len| len.checked_add(aes_gcm::OVERHEAD))
        .ok_or_else(too_long)?;
    let total = data_len
        .checked_add(prefix.len())
        .and_then(|len| len.checked_add(1))
        .and_then(|len| len.checked_add(varint_len(data_len as u64)))
        .and_then(|len| len.checked_add(tail.0.len()))
        .ok_or_else(too_long)?;

    let derived;
    let key = match head {
        Some(info) => {
            derived = derive(source, info)?;
            derived.as_slice()
        }
        None => source,
    };

    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(prefix);
    out.push(ENCRYPTED_DATA_TAG);
    put_varint(&mut out, data_len as u64);
    out.extend_from_slice(head_bytes);
    out.extend_from_slice(nonce);
    let body = out.len();
    out.extend_from_slice(plaintext);
    match aes_gcm::seal(key, nonce, aad, out.get_mut(body..).unwrap_or_default()) {
        Ok(tag) => out.extend_from_slice(&tag),
        Err(error) => {
            wipe(&mut out);
            return Err(error);
        }
    }
    out.extend_from_slice(&tail.0);
    debug_assert_eq!(out.len(), total);
    Ok(out)
}

struct DekLen;

impl hkdf::KeyType for DekLen {
    fn len(&self) -> usize {
        DEK_LEN
    }
}

/// HKDF-Expand (RFC 5869, section 2.3) with SHA-256: the seed is the pseudorandom key, there is
/// no extraction and no label.
fn derive(seed: &[u8], info: &[u8; INFO_LEN]) -> Result<Zeroizing<[u8; DEK_LEN]>, Error> {
    let mut dek = Zeroizing::new([0; DEK_LEN]);
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, seed)
        .expand(&[info], DekLen)
        .and_then(|okm| okm.fill(dek.as_mut_slice()))
        .map_err(|_| Error::new(ErrorKind::Internal, "key derivation failed"))?;
    Ok(dek)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derived_key_is_the_published_one() {
        let seed: Vec<u8> = (0..32).collect();
        let info = core::array::from_fn(|index| 0x20 + index as u8);
        let expected = [
            0xcc, 0xb4, 0xf0, 0x5e, 0x67, 0x3c, 0x90, 0xbd, 0x15, 0x39, 0x35, 0xb1, 0x1d, 0x0d,
            0xab, 0xfc, 0x00, 0x53, 0x7b, 0xc3, 0x5c, 0xf9, 0x29, 0x53, 0xde, 0xac, 0x17, 0x8d,
            0xd0, 0x81, 0xef, 0x8d,
        ];
        assert_eq!(*derive(&seed, &info).unwrap(), expected);
    }
}
