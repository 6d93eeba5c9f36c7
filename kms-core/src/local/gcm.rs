//! AES-256-GCM with a random nonce, by `ring`.
//!
//! `ring` does not wipe its prepared keys, so none is kept: a key is set up for each call, and what
//! is left of it is a stack frame that the next call overwrites.

use ring::aead;
use zeroize::Zeroizing;

use crate::{Error, ErrorKind, SecretBytes, SecureRandom};

const NONCE_LEN: usize = aead::NONCE_LEN;
/// How many bytes a sealed message is longer than its plaintext: a nonce and a tag.
pub(super) const OVERHEAD: usize = 28;

/// Appends `nonce ‖ ciphertext ‖ tag` to `header`.
pub(super) fn seal(
    key: &SecretBytes,
    aad: &[u8],
    plaintext: &[u8],
    header: &[u8],
    random: &dyn SecureRandom,
) -> Result<Vec<u8>, Error> {
    let fault = || Error::new(ErrorKind::Internal, "AES-256-GCM could not encrypt");
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce)?;
    let body = header.len().saturating_add(NONCE_LEN);
    let capacity = header
        .len()
        .saturating_add(plaintext.len())
        .saturating_add(OVERHEAD);
    let mut out = Zeroizing::new(Vec::with_capacity(capacity));
    out.extend_from_slice(header);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plaintext);
    let tag = cipher(key)
        .ok_or_else(fault)?
        .seal_in_place_separate_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(aad),
            out.get_mut(body..).ok_or_else(fault)?,
        )
        .map_err(|_| fault())?;
    out.extend_from_slice(tag.as_ref());
    Ok(core::mem::take(&mut *out))
}

/// Opens `nonce ‖ ciphertext ‖ tag`; `None` if it is not what `seal` made of this key and AAD.
pub(super) fn open(key: &SecretBytes, aad: &[u8], sealed: &[u8]) -> Option<SecretBytes> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut buffer = Zeroizing::new(body.to_vec());
    let plaintext = cipher(key)?
        .open_in_place(
            aead::Nonce::assume_unique_for_key(*nonce),
            aead::Aad::from(aad),
            &mut buffer,
        )
        .ok()?;
    Some(SecretBytes::copy_from_slice(plaintext))
}

fn cipher(key: &SecretBytes) -> Option<aead::LessSafeKey> {
    aead::UnboundKey::new(&aead::AES_256_GCM, key.expose())
        .ok()
        .map(aead::LessSafeKey::new)
}
