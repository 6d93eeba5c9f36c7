//! Keys given as text and held in memory.

use core::fmt;
use core::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, KeyState, OsRandom,
    SecretBytes, SecureRandom, UnwrapOptions, WrapOptions, WrappedKey,
};
use zeroize::Zeroizing;

use self::keys::{KEY_LEN, Keyring, StaticKey, error, error_of};

mod keys;

const NAME: &str = "static";

/// A provider whose keys are given at construction, for tests and for trying things out.
///
/// Written as text, `KEYID=HEX` pairs behind commas, each key 64 hexadecimal digits; the first is
/// current. A key id may hold `=` but not `,`. Whoever reads that text has the keys: a setting or
/// an environment variable of this kind is no place for keys that protect anything.
///
/// A DEK is wrapped as `nonce (12 random bytes) ‖ AES-256-GCM ciphertext ‖ tag (16 bytes)`, with
/// the UTF-8 bytes of the key id as AAD. Without a key id, a ciphertext that begins with the
/// id's length in one byte and the id is tried under that key first, then every key is tried.
/// Annotations are ignored. No context can be bound.
///
/// The keys are zeroized on drop; the expanded AES key that `ring` makes for one call is not.
///
/// ```
/// use kms_core::{KeyProvider as _, SecretBytes};
/// use kms_testkit::StaticProvider;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let text = format!("new={},old={}", "1f".repeat(32), "2e".repeat(32));
/// let provider: StaticProvider = text.parse()?;
/// let dek = SecretBytes::from_vec(vec![7; 32]);
/// let wrapped = provider.wrap(&dek, &Default::default()).await?;
/// assert_eq!(wrapped.key_id().unwrap().as_str(), "new");
/// assert_eq!(provider.unwrap(&wrapped, &Default::default()).await?, dek);
/// # Ok::<(), kms_core::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StaticProvider {
    random: Arc<dyn SecureRandom>,
    keys: RwLock<Keyring>,
}

impl StaticProvider {
    /// The longest DEK, in bytes.
    pub const MAX_PLAINTEXT_LEN: usize = 4096;
    /// The most keys.
    pub const MAX_KEYS: usize = 1024;

    /// A provider with one key, which is current.
    #[must_use]
    pub fn new(id: KeyId, key: [u8; KEY_LEN]) -> Self {
        Self::with_first(StaticKey::new(id, SecretBytes::copy_from_slice(&key)))
    }

    fn with_first(key: StaticKey) -> Self {
        Self {
            random: Arc::new(OsRandom),
            keys: RwLock::new(Keyring {
                current: key.id.clone(),
                keys: vec![key],
            }),
        }
    }

    /// A provider with one random key, `static-1`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if there is no randomness to be had.
    pub fn generate() -> Result<Self, Error> {
        let id = KeyId::new("static-1")?;
        Ok(Self::with_first(StaticKey::new(id, random_key(&OsRandom)?)))
    }

    /// Takes nonces and generated keys from `random` instead of the operating system.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn SecureRandom>) -> Self {
        self.random = random;
        self
    }

    /// Adds a key. It is not made current.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] if there is a key of this id, and
    /// [`ErrorKind::InvalidInput`] if there are [`StaticProvider::MAX_KEYS`] already.
    pub fn add_key(&self, id: KeyId, key: [u8; KEY_LEN]) -> Result<(), Error> {
        self.write()
            .add(StaticKey::new(id, SecretBytes::copy_from_slice(&key)))
    }

    /// Makes another known key current.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::KeyNotFound`] if it is not known, and that of its state if it may not wrap.
    pub fn make_current(&self, id: &KeyId) -> Result<(), Error> {
        let mut keys = self.write();
        keys.find(id)?.check(KeyState::can_wrap)?;
        keys.current = id.clone();
        Ok(())
    }

    /// Adds a random key under a fresh id, `static-2` and so on, makes it current and returns its
    /// id.
    ///
    /// # Errors
    ///
    /// As [`add_key`](Self::add_key), and [`ErrorKind::Internal`] without randomness.
    pub fn rotate(&self) -> Result<KeyId, Error> {
        let key = random_key(&*self.random)?;
        let mut keys = self.write();
        let mut number = keys.keys.len();
        let id = loop {
            number = number.saturating_add(1);
            let id = KeyId::new(format!("static-{number}"))?;
            if keys.find(&id).is_err() {
                break id;
            }
        };
        keys.add(StaticKey::new(id.clone(), key))?;
        keys.current = id.clone();
        Ok(id)
    }

    /// Puts a key into a state. [`KeyState::Destroyed`] wipes it and is for ever.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::KeyNotFound`] if it is not known, [`ErrorKind::KeyDestroyed`] if it was
    /// destroyed.
    pub fn set_state(&self, id: &KeyId, state: KeyState) -> Result<(), Error> {
        self.write().set_state(id, state)
    }

    /// Switches a key off: it neither wraps nor unwraps.
    ///
    /// # Errors
    ///
    /// As [`set_state`](Self::set_state).
    pub fn disable(&self, id: &KeyId) -> Result<(), Error> {
        self.set_state(id, KeyState::Disabled)
    }

    /// Switches a key on again.
    ///
    /// # Errors
    ///
    /// As [`set_state`](Self::set_state).
    pub fn enable(&self, id: &KeyId) -> Result<(), Error> {
        self.set_state(id, KeyState::Enabled)
    }

    /// Forgets a key, as if it had never been here. If it was current, nothing wraps until
    /// another is made current.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::KeyNotFound`] if it is not known.
    pub fn remove(&self, id: &KeyId) -> Result<(), Error> {
        let mut keys = self.write();
        keys.find(id)?;
        keys.keys.retain(|key| key.id != *id);
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Keyring> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keyring> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwrap_now(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        refuse_context(options.context.is_empty())?;
        let keys = self.read();
        match wrapped.key_id() {
            Some(id) => {
                let key = keys.find(id)?;
                key.check(KeyState::can_unwrap)?;
                key.open(wrapped.ciphertext())
                    .ok_or_else(|| error_of(Error::crypto()).with_key_id(id.clone()))
            }
            None => keys.open_without_id(wrapped.ciphertext()),
        }
    }

    fn wrap_now(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        refuse_context(options.context.is_empty())?;
        let fault = match dek.len() {
            0 => Some("the DEK is empty"),
            length if length > Self::MAX_PLAINTEXT_LEN => Some("the DEK is over 4096 bytes"),
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(error(ErrorKind::InvalidInput, fault));
        }
        let keys = self.read();
        let key = keys.current()?;
        let ciphertext = key.seal(dek, &*self.random)?;
        WrappedKey::new(key.id.clone(), ciphertext).map_err(error_of)
    }
}

