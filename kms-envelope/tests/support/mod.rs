//! Doubles that know nothing of the code under test: a KMS plugin, and clocks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Clock, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, KeyState,
    OsRandom, SecretBytes, SecureRandom as _, Sleep, Tick, UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_envelope::kubernetes::EncryptionConfiguration;
use ring::aead;

/// Stands still until it is told to move on.
#[derive(Debug, Default)]
pub(crate) struct ManualClock(pub(crate) Mutex<Duration>);

impl Clock for ManualClock {
    fn now(&self) -> Tick {
        Tick::ORIGIN + *self.0.lock().unwrap()
    }

    fn wall_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep_until(&self, _tick: Tick) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// A KMS plugin with its keys in memory. It wraps as
/// `nonce(12) ‖ AES-256-GCM(KEK, nonce, plaintext, AAD = key id)`.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) keks: Mutex<BTreeMap<String, [u8; 32]>>,
    pub(crate) current: Mutex<String>,
    /// What `wrap` says the key id is, if not the current one.
    pub(crate) wraps_as: Mutex<Option<String>>,
    pub(crate) annotations: BTreeMap<String, Vec<u8>>,
    pub(crate) status_fails: AtomicBool,
    pub(crate) wrap_fails: AtomicBool,
    pub(crate) unwrap_fails: AtomicBool,
    pub(crate) statuses: AtomicUsize,
    pub(crate) wraps: AtomicUsize,
    pub(crate) unwraps: AtomicUsize,
    pub(crate) without_key_id: bool,
}

impl Plugin {
    pub(crate) fn new(current: &str, keks: impl IntoIterator<Item = (String, [u8; 32])>) -> Self {
        Self {
            keks: Mutex::new(keks.into_iter().collect()),
            current: Mutex::new(current.to_owned()),
            wraps_as: Mutex::new(None),
            annotations: BTreeMap::new(),
            status_fails: AtomicBool::new(false),
            wrap_fails: AtomicBool::new(false),
            unwrap_fails: AtomicBool::new(false),
            statuses: AtomicUsize::new(0),
            wraps: AtomicUsize::new(0),
            unwraps: AtomicUsize::new(0),
            without_key_id: true,
        }
    }

    /// Adds a key and makes it the current one.
    pub(crate) fn rotate_to(&self, key_id: &str) {
        let mut kek = [0; 32];
        OsRandom.fill(&mut kek).unwrap();
        self.keks.lock().unwrap().insert(key_id.to_owned(), kek);
        *self.current.lock().unwrap() = key_id.to_owned();
    }

    fn answer(&self, count: &AtomicUsize, fails: &AtomicBool) -> Result<(), Error> {
        count.fetch_add(1, Ordering::Relaxed);
        if fails.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "the plugin is down"));
        }
        Ok(())
    }

    fn kek(&self, key_id: &str) -> Result<[u8; 32], Error> {
        let keks = self.keks.lock().unwrap();
        keks.get(key_id)
            .copied()
            .ok_or_else(|| Error::new(ErrorKind::KeyNotFound, "unknown key_id"))
    }
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("test plugin")
    }
}

#[async_trait]
impl KeyProvider for Plugin {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic().with_unwraps_without_key_id(self.without_key_id)
    }

    async fn current_key(&self, _options: &CallOptions) -> Result<KeyInfo, Error> {
        self.answer(&self.statuses, &self.status_fails)?;
        let id = KeyId::new(self.current.lock().unwrap().as_str())?;
        Ok(KeyInfo::new(id, KeyState::Enabled))
    }

    async fn wrap(&self, dek: &SecretBytes, _options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.answer(&self.wraps, &self.wrap_fails)?;
        let key_id = self.current.lock().unwrap().clone();
        let mut nonce = [0; 12];
        OsRandom.fill(&mut nonce)?;
        let mut out = nonce.to_vec();
        out.extend(kek_seal(&self.kek(&key_id)?, &nonce, &key_id, dek.expose()));
        let named = self.wraps_as.lock().unwrap().clone().unwrap_or(key_id);
        let mut wrapped = WrappedKey::new(KeyId::new(named)?, out)?;
        for (name, value) in &self.annotations {
            wrapped = wrapped.with_annotation(name, value.clone())?;
        }
        Ok(wrapped)
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        _options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.answer(&self.unwraps, &self.unwrap_fails)?;
        let ciphertext = wrapped.ciphertext();
        let plain = match wrapped.key_id() {
            Some(id) => kek_open(&self.kek(id.as_str())?, id.as_str(), ciphertext),
            None => {
                let keks = self.keks.lock().unwrap();
                keks.iter().find_map(|(id, kek)| {
                    kek_open(kek, id, ciphertext).or_else(|| {
                        let mut named = vec![u8::try_from(id.len()).unwrap_or(0)];
                        named.extend_from_slice(id.as_bytes());
                        kek_open(kek, id, ciphertext.strip_prefix(named.as_slice())?)
                    })
                })
            }
        };
        plain.map(SecretBytes::from_vec).ok_or_else(Error::crypto)
    }
}

fn gcm(key: &[u8; 32]) -> aead::LessSafeKey {
    aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, key).unwrap())
}

pub(crate) fn kek_seal(kek: &[u8; 32], nonce: &[u8; 12], key_id: &str, plain: &[u8]) -> Vec<u8> {
    let mut out = plain.to_vec();
    gcm(kek)
        .seal_in_place_append_tag(
            aead::Nonce::assume_unique_for_key(*nonce),
            aead::Aad::from(key_id.as_bytes()),
            &mut out,
        )
        .unwrap();
    out
}

/// Opens what the plugin wraps.
pub(crate) fn kek_open(kek: &[u8; 32], key_id: &str, wrapped: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = wrapped.split_first_chunk::<12>()?;
    let mut out = sealed.to_vec();
    let opened = gcm(kek).open_in_place(
        aead::Nonce::assume_unique_for_key(*nonce),
        aead::Aad::from(key_id.as_bytes()),
        &mut out,
    );
    opened.ok().map(|plain| plain.to_vec())
}

/// A configuration around a `providers` list in JSON.
pub(crate) fn configuration(providers: &serde_json::Value) -> EncryptionConfiguration {
    let file = serde_json::json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{ "resources": ["*.*"], "providers": providers }],
    });
    EncryptionConfiguration::parse(&file.to_string()).unwrap()
}
