//! Data of Azure/kubernetes-kms and of OpenShift's fork, made here by the description of their
//! formats, with another implementation of everything.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey,
    PublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kms_azure::compat::{UpstreamOptions, UpstreamProvider};
use kms_azure::key_url::KeyUrl;
use kms_azure::provider::{Operations, ProviderOptions};
use kms_core::layer::Union;
use kms_core::{
    CallOptions, ContextSupport, EncryptionContext, ErrorKind, KeyId, KeyProvider, SecretBytes,
    UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_testkit::conformance::{Harness, run_all};
use kms_testkit::vault::{Fault, KeyStore, Operation, Role, Scope};

use crate::support::{Lab, version_of, versionless};

const NAME: &str = "etcd";
const DEK: [u8; 32] = [0xa5; 32];

/// A vault with a key of two versions.
struct Old {
    lab: Lab,
    store: KeyStore,
    first: String,
    second: String,
}

impl Old {
    async fn new(bits: u32) -> Self {
        let lab = Lab::new().await;
        let store = lab.azure.key_vault();
        let first = store.create_rsa_key(NAME, bits).unwrap();
        lab.clock.advance(Duration::from_secs(1));
        let second = store.create_rsa_key(NAME, bits).unwrap();
        lab.clock.advance(Duration::from_secs(3600));
        Self {
            lab,
            store,
            first,
            second,
        }
    }

    fn key(&self) -> KeyUrl {
        self.lab.key(versionless(&self.first))
    }

    fn upstream(&self, options: UpstreamOptions) -> UpstreamProvider {
        self.upstream_over(versionless(&self.first), options)
    }

    /// Over a provider that lists no versions by itself, so that calls can be counted.
    fn upstream_over_pinned(&self) -> UpstreamProvider {
        self.upstream_over(&self.second, UpstreamOptions::default())
    }

    fn upstream_over(&self, url: &str, options: UpstreamOptions) -> UpstreamProvider {
        let key = self.key();
        let inner = self.lab.provider(url, ProviderOptions::default());
        UpstreamProvider::new(inner, self.lab.vault(&key), &key, options).unwrap()
    }

    async fn public_key(&self, kid: &str) -> PublicEncryptingKey {
        let key = self.lab.key(kid);
        let call = CallOptions::default();
        let bundle = self.lab.vault(&key).key(&key, &call).await.unwrap();
        let public = bundle.public_key.unwrap();
        let components = PublicKeyComponents {
            n: public.modulus,
            e: public.exponent,
        };
        components.try_into().unwrap()
    }

    async fn oaep(&self, kid: &str, plaintext: &[u8]) -> Vec<u8> {
        let key = OaepPublicEncryptingKey::new(self.public_key(kid).await).unwrap();
        let mut out = vec![0; key.ciphertext_size()];
        key.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut out, None)
            .unwrap();
        out
    }

    async fn pkcs1(&self, kid: &str, plaintext: &[u8]) -> Vec<u8> {
        let key = Pkcs1PublicEncryptingKey::new(self.public_key(kid).await).unwrap();
        let mut out = vec![0; key.ciphertext_size()];
        key.encrypt(plaintext, &mut out).unwrap();
        out
    }
}

fn sha256_hex(text: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    URL_SAFE_NO_PAD.encode(bytes).into_bytes()
}

fn stored(kid: &str, ciphertext: Vec<u8>, annotations: &[(&str, &str)]) -> WrappedKey {
    let id = KeyId::new(sha256_hex(kid)).unwrap();
    annotations.iter().fold(
        WrappedKey::new(id, ciphertext).unwrap(),
        |wrapped, (name, value)| {
            wrapped
                .with_annotation(*name, value.as_bytes().to_vec())
                .unwrap()
        },
    )
}

/// As upstream writes them with KMS v2.
const UPSTREAM: [(&str, &str); 5] = [
    ("date.azure.akv.io", "Sun, 22 Nov 2026 12:00:00 GMT"),
    (
        "x-ms-request-id.azure.akv.io",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
    ),
    ("x-ms-keyvault-region.azure.akv.io", "westeurope"),
    ("version.azure.akv.io", "1"),
    ("algorithm.azure.akv.io", "RSA-OAEP-256"),
];

