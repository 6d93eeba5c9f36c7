//! The bytes of a wrapped DEK.
//!
//! ```text
//! 0x01 ‖ key version, u32 ‖ nonce, 12 bytes ‖ AES-256-GCM ciphertext ‖ tag, 16 bytes
//! ```
//!
//! The version stands in the bytes because Kubernetes KMS v1 stores nothing else. The AAD is
//! `"kms local wrap v1" ‖ u16 length of key id ‖ key id ‖ canonical context`; the key id holds the
//! version and the key's fingerprint, so a version that was changed does not open. All integers are
//! big-endian.

use super::gcm;
use super::state::{Keyring, Version};
use crate::{EncryptionContext, Error, KeyId, SecretBytes, SecureRandom};

/// The longest DEK, in bytes.
pub(super) const MAX_DEK_LEN: usize = 4096;
const FORMAT: u8 = 1;
const HEADER_LEN: usize = 5;
const LABEL: &[u8] = b"kms local wrap v1";

/// Wraps under the keyring's current version.
pub(super) fn seal(
    keyring: &Keyring,
    context: &EncryptionContext,
    dek: &SecretBytes,
    random: &dyn SecureRandom,
) -> Result<(KeyId, Vec<u8>), Error> {
    let version = keyring.current()?;
    let id = keyring.id_of(version)?;
    let mut header = [FORMAT; HEADER_LEN];
    if let Some(field) = header.last_chunk_mut::<4>() {
        *field = version.number.to_be_bytes();
    }
    let key = &keyring.usable(version)?.key;
    let out = gcm::seal(key, &aad(&id, context), dek.expose(), &header, random)?;
    Ok((id, out))
}

/// The key version that the bytes name, which nothing has authenticated yet; `None` if they are no
/// wrapped DEK.
pub(super) fn named_version(ciphertext: &[u8]) -> Option<u32> {
    let longest = HEADER_LEN
        .saturating_add(gcm::OVERHEAD)
        .saturating_add(MAX_DEK_LEN);
    match ciphertext.split_first_chunk::<HEADER_LEN>()? {
        ([FORMAT, version @ ..], _) if ciphertext.len() <= longest => {
            Some(u32::from_be_bytes(*version))
        }
        _ => None,
    }
}

/// Unwraps with a version that may be used.
pub(super) fn open(
    keyring: &Keyring,
    version: &Version,
    context: &EncryptionContext,
    ciphertext: &[u8],
) -> Result<SecretBytes, Error> {
    let id = keyring.id_of(version)?;
    let key = &keyring.usable(version)?.key;
    ciphertext
        .get(HEADER_LEN..)
        .and_then(|sealed| gcm::open(key, &aad(&id, context), sealed))
        .ok_or_else(Error::crypto)
}

fn aad(id: &KeyId, context: &EncryptionContext) -> Vec<u8> {
    let id = id.as_str().as_bytes();
    // A key id has at most 1,024 bytes.
    let length = u16::try_from(id.len()).unwrap_or(u16::MAX);
    [
        LABEL,
        &length.to_be_bytes(),
        id,
        &context.to_canonical_bytes(),
    ]
    .concat()
}
