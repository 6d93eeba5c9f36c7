//! A key provider of your own, in about 60 lines, held to the rules that every provider keeps.
//!
//! It wraps with ChaCha20-Poly1305 under one key in memory and binds the encryption context.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::*;
use kms_testkit::conformance::{Harness, run_all};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

#[derive(Debug)]
struct Memory(KeyId, SecretBytes);

impl Memory {
    /// `ring` does not wipe prepared keys, so this one lives for one call.
    fn key(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, self.1.expose()).expect("32 bytes"))
    }

    fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).with_provider(self.to_string())
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

#[async_trait]
impl KeyProvider for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic().with_context(ContextSupport::Native)
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Ok(KeyInfo::new(self.0.clone(), KeyState::Enabled))
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        if !(1..=4096).contains(&dek.len()) {
            return Err(self.error(ErrorKind::InvalidInput, "a DEK has 1 to 4096 bytes"));
        }
        let mut nonce = [0; 12];
        OsRandom.fill(&mut nonce)?;
        // Room for the tag, so that no copy of the DEK is left behind.
        let mut body = Vec::with_capacity(dek.len() + 16);
        body.extend_from_slice(dek.expose());
        let context = Aad::from(options.context.to_canonical_bytes());
        self.key()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), context, &mut body)
            .map_err(|_| self.error(ErrorKind::Internal, "sealing failed"))?;
        WrappedKey::new(self.0.clone(), [&nonce[..], &body].concat())
    }

    async fn unwrap(&self, key: &WrappedKey, how: &UnwrapOptions) -> Result<SecretBytes, Error> {
        match key.key_id() {
            None => return Err(self.error(ErrorKind::Unsupported, "which key?")),
            Some(id) if *id != self.0 => return Err(self.error(ErrorKind::KeyNotFound, "not mine")),
            Some(_) => {}
        }
        let changed = || Error::crypto().with_provider(self.to_string());
        let (nonce, body) = key.ciphertext().split_first_chunk().ok_or_else(changed)?;
        let (nonce, mut body) = (Nonce::assume_unique_for_key(*nonce), body.to_vec());
        let context = Aad::from(how.context.to_canonical_bytes());
        let opened = self.key().open_in_place(nonce, context, &mut body);
        let length = opened.map_err(|_| changed())?.len();
        body.truncate(length);
        Ok(SecretBytes::from_vec(body))
    }
}

struct MyHarness(Arc<Memory>);

impl Harness for MyHarness {
    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.0.clone()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // A key id is for ever one key's, so a new key has a new one.
    let mut number = [0; 16];
    OsRandom.fill(&mut number)?;
    let id = KeyId::new(format!("memory/{:032x}", u128::from_be_bytes(number)))?;
    let memory = Memory(id, SecretBytes::random(&OsRandom, 32)?);
    println!("{}", run_all(&MyHarness(Arc::new(memory))).await);
    Ok(())
}
