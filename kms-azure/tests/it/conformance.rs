//! Every kind of key passes the suite, followed and pinned.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kms_azure::key_url::KeyVersion;
use kms_azure::provider::{AesMode, AesSize, KeyVaultProvider, Operations, ProviderOptions};
use kms_core::{Error, KeyId, KeyProvider, SecretBytes};
use kms_testkit::conformance::{Harness, HookOutcome, run_all};
use kms_testkit::vault::{KeyStore, Role, Scope};

use crate::support::{Lab, SECRET, create, version_of, versionless};

const NAME: &str = "etcd";
/// Two polls and a minute.
const DELAY: Duration = Duration::from_secs(660);

struct VaultHarness {
    lab: Lab,
    store: KeyStore,
    kind: &'static str,
    url: String,
    provider: Arc<KeyVaultProvider>,
    second: Arc<KeyVaultProvider>,
    is_followed: bool,
}

impl VaultHarness {
    async fn new(
        kind: &'static str,
        hsm: bool,
        is_followed: bool,
        options: ProviderOptions,
    ) -> Self {
        let lab = Lab::new().await;
        let store = if hsm {
            lab.azure.managed_hsm()
        } else {
            lab.azure.key_vault()
        };
        store.grant(&lab.identity, Role::CryptoUser, Scope::Store);
        let kid = create(&store, NAME, kind);
        let url = if is_followed { versionless(&kid) } else { &kid }.to_owned();
        Self {
            provider: Arc::new(lab.provider(&url, options)),
            second: Arc::new(lab.provider(&url, options)),
            lab,
            store,
            kind,
            url,
            is_followed,
        }
    }

    fn set_enabled(&self, id: &KeyId, enabled: bool) -> Result<HookOutcome, Error> {
        self.store
            .set_enabled(NAME, Some(version_of(id.as_str())), enabled)?;
        Ok(HookOutcome::Done)
    }
}

#[async_trait]
impl Harness for VaultHarness {
    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.provider.clone()
    }

    async fn reopen(&self) -> Result<Option<Arc<dyn KeyProvider>>, Error> {
        Ok(Some(self.second.clone()))
    }

    async fn rotate(&self) -> Result<HookOutcome, Error> {
        if !self.is_followed {
            return Ok(HookOutcome::Absent);
        }
        let both = [&*self.provider, &*self.second];
        self.lab.pass(Duration::from_secs(1), &both).await;
        create(&self.store, NAME, self.kind);
        self.provider.refresh().await?;
        self.lab.pass(DELAY, &both).await;
        self.provider.refresh().await?;
        Ok(HookOutcome::Done)
    }

    async fn disable(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        self.set_enabled(id, false)
    }

    async fn enable(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        self.set_enabled(id, true)
    }

    fn unknown_key_id(&self) -> Result<KeyId, Error> {
        let none: KeyVersion = "0".repeat(32).parse()?;
        self.lab.key(&self.url).with_version(none).key_id()
    }

    fn secrets(&self) -> Vec<SecretBytes> {
        vec![SecretBytes::copy_from_slice(SECRET.as_bytes())]
    }
}

async fn conforms(kind: &'static str, hsm: bool, options: ProviderOptions) {
    for is_followed in [true, false] {
        let harness = VaultHarness::new(kind, hsm, is_followed, options).await;
        let report = run_all(&harness).await;
        println!("{kind}, followed: {is_followed}\n{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsa_2048() {
    conforms("RSA-2048", false, ProviderOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsa_3072() {
    conforms("RSA-3072", false, ProviderOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsa_4096() {
    conforms("RSA-4096", false, ProviderOptions::default()).await;
}

/// RSA-HSM of each size: the public key wraps here, or the HSM does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsa_in_an_hsm() {
    for kind in ["RSA-2048", "RSA-3072", "RSA-4096"] {
        conforms(kind, true, ProviderOptions::default()).await;
    }
    let there = ProviderOptions::default().wrapping_remotely();
    conforms("RSA-2048", true, there).await;
}

/// R19: access policies that allow `encrypt` and `decrypt` alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsa_by_encrypt_and_decrypt() {
    let options = ProviderOptions::default().with_operations(Operations::EncryptDecrypt);
    conforms("RSA-2048", false, options.wrapping_remotely()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aes_key_wrap() {
    for (kind, size) in [
        ("oct-128", AesSize::Aes128),
        ("oct-192", AesSize::Aes192),
        ("oct-256", AesSize::Aes256),
    ] {
        let options = ProviderOptions::default().with_aes(AesMode::KeyWrap(size));
        conforms(kind, true, options).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aes_gcm() {
    let options = ProviderOptions::default().with_aes(AesMode::Gcm(AesSize::Aes256));
    conforms("oct-256", true, options).await;
}
