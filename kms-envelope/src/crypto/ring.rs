//! The default backend.

use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hkdf, hmac};

use super::{Aead, CryptoBackend, Key32, NONCE_LEN, TAG_LEN, Unspecified};

/// Primitives from `ring`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingBackend;

impl From<ring::error::Unspecified> for Unspecified {
    fn from(_: ring::error::Unspecified) -> Self {
        Self
    }
}

fn prepared(aead: Aead, key: &[u8; 32]) -> Result<LessSafeKey, Unspecified> {
    let algorithm = match aead {
        Aead::Aes256Gcm => &AES_256_GCM,
        Aead::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    Ok(LessSafeKey::new(UnboundKey::new(algorithm, key)?))
}

fn fixed(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    // SHA-256 gives 32 bytes.
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

impl CryptoBackend for RingBackend {
    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut state = digest::Context::new(&digest::SHA256);
        parts.iter().for_each(|part| state.update(part));
        fixed(state.finish().as_ref())
    }

    fn hmac_sha256(&self, key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut state = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        parts.iter().for_each(|part| state.update(part));
        fixed(state.sign().as_ref())
    }

    fn hkdf_sha256(
        &self,
        salt: &[u8],
        secret: &[u8],
        infos: &[&[&[u8]]],
        keys: &mut [Key32],
    ) -> Result<(), Unspecified> {
        if infos.len() != keys.len() {
            return Err(Unspecified);
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
        for (info, key) in infos.iter().zip(keys) {
            prk.expand(info, hkdf::HKDF_SHA256)?
                .fill(key.as_mut_slice())?;
        }
        Ok(())
    }

    fn seal(
        &self,
        aead: Aead,
        key: &[u8; 32],
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Unspecified> {
        let tag = prepared(aead, key)?.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            in_out,
        )?;
        tag.as_ref().try_into().map_err(|_| Unspecified)
    }

    fn open<'a>(
        &self,
        aead: Aead,
        key: &[u8; 32],
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        in_out: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unspecified> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        Ok(prepared(aead, key)?.open_in_place(nonce, Aad::from(aad), in_out)?)
    }
}
