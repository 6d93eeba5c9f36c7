//! The rules of a key provider, for a keyring with and without a passphrase.

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::{Error, ErrorKind, KeyId, KeyProvider, SecretBytes};
use kms_testkit::conformance::{self, Harness, HookOutcome};

use super::{Place, secret};

const KEY: &str = "an imported key, to be looked for";
const PASSPHRASE: &str = "open sesame";

struct Keyring {
    place: Place,
    provider: Arc<LocalProvider>,
    with_passphrase: bool,
}

impl Keyring {
    fn new(with_passphrase: bool) -> Self {
        let place = Place::new();
        let options = Self::options(&place, with_passphrase);
        let provider = LocalProvider::create(place.path(), options).unwrap();
        provider.import(secret(&KEY[..32])).unwrap();
        Self {
            provider: Arc::new(provider),
            place,
            with_passphrase,
        }
    }

    fn options(place: &Place, with_passphrase: bool) -> LocalOptions {
        let options = if with_passphrase {
            place.locked(PASSPHRASE)
        } else {
            place.options()
        };
        options.with_min_grace(Duration::ZERO)
    }

    fn version(&self, id: &KeyId) -> Result<u32, Error> {
        self.provider
            .list()?
            .into_iter()
            .find(|version| version.info.id == *id)
            .map(|version| version.version)
            .ok_or_else(|| Error::new(ErrorKind::KeyNotFound, "no such version"))
    }
}

#[async_trait]
impl Harness for Keyring {
    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.provider.clone()
    }

    async fn reopen(&self) -> Result<Option<Arc<dyn KeyProvider>>, Error> {
        let options = Self::options(&self.place, self.with_passphrase);
        let again = LocalProvider::open(self.place.path(), options)?;
        Ok(Some(Arc::new(again)))
    }

    async fn rotate(&self) -> Result<HookOutcome, Error> {
        self.provider.rotate()?;
        Ok(HookOutcome::Done)
    }

    async fn disable(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        self.provider.disable(self.version(id)?)?;
        Ok(HookOutcome::Done)
    }

    async fn enable(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        self.provider.enable(self.version(id)?)?;
        Ok(HookOutcome::Done)
    }

    async fn destroy(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        let version = self.version(id)?;
        self.provider
            .schedule_destruction(version, Duration::ZERO)?;
        self.provider.destroy_due()?;
        Ok(HookOutcome::Done)
    }

    fn unknown_key_id(&self) -> Result<KeyId, Error> {
        let known = self.provider.list()?.remove(0).info.id;
        KeyId::new(super::sibling(&known, "99"))
    }

    fn secrets(&self) -> Vec<SecretBytes> {
        vec![secret(&KEY[..32]), secret(PASSPHRASE)]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_plain_keyring_conforms() {
    conformance::run_all(&Keyring::new(false))
        .await
        .assert_complete();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_keyring_under_a_passphrase_conforms() {
    conformance::run_all(&Keyring::new(true))
        .await
        .assert_complete();
}