fn random_key(random: &dyn SecureRandom) -> Result<SecretBytes, Error> {
    SecretBytes::random(random, KEY_LEN).map_err(error_of)
}

fn refuse_context(is_empty: bool) -> Result<(), Error> {
    if is_empty {
        Ok(())
    } else {
        Err(error(ErrorKind::Unsupported, "a context cannot be bound"))
    }
}

/// Reads `KEYID=HEX[,KEYID=HEX…]`. An error says which entry is wrong and never shows it.
impl FromStr for StaticProvider {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut provider: Option<Self> = None;
        for (index, entry) in text.split(',').enumerate() {
            let fault = |what: &str| {
                let number = index.saturating_add(1);
                error(
                    ErrorKind::InvalidInput,
                    &format!("static key {number}: {what}"),
                )
            };
            let (id, hex) = entry
                .rsplit_once('=')
                .ok_or_else(|| fault("not KEYID=HEX"))?;
            let id = KeyId::new(id).map_err(|error| fault(error.message()))?;
            let key =
                parse_hex(hex).ok_or_else(|| fault("the key is not 64 hexadecimal digits"))?;
            match &provider {
                None => provider = Some(Self::with_first(StaticKey::new(id, key))),
                Some(provider) => provider
                    .write()
                    .add(StaticKey::new(id, key))
                    .map_err(|error| fault(error.message()))?,
            }
        }
        provider.ok_or_else(|| error(ErrorKind::InvalidInput, "no static key is given"))
    }
}

fn parse_hex(hex: &str) -> Option<SecretBytes> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != KEY_LEN || !rest.is_empty() {
        return None;
    }
    let mut key = Zeroizing::new([0_u8; KEY_LEN]);
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        let digit = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        *byte = digit(*high)?.checked_mul(16)?.checked_add(digit(*low)?)?;
    }
    Some(SecretBytes::copy_from_slice(key.as_slice()))
}

impl fmt::Display for StaticProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl fmt::Debug for StaticProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.read();
        let states: Vec<_> = keys.keys.iter().map(|key| (&key.id, key.state)).collect();
        f.debug_struct("StaticProvider")
            .field("current", &keys.current)
            .field("keys", &states)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyProvider for StaticProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
            .with_max_plaintext_len(Self::MAX_PLAINTEXT_LEN)
            .with_unwraps_without_key_id(true)
            .with_describes_keys(true)
            .with_lists_keys(true)
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Ok(self.read().current()?.info())
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.wrap_now(dek, options)
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.unwrap_now(wrapped, options)
    }

    async fn describe_key(&self, id: &KeyId, _: &CallOptions) -> Result<KeyInfo, Error> {
        Ok(self.read().find(id)?.info())
    }

    async fn list_keys(&self, _: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        Ok(self.read().keys.iter().map(StaticKey::info).collect())
    }
}

#[cfg(test)]
mod tests {
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::*;

    fn provider(text: &str) -> StaticProvider {
        text.parse().unwrap()
    }

