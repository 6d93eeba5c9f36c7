//! AES-GCM with a 12-byte nonce and a 16-byte tag.
//!
//! The key is set up in each call and not kept, since `ring` does not wipe its key schedules.

use ring::aead;

use super::plaintext::Plaintext;
use super::{bad_key, does_not_open, too_long};
use crate::Error;

pub(crate) const NONCE_LEN: usize = 12;
pub(crate) const TAG_LEN: usize = 16;
/// Nonce and tag.
pub(crate) const OVERHEAD: usize = 28;

const NAME: &str = "AES-GCM";

/// Opens `nonce ‖ ciphertext ‖ tag`.
pub(crate) fn open(key: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Plaintext, Error> {
    let (nonce, sealed) = sealed
        .split_first_chunk::<NONCE_LEN>()
        .ok_or_else(does_not_open)?;
    let (ciphertext, tag) = sealed
        .split_last_chunk::<TAG_LEN>()
        .ok_or_else(does_not_open)?;
    let mut plaintext = Plaintext::copy_of(ciphertext);
    match ring_key(key) {
        Some(key) => {
            key.open_in_place_separate_tag(
                aead::Nonce::assume_unique_for_key(*nonce),
                aead::Aad::from(aad),
                aead::Tag::from(*tag),
                plaintext.as_mut_slice(),
                0..,
            )
            .map_err(|_| does_not_open())?;
        }
        None => aes192::open(key, nonce, aad, plaintext.as_mut_slice(), tag)?,
    }
    Ok(plaintext)
}

/// Encrypts in place and returns the tag.
pub(crate) fn seal(
    key: &[u8],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    in_out: &mut [u8],
) -> Result<[u8; TAG_LEN], Error> {
    let Some(key) = ring_key(key) else {
        return aes192::seal(key, nonce, aad, in_out);
    };
    let tag = key
        .seal_in_place_separate_tag(
            aead::Nonce::assume_unique_for_key(*nonce),
            aead::Aad::from(aad),
            in_out,
        )
        .map_err(|_| too_long())?;
    tag.as_ref().try_into().map_err(|_| too_long())
}

fn ring_key(key: &[u8]) -> Option<aead::LessSafeKey> {
    let algorithm = match key.len() {
        16 => &aead::AES_128_GCM,
        32 => &aead::AES_256_GCM,
        _ => return None,
    };
    let key = aead::UnboundKey::new(algorithm, key).ok()?;
    Some(aead::LessSafeKey::new(key))
}

/// Whether this build can use a key of this length.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Error> {
    match key.len() {
        16 | 32 => Ok(()),
        24 => aes192::check(),
        _ => Err(bad_key(NAME)),
    }
}

/// What `ring` does not have.
#[cfg(feature = "kubernetes-legacy")]
mod aes192 {
    use aes_gcm::aead::consts::U12;
    use aes_gcm::{AeadInOut as _, AesGcm, KeyInit as _, aes::Aes192};

    use super::{NAME, NONCE_LEN, TAG_LEN, bad_key, does_not_open, too_long};
    use crate::Error;

    type Cipher = AesGcm<Aes192, U12>;

    #[expect(
        clippy::unnecessary_wraps,
        reason = "its twin for builds without this feature fails"
    )]
    pub(super) fn check() -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn open(
        key: &[u8],
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        in_out: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Error> {
        Cipher::new_from_slice(key)
            .map_err(|_| bad_key(NAME))?
            .decrypt_inout_detached(nonce.into(), aad, in_out.into(), tag.into())
            .map_err(|_| does_not_open())
    }

    pub(super) fn seal(
        key: &[u8],
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Error> {
        Cipher::new_from_slice(key)
            .map_err(|_| bad_key(NAME))?
            .encrypt_inout_detached(nonce.into(), aad, in_out.into())
            .map(Into::into)
            .map_err(|_| too_long())
    }
}

#[cfg(not(feature = "kubernetes-legacy"))]
mod aes192 {
    use super::{NAME, NONCE_LEN, TAG_LEN, bad_key};
    use crate::Error;
    use crate::kubernetes::value::needs_legacy;

    pub(super) fn check() -> Result<(), Error> {
        Err(needs_legacy("AES-192-GCM"))
    }

    fn refuse(key: &[u8]) -> Error {
        if key.len() == 24 {
            needs_legacy("AES-192-GCM")
        } else {
            bad_key(NAME)
        }
    }

    pub(super) fn open(
        key: &[u8],
        _nonce: &[u8; NONCE_LEN],
        _aad: &[u8],
        _in_out: &mut [u8],
        _tag: &[u8; TAG_LEN],
    ) -> Result<(), Error> {
        Err(refuse(key))
    }

    pub(super) fn seal(
        key: &[u8],
        _nonce: &[u8; NONCE_LEN],
        _aad: &[u8],
        _in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Error> {
        Err(refuse(key))
    }
}
