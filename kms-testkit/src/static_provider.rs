//! Keys given as text and held in memory.

use core::fmt;
use core::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, KeyState, OsRandom,
    SecretBytes, SecureRandom, UnwrapOptions, WrapOptions, WrappedKey,
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize as _, Zeroizing};

const NAME: &str = "static";
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

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
    ring: RwLock<Ring>,
}

struct Ring {
    current: KeyId,
    /// In order of arrival.
    keys: Vec<StaticKey>,
}

struct StaticKey {
    id: KeyId,
    key: Zeroizing<[u8; KEY_LEN]>,
    state: KeyState,
}

impl StaticProvider {
    /// The longest DEK, in bytes.
    pub const MAX_PLAINTEXT_LEN: usize = 4096;
    /// The most keys.
    pub const MAX_KEYS: usize = 1024;

    /// A provider with one key, which is current.
    #[must_use]
    pub fn new(id: KeyId, key: [u8; KEY_LEN]) -> Self {
        Self {
            random: Arc::new(OsRandom),
            ring: RwLock::new(Ring {
                current: id.clone(),
                keys: vec![StaticKey::new(id, Zeroizing::new(key))],
            }),
        }
    }

    /// A provider with one random key, `static-1`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if there is no randomness to be had.
    pub fn generate() -> Result<Self, Error> {
        let provider = Self::new(KeyId::new("static-1")?, random_key(&OsRandom)?);
        Ok(provider)
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
        self.write().add(StaticKey::new(id, Zeroizing::new(key)))
    }

    /// Makes another known key current.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::KeyNotFound`] if it is not known, and that of its state if it may not wrap.
    pub fn make_current(&self, id: &KeyId) -> Result<(), Error> {
        let mut ring = self.write();
        ring.find(id)?.check(KeyState::can_wrap)?;
        ring.current = id.clone();
        Ok(())
    }

    /// Adds a random key under a fresh id, `static-2` and so on, makes it current and returns its
    /// id.
    ///
    /// # Errors
    ///
    /// As [`add_key`](Self::add_key), and [`ErrorKind::Internal`] without randomness.
    pub fn rotate(&self) -> Result<KeyId, Error> {
        let key = Zeroizing::new(random_key(&*self.random)?);
        let mut ring = self.write();
        let mut number = ring.keys.len();
        let id = loop {
            number = number.saturating_add(1);
            let id = KeyId::new(format!("static-{number}"))?;
            if ring.find(&id).is_err() {
                break id;
            }
        };
        ring.add(StaticKey::new(id.clone(), key))?;
        ring.current = id.clone();
        Ok(id)
    }