    fn wrap(provider: &StaticProvider, dek: &SecretBytes) -> WrappedKey {
        provider.wrap_now(dek, &WrapOptions::default()).unwrap()
    }

    fn unwrap(provider: &StaticProvider, wrapped: &WrappedKey) -> Result<SecretBytes, Error> {
        provider.unwrap_now(wrapped, &UnwrapOptions::default())
    }

    fn two_keys() -> StaticProvider {
        provider(&format!("a=b={},old={}", "1F".repeat(32), "2e".repeat(32)))
    }

    #[test]
    fn the_text_form_is_read_and_the_first_key_is_current() {
        let provider = two_keys();
        assert_eq!(provider.read().current.as_str(), "a=b");
        assert_eq!(provider.read().keys[0].key.expose(), [0x1f; 32]);
        assert_eq!(provider.read().keys[1].key.expose(), [0x2e; 32]);
    }

    #[test]
    fn bad_text_is_refused_and_not_shown() {
        let good = "ab".repeat(32);
        for (text, says) in [
            (String::new(), "static key 1: not KEYID=HEX"),
            (format!("={good}"), "static key 1: key id is empty"),
            (
                format!("k={}", &good[1..]),
                "static key 1: the key is not 64",
            ),
            (format!("k={good}0"), "static key 1: the key is not 64"),
            (
                format!("k={}é", &good[2..]),
                "static key 1: the key is not 64",
            ),
            (format!("k={good},"), "static key 2: not KEYID=HEX"),
            (
                format!("k={good},k={good}"),
                "static key 2: a key has this id",
            ),
        ] {
            let error = text.parse::<StaticProvider>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
            assert!(error.message().starts_with(says), "{text}: {error}");
            assert!(!format!("{error:?}").contains("abab"), "{error:?}");
        }
    }

    #[test]
    fn the_wire_form_is_nonce_ciphertext_tag_under_the_id() {
        let provider = two_keys();
        let wrapped = wrap(&provider, &SecretBytes::copy_from_slice(b"dek"));
        let (nonce, body) = wrapped.ciphertext().split_first_chunk::<12>().unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[0x1f; 32]).unwrap());
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        assert_eq!(
            key.open_in_place(nonce, Aad::from(b"a=b"), &mut body)
                .unwrap(),
            b"dek"
        );
    }

    #[test]
    fn without_a_key_id_the_prefix_or_any_key_opens() {
        let provider = two_keys();
        let dek = SecretBytes::copy_from_slice(b"dek");
        let wrapped = wrap(&provider, &dek);
        provider.make_current(&"old".parse().unwrap()).unwrap();
        let old = wrap(&provider, &dek);
        for wrapped in [&wrapped, &old] {
            let bare = WrappedKey::without_key_id(wrapped.ciphertext().to_vec()).unwrap();
            assert_eq!(unwrap(&provider, &bare).unwrap(), dek);
            let framed = [
                b"\x03",
                wrapped.key_id().unwrap().as_str().as_bytes(),
                wrapped.ciphertext(),
            ];
            let framed = WrappedKey::without_key_id(framed.concat()).unwrap();
            assert_eq!(unwrap(&provider, &framed).unwrap(), dek);
            provider.disable(wrapped.key_id().unwrap()).unwrap();
            assert_eq!(
                unwrap(&provider, &framed).unwrap_err().kind(),
                ErrorKind::KeyDisabled
            );
            assert_eq!(
                unwrap(&provider, &bare).unwrap_err().kind(),
                ErrorKind::Crypto
            );
        }
    }

    #[test]
    fn a_destroyed_key_is_wiped_and_stays_so() {
        let provider = two_keys();
        let id: KeyId = "old".parse().unwrap();
        provider.set_state(&id, KeyState::Destroyed).unwrap();
        assert!(provider.read().keys[1].key.is_empty());
        assert_eq!(
            provider.enable(&id).unwrap_err().kind(),
            ErrorKind::KeyDestroyed
        );
    }

    #[test]
    fn a_removed_current_key_stops_wrapping() {
        let provider = two_keys();
        provider.remove(&"a=b".parse().unwrap()).unwrap();
        let dek = SecretBytes::copy_from_slice(b"dek");
        let error = provider
            .wrap_now(&dek, &WrapOptions::default())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyNotFound);
        assert_eq!(provider.rotate().unwrap().as_str(), "static-2");
        wrap(&provider, &dek);
    }

    #[test]
    fn one_seed_makes_one_ciphertext() {
        let wrapped = [1, 1, 2].map(|seed| {
            let provider = two_keys().with_random(Arc::new(crate::random::Seeded::new(seed)));
            wrap(&provider, &SecretBytes::copy_from_slice(b"dek"))
        });
        assert_eq!(wrapped[0], wrapped[1]);
        assert_ne!(wrapped[0], wrapped[2]);
    }
}
