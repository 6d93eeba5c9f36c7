//! A key provider of your own, held to the rules that every provider keeps.
//!
//! It wraps with ChaCha20-Poly1305 under one key in memory, and binds the key id and the
//! encryption context. `kms-testkit` says whether it does what the trait promises.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, ContextSupport, EncryptionContext, Error, ErrorKind, KeyId, KeyInfo,
    KeyProvider, KeyState, OsRandom, SecretBytes, SecureRandom as _, UnwrapOptions, WrapOptions,
    WrappedKey,
};
use kms_testkit::conformance::{Harness, run_all};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

#[derive(Debug)]
struct MemoryProvider {
    id: KeyId,
    key: SecretBytes,
}

impl MemoryProvider {
    fn new() -> Result<Self, Error> {
        let mut tail = [0; 8];
        OsRandom.fill(&mut tail)?;
        let id = KeyId::new(format!("memory/{:016x}", u64::from_be_bytes(tail)))?;
        Ok(Self {
            id,
            key: SecretBytes::random(&OsRandom, 32)?,
        })
    }

    /// `ring` does not wipe prepared keys, so this one lives for one call.
    fn prepared(&self) -> Result<LessSafeKey, Error> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, self.key.expose());
        Ok(LessSafeKey::new(
            key.map_err(|_| self.error(ErrorKind::Internal, "no key"))?,
        ))
    }

    /// Length first, so that key id and context cannot run into each other.
    fn aad(&self, context: &EncryptionContext) -> Vec<u8> {
        let id = self.id.as_str();
        [
            &(id.len() as u64).to_be_bytes()[..],
            id.as_bytes(),
            &context.to_canonical_bytes(),
        ]
        .concat()
    }

    fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).with_provider(self.to_string())
    }
}

impl fmt::Display for MemoryProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

#[async_trait]
impl KeyProvider for MemoryProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic().with_context(ContextSupport::Native)
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Ok(KeyInfo::new(self.id.clone(), KeyState::Enabled))
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        if dek.is_empty() || dek.len() > self.capabilities().max_plaintext_len {
            return Err(self.error(ErrorKind::InvalidInput, "the DEK is empty or too long"));
        }
        let mut nonce = [0; NONCE_LEN];
        OsRandom.fill(&mut nonce)?;
        let mut sealed = dek.expose().to_vec();
        let aad = Aad::from(self.aad(&options.context));
        self.prepared()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| self.error(ErrorKind::Internal, "the DEK could not be sealed"))?;
        WrappedKey::new(self.id.clone(), [&nonce[..], &sealed].concat())
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        match wrapped.key_id() {
            None => return Err(self.error(ErrorKind::Unsupported, "the key id is missing")),
            Some(id) if *id != self.id => {
                return Err(self
                    .error(ErrorKind::KeyNotFound, "no such key")
                    .with_key_id(id.clone()));
            }
            Some(_) => {}
        }
        let crypto = || Error::crypto().with_provider(self.to_string());
        let (nonce, body) = wrapped
            .ciphertext()
            .split_at_checked(NONCE_LEN)
            .ok_or_else(crypto)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| crypto())?;
        let mut body = body.to_vec();
        let aad = Aad::from(self.aad(&options.context));
        let length = self
            .prepared()?
            .open_in_place(nonce, aad, &mut body)
            .map_err(|_| crypto())?
            .len();
        body.truncate(length);
        Ok(SecretBytes::from_vec(body))
    }
}

struct MyHarness(Arc<MemoryProvider>);

#[async_trait]
impl Harness for MyHarness {
    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.0.clone()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let provider = Arc::new(MemoryProvider::new()?);
    println!("{}", run_all(&MyHarness(provider)).await);
    Ok(())
}
