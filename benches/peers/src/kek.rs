//! A KEK in memory: AES-256-GCM, for those libraries that take a wrapper from outside.

use std::fmt;

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Error, KeyId, KeyInfo, KeyProvider, OsRandom, SecretBytes,
    SecureRandom as _, UnwrapOptions, WrapOptions, WrappedKey,
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

pub struct StaticKek {
    key: LessSafeKey,
    id: KeyId,
}

impl StaticKek {
    pub fn new() -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &crate::KEK).expect("32 bytes");
        Self {
            key: LessSafeKey::new(key),
            id: "static/1".parse().expect("valid"),
        }
    }

    pub fn wrap(&self, dek: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        OsRandom.fill(&mut nonce).expect("random");
        let mut out = nonce.to_vec();
        out.extend_from_slice(dek);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[NONCE_LEN..])
            .expect("seals");
        out.extend_from_slice(tag.as_ref());
        out
    }

    pub fn unwrap(&self, wrapped: &[u8]) -> Vec<u8> {
        let (nonce, body) = wrapped.split_first_chunk().expect("a nonce");
        let mut dek = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self
            .key
            .open_in_place(nonce, Aad::empty(), &mut dek)
            .expect("opens")
            .len();
        dek.truncate(len);
        dek
    }
}

impl fmt::Debug for StaticKek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKek")
    }
}

impl fmt::Display for StaticKek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("static")
    }
}

#[async_trait]
impl KeyProvider for StaticKek {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Err(Error::crypto())
    }

    async fn wrap(&self, dek: &SecretBytes, _: &WrapOptions) -> Result<WrappedKey, Error> {
        WrappedKey::new(self.id.clone(), self.wrap(dek.expose()))
    }

    async fn unwrap(&self, wrapped: &WrappedKey, _: &UnwrapOptions) -> Result<SecretBytes, Error> {
        Ok(SecretBytes::from_vec(self.unwrap(wrapped.ciphertext())))
    }
}
