//! A provider over a map of keys, as a stand-in for a client of some key service of yours.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, ContextSupport, Error, ErrorKind, KeyId, KeyInfo, KeyProvider,
    KeyState, SecretBytes, SecureRandom, UnwrapOptions, WrapOptions, WrappedKey,
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// The longest DEK, in bytes.
const MAX_DEK_LEN: usize = 4096;
/// Bytes of the tag of AES-GCM.
const TAG_LEN: usize = 16;

/// AES-256-GCM under numbered keys in memory. The key id and the context are bound.
#[derive(Debug)]
pub struct MapProvider {
    random: Arc<dyn SecureRandom>,
    /// Names this map, so that no two have one key id.
    name: u64,
    keys: RwLock<BTreeMap<u32, SecretBytes>>,
}

impl MapProvider {
    /// A map with one key. Randomness comes from outside, so that a fuzzer can have it again.
    pub fn new(random: Arc<dyn SecureRandom>) -> Result<Self, Error> {
        let mut name = [0; 8];
        random.fill(&mut name)?;
        let provider = Self {
            random,
            name: u64::from_be_bytes(name),
            keys: RwLock::default(),
        };
        provider.rotate()?;
        Ok(provider)
    }

    /// Makes a new key, which wraps from now on.
    pub fn rotate(&self) -> Result<(), Error> {
        let key = SecretBytes::random(&*self.random, 32)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let number = keys.last_key_value().map_or(0, |(number, _)| *number);
        let number = number
            .checked_add(1)
            .ok_or_else(|| self.error(ErrorKind::Internal, "the numbers are used up"))?;
        keys.insert(number, key);
        Ok(())
    }

    fn id(&self, number: u32) -> Result<KeyId, Error> {
        KeyId::new(format!("map/{:016x}/{number}", self.name))
    }

    fn current(&self) -> Result<(KeyId, LessSafeKey), Error> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (number, key) = keys
            .last_key_value()
            .ok_or_else(|| self.error(ErrorKind::KeyNotFound, "there is no key"))?;
        Ok((self.id(*number)?, self.prepared(key)?))
    }

    fn find(&self, id: &KeyId) -> Result<LessSafeKey, Error> {
        let number = id.as_str().rsplit('/').next().and_then(|n| n.parse().ok());
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        match number.and_then(|number| keys.get_key_value(&number)) {
            // Compared as a whole: `01` is a number too, but no key's id.
            Some((number, key)) if self.id(*number)? == *id => self.prepared(key),
            _ => Err(self
                .error(ErrorKind::KeyNotFound, "no key of this map has this id")
                .with_key_id(id.clone())),
        }
    }

    /// `ring` does not wipe prepared keys, so one lives for one call.
    fn prepared(&self, key: &SecretBytes) -> Result<LessSafeKey, Error> {
        UnboundKey::new(&AES_256_GCM, key.expose())
            .map(LessSafeKey::new)
            .map_err(|_| self.error(ErrorKind::Internal, "the key has not 32 bytes"))
    }

    fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).with_provider(self.to_string())
    }
}

/// The id behind its length, so that it and the context cannot run into each other.
fn aad(id: &KeyId, context: Vec<u8>) -> Aad<Vec<u8>> {
    let id = id.as_str().as_bytes();
    Aad::from([&(id.len() as u64).to_be_bytes(), id, &context].concat())
}

impl fmt::Display for MapProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "map/{:016x}", self.name)
    }
}

#[async_trait]
impl KeyProvider for MapProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
            .with_context(ContextSupport::Native)
            .with_max_plaintext_len(MAX_DEK_LEN)
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Ok(KeyInfo::new(self.current()?.0, KeyState::Enabled))
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        if dek.is_empty() || dek.len() > MAX_DEK_LEN {
            return Err(self.error(ErrorKind::InvalidInput, "a DEK has 1 to 4096 bytes"));
        }
        let (id, key) = self.current()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce)?;
        // Room for the tag, so that no copy of the DEK is left behind.
        let mut body = Vec::with_capacity(dek.len().saturating_add(TAG_LEN));
        body.extend_from_slice(dek.expose());
        let aad = aad(&id, options.context.to_canonical_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body)
            .map_err(|_| self.error(ErrorKind::Internal, "the DEK could not be sealed"))?;
        WrappedKey::new(id, [&nonce[..], &body].concat())
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let id = wrapped
            .key_id()
            .ok_or_else(|| self.error(ErrorKind::Unsupported, "the key id is missing"))?;
        let key = self.find(id)?;
        let changed = || {
            Error::crypto()
                .with_provider(self.to_string())
                .with_key_id(id.clone())
        };
        let (nonce, body) = wrapped
            .ciphertext()
            .split_first_chunk()
            .ok_or_else(changed)?;
        let mut body = body.to_vec();
        let aad = aad(id, options.context.to_canonical_bytes());
        let length = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut body)
            .map_err(|_| changed())?
            .len();
        body.truncate(length);
        Ok(SecretBytes::from_vec(body))
    }
}
