//! The keys, and the cipher they are used with.

use kms_core::{Error, ErrorKind, KeyId, KeyInfo, KeyState, SecretBytes, SecureRandom};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{NAME, StaticProvider};

pub(super) const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

pub(super) struct Keyring {
    pub(super) current: KeyId,
    /// In order of arrival.
    pub(super) keys: Vec<StaticKey>,
}

pub(super) struct StaticKey {
    pub(super) id: KeyId,
    /// On the heap, so that a vector that grows leaves no copy behind. Empty once destroyed.
    pub(super) key: SecretBytes,
    pub(super) state: KeyState,
}

impl Keyring {
    pub(super) fn add(&mut self, key: StaticKey) -> Result<(), Error> {
        if self.find(&key.id).is_ok() {
            return Err(error(ErrorKind::Conflict, "a key has this id").with_key_id(key.id));
        }
        if self.keys.len() >= StaticProvider::MAX_KEYS {
            return Err(error(ErrorKind::InvalidInput, "there are over 1024 keys"));
        }
        self.keys.push(key);
        Ok(())
    }

    pub(super) fn find(&self, id: &KeyId) -> Result<&StaticKey, Error> {
        self.keys
            .iter()
            .find(|key| key.id == *id)
            .ok_or_else(|| not_found(id))
    }

    pub(super) fn set_state(&mut self, id: &KeyId, state: KeyState) -> Result<(), Error> {
        let key = self.keys.iter_mut().find(|key| key.id == *id);
        let key = key.ok_or_else(|| not_found(id))?;
        if key.state == KeyState::Destroyed {
            return key.check(|_| false);
        }
        key.state = state;
        if state == KeyState::Destroyed {
            key.key = SecretBytes::from_vec(Vec::new());
        }
        Ok(())
    }

    pub(super) fn current(&self) -> Result<&StaticKey, Error> {
        let key = self.find(&self.current)?;
        key.check(KeyState::can_wrap)?;
        Ok(key)
    }

    pub(super) fn open_without_id(&self, ciphertext: &[u8]) -> Result<SecretBytes, Error> {
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
    pub(super) const fn new(id: KeyId, key: SecretBytes) -> Self {
        Self {
            id,
            key,
            state: KeyState::Enabled,
        }
    }

    pub(super) fn info(&self) -> KeyInfo {
        KeyInfo::new(self.id.clone(), self.state).with_algorithm("AES-256-GCM")
    }

    pub(super) fn check(&self, may: impl FnOnce(KeyState) -> bool) -> Result<(), Error> {
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
        UnboundKey::new(&AES_256_GCM, self.key.expose())
            .ok()
            .map(LessSafeKey::new)
    }

    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(self.id.as_str().as_bytes())
    }

    pub(super) fn seal(
        &self,
        dek: &SecretBytes,
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, Error> {
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

    pub(super) fn open(&self, ciphertext: &[u8]) -> Option<SecretBytes> {
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

pub(super) fn error(kind: ErrorKind, message: &str) -> Error {
    error_of(Error::new(kind, message))
}

pub(super) fn error_of(error: Error) -> Error {
    error.with_provider(NAME)
}

fn not_found(id: &KeyId) -> Error {
    error(ErrorKind::KeyNotFound, "no key has this id").with_key_id(id.clone())
}