    /// Puts a key into a state. [`KeyState::Destroyed`] wipes it and is for ever.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::KeyNotFound`] if it is not known, [`ErrorKind::KeyDestroyed`] if it was
    /// destroyed.
    pub fn set_state(&self, id: &KeyId, state: KeyState) -> Result<(), Error> {
        let mut ring = self.write();
        let key = ring.find_mut(id)?;
        if key.state == KeyState::Destroyed {
            return key.check(|_| false);
        }
        key.state = state;
        if state == KeyState::Destroyed {
            key.key.zeroize();
        }
        Ok(())
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
        let mut ring = self.write();
        ring.find(id)?;
        ring.keys.retain(|key| key.id != *id);
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwrap_now(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        refuse_context(options.context.is_empty())?;
        let ring = self.read();
        match wrapped.key_id() {
            Some(id) => {
                let key = ring.find(id)?;
                key.check(KeyState::can_unwrap)?;
                key.open(wrapped.ciphertext())
                    .ok_or_else(|| error_of(Error::crypto()).with_key_id(id.clone()))
            }
            None => ring.open_without_id(wrapped.ciphertext()),
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
        let ring = self.read();
        let key = ring.current()?;
        let ciphertext = key.seal(dek, &*self.random)?;
        WrappedKey::new(key.id.clone(), ciphertext).map_err(error_of)
    }
}

impl Ring {
    fn add(&mut self, key: StaticKey) -> Result<(), Error> {
        if self.find(&key.id).is_ok() {
            return Err(error(ErrorKind::Conflict, "a key has this id").with_key_id(key.id));
        }
        if self.keys.len() >= StaticProvider::MAX_KEYS {
            return Err(error(ErrorKind::InvalidInput, "there are over 1024 keys"));
        }
        self.keys.push(key);
        Ok(())
    }

    fn find(&self, id: &KeyId) -> Result<&StaticKey, Error> {
        self.keys
            .iter()
            .find(|key| key.id == *id)
            .ok_or_else(|| not_found(id))
    }

    fn find_mut(&mut self, id: &KeyId) -> Result<&mut StaticKey, Error> {
        self.keys
            .iter_mut()
            .find(|key| key.id == *id)
            .ok_or_else(|| not_found(id))
    }

    fn current(&self) -> Result<&StaticKey, Error> {
        let key = self.find(&self.current)?;
        key.check(KeyState::can_wrap)?;
        Ok(key)
    }

    fn open_without_id(&self, ciphertext: &[u8]) -> Result<SecretBytes, Error> {
        let named = named_key(ciphertext).and_then(|(id, rest)| {
            Some((self.keys.iter().find(|key| key.id.as_str() == id)?, rest))
        });
        if let Some((key, rest)) = named
            && key.state.can_unwrap()
            && let Some(dek) = key.open(rest)
        {
            return Ok(dek);
        }
        // Bytes that look like an id may be a nonce, so the name is a hint and no more.
        let opened = self
            .keys
            .iter()
            .filter(|key| key.state.can_unwrap())
            .find_map(|key| key.open(ciphertext));
        match (opened, named) {
            (Some(dek), _) => Ok(dek),
            (None, Some((key, _))) => Err(key
                .check(KeyState::can_unwrap)
                .err()
                .unwrap_or_else(|| error_of(Error::crypto()))),
            (None, None) => Err(error_of(Error::crypto())),
        }
    }
}

/// Splits `length (1 byte) ‖ key id ‖ rest`.
fn named_key(ciphertext: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = ciphertext.split_first()?;
    let (id, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((core::str::from_utf8(id).ok()?, rest))
}

impl StaticKey {
    const fn new(id: KeyId, key: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self {
            id,
            key,
            state: KeyState::Enabled,
        }
    }

    fn info(&self) -> KeyInfo {
        KeyInfo::new(self.id.clone(), self.state).with_algorithm("AES-256-GCM")
    }

    fn check(&self, may: impl FnOnce(KeyState) -> bool) -> Result<(), Error> {
        if may(self.state) {
            return Ok(());
        }
        let (kind, message) = match self.state {
            KeyState::Disabled => (ErrorKind::KeyDisabled, "the key is disabled"),
            KeyState::Expired => (ErrorKind::KeyExpired, "the key has expired"),
            KeyState::NotYetValid => (ErrorKind::KeyNotYetValid, "the key is not valid yet"),
            KeyState::Destroyed => (ErrorKind::KeyDestroyed, "the key was destroyed"),
            _ => (ErrorKind::KeyDisabled, "the key is about to be destroyed"),
        };
        Err(error(kind, message).with_key_id(self.id.clone()))
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.key.as_slice())
            .ok()
            .map(LessSafeKey::new)
    }

    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(self.id.as_str().as_bytes())
    }

    fn seal(&self, dek: &SecretBytes, random: &dyn SecureRandom) -> Result<Vec<u8>, Error> {
        let internal = || error(ErrorKind::Internal, "AES-256-GCM refused to seal");
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce).map_err(error_of)?;
        let cipher = self.cipher().ok_or_else(internal)?;
        // Of full size at once, and wiped if sealing fails half-way.
        let mut body = Zeroizing::new(dek.expose().to_vec());
        let tag = cipher
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                self.aad(),
                body.as_mut_slice(),
            )
            .map_err(|_| internal())?;
        Ok([&nonce, body.as_slice(), tag.as_ref()].concat())
    }

    fn open(&self, ciphertext: &[u8]) -> Option<SecretBytes> {
        let (nonce, body) = ciphertext.split_first_chunk::<NONCE_LEN>()?;
        if body.len() <= TAG_LEN {
            return None;
        }
        let mut body = Zeroizing::new(body.to_vec());
        let plaintext = self
            .cipher()?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                self.aad(),
                body.as_mut_slice(),
            )
            .ok()?;
        Some(SecretBytes::copy_from_slice(plaintext))
    }
}

fn random_key(random: &dyn SecureRandom) -> Result<[u8; KEY_LEN], Error> {
    let mut key = [0; KEY_LEN];
    random.fill(&mut key).map_err(error_of)?;
    Ok(key)
}

fn error(kind: ErrorKind, message: &str) -> Error {
    error_of(Error::new(kind, message))
}

fn error_of(error: Error) -> Error {
    error.with_provider(NAME)
}

fn not_found(id: &KeyId) -> Error {
    error(ErrorKind::KeyNotFound, "no key has this id").with_key_id(id.clone())
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
                None => provider = Some(Self::new(id, *key)),
                Some(provider) => provider
                    .add_key(id, *key)
                    .map_err(|error| fault(error.message()))?,
            }
        }
        provider.ok_or_else(|| error(ErrorKind::InvalidInput, "no static key is given"))
    }
}

fn parse_hex(hex: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != KEY_LEN || !rest.is_empty() {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_LEN]);
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        let digit = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        *byte = digit(*high)?.checked_mul(16)?.checked_add(digit(*low)?)?;
    }
    Some(key)
}

impl fmt::Display for StaticProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl fmt::Debug for StaticProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.read();
        let states: Vec<_> = ring.keys.iter().map(|key| (&key.id, key.state)).collect();
        f.debug_struct("StaticProvider")
            .field("current", &ring.current)
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
        assert_eq!(*provider.read().keys[0].key, [0x1f; 32]);
        assert_eq!(*provider.read().keys[1].key, [0x2e; 32]);
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
        assert_eq!(*provider.read().keys[1].key, [0; 32]);
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
            let provider = two_keys().with_random(Arc::new(crate::SeededRandom::new(seed)));
            wrap(&provider, &SecretBytes::copy_from_slice(b"dek"))
        });
        assert_eq!(wrapped[0], wrapped[1]);
        assert_ne!(wrapped[0], wrapped[2]);
    }
}
