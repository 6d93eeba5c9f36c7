//! A loopback Azure, and providers over it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kms_azure::credential::{Authority, Credential, Identity, SecretSource};
use kms_azure::key_url::{KeyUrl, Service, VaultHosts};
use kms_azure::provider::{KeyVaultProvider, ProviderOptions};
use kms_azure::transport::{Transport, TransportOptions};
use kms_azure::vault::{Vault, VaultOptions};
use kms_core::{Clock, OsRandom, SecretBytes};
use kms_testkit::ManualClock;
use kms_testkit::vault::{self, KeyStore, Role, Scope, VaultBuilder};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::util::SubscriberInitExt as _;

pub(crate) const SECRET: &str = "correct-horse-battery-staple";

/// A loopback Azure on a clock that the test moves, and an identity with the least role that serves.
pub(crate) struct Lab {
    pub(crate) azure: vault::Vault,
    pub(crate) clock: ManualClock,
    pub(crate) identity: vault::Identity,
    pub(crate) transport: Transport,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder.throttle_scale(None)).await
    }

    pub(crate) async fn with(change: impl FnOnce(VaultBuilder) -> VaultBuilder) -> Self {
        let clock = ManualClock::new();
        let builder = vault::Vault::builder().clock(Arc::new(clock.clone()));
        let azure = change(builder).start().await.unwrap();
        let identity = azure.register([vault::Credential::secret(SECRET)]).unwrap();
        for store in [azure.key_vault(), azure.managed_hsm()] {
            store.grant(&identity, Role::CryptoServiceEncryptionUser, Scope::Store);
        }
        let transport = transport(&azure);
        Self {
            azure,
            clock,
            identity,
            transport,
        }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    pub(crate) fn key(&self, url: &str) -> KeyUrl {
        KeyUrl::parse(url, &hosts()).unwrap()
    }

    pub(crate) fn identity(&self) -> Identity {
        let secret = SecretSource::given(SecretBytes::from_vec(SECRET.as_bytes().to_vec()));
        Identity::client_secret(self.azure.tenant_id(), self.identity.client_id(), secret).unwrap()
    }

    pub(crate) fn credential(&self) -> Credential {
        let authority = Authority::new(&self.azure.authority()).unwrap();
        let random = Arc::new(OsRandom);
        Credential::new(
            self.identity(),
            authority,
            &self.transport,
            self.clock(),
            random,
        )
    }

    /// A client of the vault of this key.
    pub(crate) fn vault(&self, key: &KeyUrl) -> Vault {
        let options = VaultOptions::new(self.clock()).with_units_in_ten_seconds(None);
        Vault::new(
            key.host().clone(),
            &self.credential(),
            &self.transport,
            options,
        )
        .unwrap()
    }

    /// A provider whose pauses are not jittered, after its first look.
    pub(crate) async fn steady(&self, url: &str) -> KeyVaultProvider {
        let key = self.key(url);
        let options = VaultOptions::new(self.clock())
            .with_units_in_ten_seconds(None)
            .with_random(Arc::new(NoJitter));
        let credential = self.credential();
        let vault = Vault::new(key.host().clone(), &credential, &self.transport, options).unwrap();
        let provider = KeyVaultProvider::new(vault, key, ProviderOptions::default()).unwrap();
        until("the first look is made", || self.sleeps(&provider)).await;
        provider
    }

    /// Whether the background task has nothing to do but wait for its next look.
    pub(crate) fn sleeps(&self, provider: &KeyVaultProvider) -> bool {
        let next = provider.health().next_look;
        next.is_some_and(|next| next > self.clock.wall_time())
    }

    /// Waits until all of them have nothing to do but wait: no call of theirs is on its way, to
    /// which a step of the clock would be a long time.
    pub(crate) async fn rest(&self, providers: &[&KeyVaultProvider]) {
        until("the background tasks rest", || {
            providers.iter().all(|provider| self.sleeps(provider))
        })
        .await;
    }

    /// Lets time pass between one rest and the next: what was due before is done, and what became
    /// due is done too.
    pub(crate) async fn pass(&self, by: Duration, providers: &[&KeyVaultProvider]) {
        self.rest(providers).await;
        self.clock.advance(by);
        self.rest(providers).await;
    }

    /// Lets time pass in small steps until this holds.
    pub(crate) async fn pass_until(
        &self,
        what: &str,
        providers: &[&KeyVaultProvider],
        holds: impl Fn() -> bool,
    ) {
        for _ in 0..600 {
            self.rest(providers).await;
            if holds() {
                return;
            }
            self.clock.advance(Duration::from_secs(1));
        }
        panic!("in ten minutes it never was that {what}");
    }

    pub(crate) fn provider(&self, url: &str, options: ProviderOptions) -> KeyVaultProvider {
        let key = self.key(url);
        KeyVaultProvider::new(self.vault(&key), key, options).unwrap()
    }
}