async fn open(provider: &dyn KeyProvider, wrapped: &WrappedKey) -> Result<Vec<u8>, ErrorKind> {
    let opened = provider.unwrap(wrapped, &UnwrapOptions::default()).await;
    opened
        .map(|dek| dek.expose().to_vec())
        .map_err(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_v2_data_opens_whatever_the_version_and_size() {
    for bits in [2048, 3072, 4096] {
        let old = Old::new(bits).await;
        let provider = old.upstream_over_pinned();
        for kid in [&old.first, &old.second] {
            let value = stored(kid, text(&old.oaep(kid, &DEK).await), &UPSTREAM);
            assert_eq!(open(&provider, &value).await, Ok(DEK.to_vec()), "{bits}");
        }
        assert_eq!(old.store.calls(Operation::ListVersions), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_forks_v2_data_opens() {
    for bits in [2048, 3072, 4096] {
        let old = Old::new(bits).await;
        let provider = old.upstream(UpstreamOptions::default());
        let ciphertext = old.oaep(&old.first, &text(&DEK)).await;
        let value = stored(&old.first, ciphertext, &UPSTREAM[3..]);
        assert_eq!(open(&provider, &value).await, Ok(DEK.to_vec()), "{bits}");
        // The DEK itself instead of its text is not the fork's form, and is not guessed at.
        let odd = old.oaep(&old.first, &DEK).await;
        let value = stored(&old.first, odd, &UPSTREAM[3..]);
        assert_eq!(open(&provider, &value).await, Err(ErrorKind::Crypto));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_upstream_refuses_is_refused() {
    let old = Old::new(2048).await;
    let provider = old.upstream(UpstreamOptions::default());
    let ciphertext = text(&old.oaep(&old.first, &DEK).await);
    for annotations in [
        &[][..],
        &UPSTREAM[..3],
        &UPSTREAM[..4],
        &UPSTREAM[4..],
        &[("version.azure.akv.io", "2"), UPSTREAM[4]],
        &[UPSTREAM[3], ("algorithm.azure.akv.io", "RSA1_5")],
    ] {
        let value = stored(&old.first, ciphertext.clone(), annotations);
        assert_eq!(open(&provider, &value).await, Err(ErrorKind::Crypto));
    }
    let of_another_version = stored(&old.second, ciphertext.clone(), &UPSTREAM);
    let refused = open(&provider, &of_another_version).await;
    assert_eq!(refused, Err(ErrorKind::Crypto));
    for length in [0, 1, 341, 343] {
        let mut damaged = ciphertext.clone();
        damaged.resize(length.max(1), b'A');
        let value = stored(&old.first, damaged, &UPSTREAM);
        assert_eq!(open(&provider, &value).await, Err(ErrorKind::Crypto));
    }
    let context = EncryptionContext::default().with("a", "b").unwrap();
    let value = stored(&old.first, ciphertext, &UPSTREAM);
    let options = UnwrapOptions::default().with_context(context);
    let error = provider.unwrap(&value, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_of_no_version_is_not_found_and_a_flood_of_them_lists_once() {
    let old = Old::new(2048).await;
    let provider = old.upstream_over_pinned();
    let unknown = |name: &str| stored(name, vec![b'A'; 342], &UPSTREAM);
    for at in 0..50 {
        let refused = open(&provider, &unknown(&format!("{at}"))).await;
        assert_eq!(refused, Err(ErrorKind::KeyNotFound));
    }
    assert_eq!(old.store.calls(Operation::ListVersions), 1);
    // A version made meanwhile is found, ten seconds later.
    let third = old.store.create_rsa_key(NAME, 2048).unwrap();
    let value = stored(&third, text(&old.oaep(&third, &DEK).await), &UPSTREAM);
    assert_eq!(open(&provider, &value).await, Err(ErrorKind::KeyNotFound));
    old.lab.clock.advance(Duration::from_secs(10));
    assert_eq!(open(&provider, &value).await, Ok(DEK.to_vec()));
    assert_eq!(old.store.calls(Operation::ListVersions), 2);
    // What is down is not what is gone.
    old.lab.clock.advance(Duration::from_secs(10));
    old.store
        .disturb(Operation::ListVersions, Fault::ProxyStatus(403), None);
    let refused = open(&provider, &unknown("x")).await;
    assert!(refused.is_err_and(|kind| kind != ErrorKind::KeyNotFound));
    assert_eq!(open(&provider, &value).await, Ok(DEK.to_vec()));
}

/// The old plugin's KMS v1: RSA1_5, nothing stored beside the ciphertext.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v1_data_opens_with_the_version_that_is_given() {
    let old = Old::new(2048).await;
    let bare = |ciphertext| WrappedKey::without_key_id(ciphertext).unwrap();
    let upstreams = bare(text(&old.pkcs1(&old.first, &DEK).await));
    let forks = bare(old.pkcs1(&old.first, &text(&DEK)).await);
    let short = bare(text(&old.pkcs1(&old.first, &DEK[..31]).await));

    let without = old.upstream(UpstreamOptions::default());
    assert!(!without.capabilities().unwraps_without_key_id);
    assert_eq!(
        open(&without, &upstreams).await,
        Err(ErrorKind::Unsupported)
    );

    let version = version_of(&old.first).parse().unwrap();
    let options = UpstreamOptions::default().with_v1_version(version);
    let provider = old.upstream(options.clone());
    assert!(provider.capabilities().unwraps_without_key_id);
    for value in [&upstreams, &forks] {
        assert_eq!(open(&provider, value).await, Ok(DEK.to_vec()));
    }
    assert_eq!(old.store.calls(Operation::UnwrapKey), 2);
    assert_eq!(open(&provider, &short).await, Err(ErrorKind::Crypto));

    old.store
        .grant(&old.lab.identity, Role::CryptoUser, Scope::Store);
    let by_decrypt = old.upstream(options.with_operations(Operations::EncryptDecrypt));
    assert_eq!(open(&by_decrypt, &upstreams).await, Ok(DEK.to_vec()));
    assert_eq!(old.store.calls(Operation::Decrypt), 1);

    let other = version_of(&old.second).parse().unwrap();
    let other = old.upstream(UpstreamOptions::default().with_v1_version(other));
    assert_eq!(open(&other, &upstreams).await, Err(ErrorKind::Crypto));
}

/// A KMS v1 server stores no annotations, and so must not be given what it could not open later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_v1_writes_nothing_that_v1_would_store() {
    let old = Old::new(2048).await;
    let version = || version_of(&old.first).parse().unwrap();
    for options in [
        UpstreamOptions::default().with_v1_version(version()),
        UpstreamOptions::default()
            .with_v1_version(version())
            .writing(),
    ] {
        let provider = old.upstream(options);
        let dek = SecretBytes::copy_from_slice(&DEK);
        let wrapped = provider.wrap(&dek, &WrapOptions::default()).await.unwrap();
        assert!(!wrapped.annotations().is_empty());
        assert_eq!(open(&provider, &wrapped).await, Ok(DEK.to_vec()));
    }
}

/// The way back: all that upstream's Decrypt looks at, looked at here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_in_upstreams_form_upstream_can_read() {
    for bits in [2048, 3072, 4096] {
        let old = Old::new(bits).await;
        let provider = old.upstream(UpstreamOptions::default().writing());
        let dek = SecretBytes::copy_from_slice(&DEK);
        let wrapped = provider.wrap(&dek, &WrapOptions::default()).await.unwrap();

        let expected = sha256_hex(&old.second);
        assert_eq!(wrapped.key_id().unwrap().as_str(), expected);
        let current = provider.current_key(&CallOptions::default()).await.unwrap();
        assert_eq!(current.id.as_str(), expected);
        assert!(!wrapped.annotations().is_empty());
        let annotation = |name| wrapped.annotation(name).unwrap();
        assert_eq!(annotation("algorithm.azure.akv.io"), b"RSA-OAEP-256");
        assert_eq!(annotation("version.azure.akv.io"), b"1");
        let ciphertext = URL_SAFE_NO_PAD.decode(wrapped.ciphertext()).unwrap();
        assert_eq!(ciphertext.len(), bits as usize / 8);
        assert!(wrapped.ciphertext().len() <= 1024);
        kms_core_bounds(&wrapped);

        // Upstream asks for `decrypt`.
        old.store
            .grant(&old.lab.identity, Role::CryptoUser, Scope::Store);
        let options = ProviderOptions::default().with_operations(Operations::EncryptDecrypt);
        let plain = old.lab.provider(&old.second, options);
        let raw = WrappedKey::new(KeyId::new(&old.second).unwrap(), ciphertext).unwrap();
        assert_eq!(open(&plain, &raw).await, Ok(DEK.to_vec()));
        assert_eq!(old.store.calls(Operation::Decrypt), 1);
        assert_eq!(open(&provider, &wrapped).await, Ok(DEK.to_vec()));
    }
}

/// What kube-apiserver demands of names.
fn kms_core_bounds(wrapped: &WrappedKey) {
    for name in wrapped.annotations().keys() {
        assert!(name.contains('.') && name.len() <= 253);
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || b".-".contains(&byte))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ids_of_a_version_are_described_and_listed() {
    let old = Old::new(2048).await;
    let ours = [old.first.clone(), old.second.clone()];
    let upstreams = ours.clone().map(|kid| sha256_hex(&kid));
    for (writes, first_of_pair) in [(false, &upstreams), (true, &ours)] {
        let options = UpstreamOptions::default();
        let provider = old.upstream(if writes { options.writing() } else { options });
        let call = CallOptions::default();
        let listed = provider.list_keys(&call).await.unwrap();
        let ids: Vec<&str> = listed.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(ids.len(), 4);
        assert_eq!([ids[0], ids[2]], [&first_of_pair[0], &first_of_pair[1]]);
        for (ours, upstream) in ours.iter().zip(&upstreams) {
            for id in [ours, upstream] {
                let id = KeyId::new(id).unwrap();
                let info = provider.describe_key(&id, &call).await.unwrap();
                assert_eq!(info.id, id);
                assert_eq!(info.version.as_deref(), Some(version_of(ours)));
            }
        }
    }
}

/// Moving over: new data under the new key, old data of the old plugin beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_union_routes_by_the_form_of_the_key_id() {
    let old = Old::new(2048).await;
    let new = old.store.create_rsa_key("new", 3072).unwrap();
    let current = old.lab.provider(&new, ProviderOptions::default());
    let older = old.upstream(UpstreamOptions::default());
    let both =
        Union::new(current).with_older_claiming(older, kms_azure::compat::is_upstream_key_id);
    let value = stored(
        &old.first,
        text(&old.oaep(&old.first, &DEK).await),
        &UPSTREAM,
    );
    assert_eq!(open(&both, &value).await, Ok(DEK.to_vec()));
    let dek = SecretBytes::copy_from_slice(&DEK);
    let wrapped = both.wrap(&dek, &WrapOptions::default()).await.unwrap();
    assert_eq!(wrapped.key_id().unwrap().as_str(), new);
    assert_eq!(open(&both, &wrapped).await, Ok(DEK.to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_that_make_no_sense_are_refused() {
    let old = Old::new(2048).await;
    let key = old.key();
    let refused = |options: UpstreamOptions, key: &KeyUrl| {
        let inner = old.lab.provider(&old.first, ProviderOptions::default());
        let made = UpstreamProvider::new(inner, old.lab.vault(&old.key()), key, options);
        assert_eq!(made.unwrap_err().kind(), ErrorKind::InvalidInput);
    };
    let nine = (0..9).fold(UpstreamOptions::default(), |options, _| {
        options.with_v1_version("0".repeat(32).parse().unwrap())
    });
    refused(nine, &key);
    refused(UpstreamOptions::default().with_budget(Duration::ZERO), &key);
    let elsewhere = "https://kv1.vault.azure.net/keys/etcd".parse().unwrap();
    refused(UpstreamOptions::default(), &elsewhere);
}

struct CompatHarness(Arc<UpstreamProvider>, KeyId);

#[async_trait]
impl Harness for CompatHarness {
    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.0.clone()
    }

    fn unknown_key_id(&self) -> Result<KeyId, kms_core::Error> {
        Ok(self.1.clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_in_every_mode() {
    let old = Old::new(2048).await;
    let version = || version_of(&old.second).parse().unwrap();
    let options = UpstreamOptions::default;
    for options in [
        options(),
        options().writing(),
        options().with_v1_version(version()),
        options().with_v1_version(version()).writing(),
    ] {
        let provider = Arc::new(old.upstream(options));
        assert_eq!(provider.capabilities().context, ContextSupport::None);
        let unknown = KeyId::new("0".repeat(64)).unwrap();
        let report = run_all(&CompatHarness(provider, unknown)).await;
        println!("{report}");
    }
}