pub(crate) fn transport(azure: &vault::Vault) -> Transport {
    let options = TransportOptions::default()
        .with_only_ca_pem(azure.ca_pem().as_bytes())
        .unwrap();
    let options = azure.host_names().iter().fold(options, |options, host| {
        options.with_address(host, azure.address())
    });
    Transport::new(&options).unwrap()
}

pub(crate) fn hosts() -> VaultHosts {
    VaultHosts::default()
        .with_domain("vault.localhost", Service::KeyVault)
        .unwrap()
        .with_domain("managedhsm.localhost", Service::ManagedHsm)
        .unwrap()
}

/// The key id without its version.
pub(crate) fn versionless(kid: &str) -> &str {
    kid.rsplit_once('/').unwrap().0
}

pub(crate) fn version_of(kid: &str) -> &str {
    kid.rsplit_once('/').unwrap().1
}

/// Makes a key of a kind: `RSA-3072`, `oct-256`, `EC`.
pub(crate) fn create(store: &KeyStore, name: &str, kind: &str) -> String {
    match kind.split_once('-') {
        Some(("RSA", bits)) => store.create_rsa_key(name, bits.parse().unwrap()),
        Some(("oct", bits)) => store.create_aes_key(name, bits.parse().unwrap()),
        _ => store.create_ec_key(name),
    }
    .unwrap()
}

/// Lets other tasks run until this holds, which must not move the clock: answers of a vault on the
/// wire would come too late by it. What never holds ends the test after five minutes, and nothing
/// but a hang takes that long.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let limit = Duration::from_secs(300);
    assert!(tokio::time::timeout(limit, waiting).await.is_ok(), "{what}");
}

/// Lets a subscriber hear all that happens on this thread.
///
/// Of each place in the code it is remembered whether anybody wants to hear of it. While there is a
/// single subscriber, the thread that comes there first is asked, and those of other tests have
/// none; while there are two, both are asked. So there is always another one.
pub(crate) fn listen(subscriber: impl Subscriber + Send + Sync) -> DefaultGuard {
    static OTHER: OnceLock<Dispatch> = OnceLock::new();
    OTHER.get_or_init(|| Dispatch::new(NoSubscriber::new()));
    subscriber.set_default()
}

/// No jitter: pauses are as long as they may be.
#[derive(Debug)]
pub(crate) struct NoJitter;

impl kms_core::SecureRandom for NoJitter {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), kms_core::Error> {
        bytes.fill(0);
        Ok(())
    }
}

/// An identity with a certificate, and that certificate with its key in PEM.
pub(crate) fn client_certificate(lab: &Lab) -> (vault::Identity, String) {
    use aws_lc_rs::encoding::AsDer as _;
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &rustls_pki_types::PrivatePkcs8KeyDer::from(der.as_ref()),
        &rcgen::PKCS_RSA_SHA256,
    )
    .unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem();
    let identity = lab
        .azure
        .register([vault::Credential::Certificate(certificate.clone())])
        .unwrap();
    for store in [lab.azure.key_vault(), lab.azure.managed_hsm()] {
        store.grant(&identity, Role::CryptoServiceEncryptionUser, Scope::Store);
    }
    (identity, format!("{}{certificate}", key.serialize_pem()))
}
