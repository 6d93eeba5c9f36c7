//! `kms serve` over a vault, with this test in kube-apiserver's place.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kms::provider::open_endpoint;
use kms_core::{Clock, OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, ProviderConfiguration, Transformer};
use kms_testkit::vault::{Credential, Identity, KeyStore, Operation, Role, Scope, Vault};

use crate::command::{Served, kms, kms_with_input, kms_with_path};

const SECRET: &str = "correct-horse-battery-staple";
const ETCD_KEY: &[u8] = b"/registry/secrets/default/db";

/// A loopback Azure, and what `kms` has to be told to use it.
struct Azure {
    azure: Vault,
    identity: Identity,
    directory: tempfile::TempDir,
}

impl Azure {
    async fn new() -> Self {
        let azure = Vault::builder().vault("older").start().await.unwrap();
        let identity = azure.register([Credential::secret(SECRET)]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), azure.ca_pem()).unwrap();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        let azure = Self {
            azure,
            identity,
            directory,
        };
        for store in [azure.store(), azure.older()] {
            // The least role that serves (R20).
            store.grant(
                &azure.identity,
                Role::CryptoServiceEncryptionUser,
                Scope::Store,
            );
        }
        azure
    }

    fn store(&self) -> KeyStore {
        self.azure.key_vault()
    }

    fn older(&self) -> KeyStore {
        self.azure.vault_named("older").unwrap()
    }

    fn path(&self, name: &str) -> String {
        self.directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("kms.sock")
    }

    /// Where it is, and whom to trust.
    fn place(&self) -> Vec<String> {
        let mut arguments = vec![
            "--azure-ca".to_owned(),
            self.path("ca.pem"),
            "--azure-authority".to_owned(),
            self.azure.authority(),
            "--azure-vault-domain".to_owned(),
            "vault.localhost".to_owned(),
            "--azure-tenant".to_owned(),
            self.azure.tenant_id().to_owned(),
            "--azure-client-id".to_owned(),
            self.identity.client_id().to_owned(),
        ];
        for host in self.azure.host_names() {
            arguments.push("--azure-address".to_owned());
            arguments.push(format!("{host}={}", self.azure.address()));
        }
        arguments
    }

    /// Where it is, and who asks.
    fn arguments(&self) -> Vec<String> {
        let identity = format!("secret:{}", self.path("secret"));
        [self.place(), vec!["--azure-identity".to_owned(), identity]].concat()
    }

    fn serve(&self, provider: &str, more: &[&str]) -> Served {
        let listen = format!("unix:{}", self.socket().display());
        let mut arguments = vec!["serve", "--provider", provider, "--listen", &listen];
        arguments.extend(["--poll", "1"]);
        arguments.extend(more);
        let azure = self.arguments();
        arguments.extend(azure.iter().map(String::as_str));
        Served::start(&arguments, &self.socket())
    }

    fn transformer(&self) -> Transformer {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let config = EncryptionConfiguration::parse(&self.config()).unwrap();
        let providers = config.providers_for("", "secrets");
        let random = Arc::new(OsRandom);
        let mut builder =
            Transformer::builder(providers.iter().copied(), Arc::clone(&clock), random);
        for provider in &providers {
            if let ProviderConfiguration::Kms(kms) = provider {
                builder = builder.kms(&kms.name, open_endpoint(kms, Arc::clone(&clock)).unwrap());
            }
        }
        builder.build().unwrap()
    }

    fn config(&self) -> String {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - kms: {{apiVersion: v2, name: lab, endpoint: \"unix://{}\"}}
",
            self.socket().display()
        )
    }

    /// Runs `kms` with these and the arguments for the vault.
    fn kms(&self, arguments: &[&str], input: &[u8]) -> crate::command::Ran {
        let azure = self.arguments();
        let azure: Vec<&str> = azure.iter().map(String::as_str).collect();
        kms_with_input(&[arguments, &azure].concat(), input)
    }
}

fn versionless(kid: &str) -> &str {
    kid.rsplit_once('/').unwrap().0
}

async fn key_id(transformer: &Transformer) -> String {
    transformer.refresh().await.unwrap();
    transformer
        .kms_write_state("lab")
        .unwrap()
        .key_id
        .to_string()
}

/// R24, R52: a versionless key is followed, without a restart of anything. The old version expires,
/// so the new one need not wait for the activation delay.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_in_the_vault_needs_no_restart() {
    let azure = Azure::new().await;
    let store = azure.store();
    let old = store.create_rsa_key("etcd", 2048).unwrap();
    let served = azure.serve(versionless(&old), &["--azure-poll", "1"]);
    let transformer = azure.transformer();
    assert_eq!(key_id(&transformer).await, old);
    let value = transformer.write(ETCD_KEY, b"k8s\0secret").await.unwrap();

    // A vault tells the age of versions in seconds: within one, the newer is not known.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let soon = SystemTime::now() + Duration::from_secs(2);
    let version = old.rsplit('/').next();
    store
        .set_validity("etcd", version, None, Some(soon))
        .unwrap();
    let new = store.create_rsa_key("etcd", 3072).unwrap();
    // Between the expiry of the one and the look that sees the other Status is not well.
    while transformer.refresh().await.is_err()
        || transformer.kms_write_state("lab").unwrap().key_id.as_str() != new
    {
        tokio::task::yield_now().await;
    }
    let opened = azure.transformer();
    opened.refresh().await.unwrap();
    let opened = opened.read(ETCD_KEY, &value).await.unwrap();
    assert_eq!(opened.plaintext(), b"k8s\0secret");
    assert!(opened.is_stale(), "written under the old version");
    assert_eq!(served.terminate(), Some(0));
}

/// R12, R24: another vault beside the one of before, through a union.
#[tokio::test(flavor = "multi_thread")]
async fn data_of_another_vault_is_opened_beside() {
    let azure = Azure::new().await;
    let old = azure.older().create_rsa_key("etcd-2025", 2048).unwrap();
    let new = azure.store().create_rsa_key("etcd-2026", 2048).unwrap();
    let served = azure.serve(&old, &[]);
    let value = {
        let transformer = azure.transformer();
        assert_eq!(key_id(&transformer).await, old);
        transformer.write(ETCD_KEY, b"old").await.unwrap()
    };
    assert_eq!(served.terminate(), Some(0));

    let _served = azure.serve(versionless(&new), &["--also", versionless(&old)]);
    let transformer = azure.transformer();
    assert_eq!(key_id(&transformer).await, new);
    let opened = transformer.read(ETCD_KEY, &value).await.unwrap();
    assert_eq!(opened.plaintext(), b"old");
    assert!(opened.is_stale());
}

/// R28, R42: which versions there are, which one wraps, and that it works; and decrypting a stored
/// value straight from the vault, with no plugin.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_proven_and_used_without_a_plugin() {
    let azure = Azure::new().await;
    let kid = azure.store().create_rsa_key("etcd", 2048).unwrap();
    let provider = versionless(&kid);
    let status = azure.kms(&["key", "status", "--json", "--provider", provider], b"");
    let status = status.ok().json();
    assert_eq!(status["key_id"], kid);
    assert_eq!(status["algorithm"], "RSA-OAEP-256");
    assert_eq!(status["unwraps"], true);
    let listed = azure.kms(&["key", "list", "--json", "--provider", provider], b"");
    let listed = listed.ok().json();
    // One row, with the id that Azure/kubernetes-kms gave it beside our own.
    let [listed] = listed["keys"].as_array().unwrap().as_slice() else {
        panic!("{listed}");
    };
    assert_eq!(listed["key_id"], kid);
    assert_eq!(listed["current"], true);
    let others = listed["other_key_ids"].as_array().unwrap();
    let hash = others[0].as_str().unwrap();
    assert!(others.len() == 1 && hash.len() == 64, "{listed}");
    // The one that is written stands first.
    let arguments = [
        "key",
        "list",
        "--json",
        "--azure-write-upstream",
        "--provider",
        provider,
    ];
    let upstream = azure.kms(&arguments, b"").ok().json();
    assert_eq!(upstream["keys"][0]["key_id"], hash);
    assert_eq!(upstream["keys"][0]["other_key_ids"][0], kid);
    assert_eq!(upstream["keys"][0]["current"], true);
    assert_eq!(upstream["keys"].as_array().unwrap().len(), 1);
    let table = azure
        .kms(&["key", "list", "--provider", provider], b"")
        .ok();
    let row = format!("{kid} = {hash}");
    assert!(table.text().contains(&row), "{}", table.text());

    let served = azure.serve(provider, &[]);
    let transformer = azure.transformer();
    key_id(&transformer).await;
    let value = transformer.write(ETCD_KEY, b"k8s\0secret").await.unwrap();
    assert_eq!(served.terminate(), Some(0));
    std::fs::write(azure.path("config.yaml"), azure.config()).unwrap();
    let config = azure.path("config.yaml");
    let kek = format!("lab={provider}");
    let etcd_key = std::str::from_utf8(ETCD_KEY).unwrap();
    let arguments = [
        "decrypt",
        "--encryption-config",
        &config,
        "--etcd-key",
        etcd_key,
        "--kek",
        &kek,
    ];
    let opened = azure.kms(&arguments, &value).ok();
    assert_eq!(opened.stdout, b"k8s\0secret");
}

/// Status is answered from memory: however often it is asked, the vault is not.
#[tokio::test(flavor = "multi_thread")]
async fn status_asks_nothing_of_the_vault() {
    let azure = Azure::new().await;
    let kid = azure.store().create_rsa_key("etcd", 2048).unwrap();
    let _served = azure.serve(&kid, &["--azure-poll", "86400"]);
    let transformer = azure.transformer();
    key_id(&transformer).await;
    let calls = || {
        [
            Operation::Get,
            Operation::ListVersions,
            Operation::WrapKey,
            Operation::UnwrapKey,
        ]
        .map(|operation| azure.azure.calls(operation))
    };
    let before = calls();
    for _ in 0..200 {
        assert_eq!(key_id(&transformer).await, kid);
    }
    assert_eq!(calls(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_vault_is_said_with_its_remedy() {
    let azure = Azure::new().await;
    let curve = azure.store().create_ec_key("curve").unwrap();
    let ran = azure
        .kms(&["key", "status", "--provider", &curve], b"")
        .refused();
    assert!(ran.stderr.contains("elliptic curve"), "{ran:?}");
    let none = format!("{}/keys/none", azure.store().url());
    let ran = azure
        .kms(&["key", "status", "--provider", &none], b"")
        .refused();
    assert!(ran.stderr.contains("az keyvault key recover"), "{ran:?}");
    let kid = azure.store().create_rsa_key("etcd", 2048).unwrap();
    azure.store().revoke(
        &azure.identity,
        Role::CryptoServiceEncryptionUser,
        &Scope::Store,
    );
    let ran = azure
        .kms(&["key", "status", "--provider", &kid], b"")
        .refused();
    assert!(
        ran.stderr
            .contains("Key Vault Crypto Service Encryption User"),
        "{ran:?}"
    );
    let without = kms(&[
        "key",
        "status",
        "--provider",
        &kid,
        "--azure-vault-domain",
        "vault.localhost",
    ]);
    assert_eq!(without.code, Some(2), "{without:?}");
    assert!(without.stderr.contains("--azure-identity"), "{without:?}");
}

/// A person who is signed in to `az`, which here is a script.
#[tokio::test(flavor = "multi_thread")]
async fn the_azure_cli_is_asked_for_a_token() {
    let azure = Azure::new().await;
    let kid = azure.store().create_rsa_key("etcd", 2048).unwrap();
    let bin = azure.directory.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let script = "#!/bin/sh\necho 'ERROR: Please run az login to setup account.' >&2\nexit 1\n";
    std::fs::write(bin.join("az"), script).unwrap();
    std::fs::set_permissions(bin.join("az"), Permissions::from_mode(0o755)).unwrap();
    let place = azure.place();
    let mut arguments = vec![
        "key",
        "status",
        "--azure-identity",
        "cli",
        "--provider",
        &kid,
    ];
    arguments.extend(place.iter().map(String::as_str));
    let ran = kms_with_path(&arguments, &bin).refused();
    assert!(ran.stderr.contains("az login"), "{ran:?}");
}

/// Azure/kubernetes-kms and back: what is written in its form opens without being written again,
/// whichever form is written now.
#[tokio::test(flavor = "multi_thread")]
async fn data_in_the_form_of_azure_kubernetes_kms_goes_on_opening() {
    let azure = Azure::new().await;
    let kid = azure.store().create_rsa_key("etcd", 2048).unwrap();
    let served = azure.serve(&kid, &["--azure-write-upstream"]);
    let value = {
        let transformer = azure.transformer();
        let id = key_id(&transformer).await;
        assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        transformer.write(ETCD_KEY, b"old").await.unwrap()
    };
    assert_eq!(served.terminate(), Some(0));

    let _served = azure.serve(versionless(&kid), &[]);
    let transformer = azure.transformer();
    assert_eq!(key_id(&transformer).await, kid);
    let opened = transformer.read(ETCD_KEY, &value).await.unwrap();
    assert_eq!(opened.plaintext(), b"old");
    assert!(opened.is_stale());
}

/// No jitter: pauses are as long as they may be.
#[derive(Debug)]
struct NoJitter;

impl kms_core::SecureRandom for NoJitter {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), kms_core::Error> {
        bytes.fill(0);
        Ok(())
    }
}

/// R58: an hour of Status, asked by three API servers, through the whole plugin with the settings
/// of `kms serve`: what the vault is asked is its looks for a new version and the plugin's proofs.
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_status_is_at_most_fifteen_calls_to_the_vault() {
    use kms_azure::credential::{Authority, Credential, Identity, SecretSource};
    use kms_azure::key_url::{KeyUrl, Service, VaultHosts};
    use kms_azure::provider::{KeyVaultProvider, ProviderOptions};
    use kms_azure::transport::{Transport, TransportOptions};
    use kms_azure::vault::VaultOptions;
    use kms_core::{CallOptions, KeyProvider as _, SecretBytes};

    let clock = kms_testkit::ManualClock::new();
    let azure = Vault::builder().clock(Arc::new(clock.clone()));
    let azure = azure.throttle_scale(None).start().await.unwrap();
    let store = azure.key_vault();
    let who = azure
        .register([kms_testkit::vault::Credential::secret(SECRET)])
        .unwrap();
    store.grant(&who, Role::CryptoServiceEncryptionUser, Scope::Store);
    let kid = store.create_rsa_key("etcd", 2048).unwrap();
    clock.advance(Duration::from_secs(3600));

    let trusted = TransportOptions::default()
        .with_only_ca_pem(azure.ca_pem().as_bytes())
        .unwrap();
    let here = azure.host_names().iter().fold(trusted, |options, host| {
        options.with_address(host, azure.address())
    });
    let transport = Transport::new(&here).unwrap();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let secret = SecretSource::given(SecretBytes::copy_from_slice(SECRET.as_bytes()));
    let credential = Credential::new(
        Identity::client_secret(azure.tenant_id(), who.client_id(), secret).unwrap(),
        Authority::new(&azure.authority()).unwrap(),
        &transport,
        Arc::clone(&shared),
        Arc::new(NoJitter),
    );
    let hosts = VaultHosts::default().with_domain("vault.localhost", Service::KeyVault);
    let key = KeyUrl::parse(versionless(&kid), &hosts.unwrap()).unwrap();
    let options = VaultOptions::new(Arc::clone(&shared)).with_random(Arc::new(NoJitter));
    let vault =
        kms_azure::vault::Vault::new(key.host().clone(), &credential, &transport, options).unwrap();
    let provider = KeyVaultProvider::new(vault, key, ProviderOptions::default()).unwrap();
    let provider = Arc::new(provider);

    let uri: kms::provider::ProviderUri = versionless(&kid).parse().unwrap();
    let plugin = kms_plugin::server::Plugin::builder(provider.clone())
        .clock(Arc::clone(&shared))
        .random(Arc::new(NoJitter))
        .prove_interval(uri.prove_interval())
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", directory.path().join("kms.sock").display());
    let address: kms_plugin::socket::SocketAddress = address.parse().unwrap();
    let listener = kms_plugin::socket::Listener::bind(&address, &Default::default())
        .await
        .unwrap();
    let serving = plugin.clone();
    let serving =
        tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
    let client = kms_plugin::client::V2Client::new(address, Default::default());

    let asked = |operation| store.calls(operation);
    let step = Duration::from_secs(20);
    for number in 0..180_u32 {
        // Before time goes on, everything that is due is done.
        let since = (step * number).as_secs();
        let (looks, proofs) = (1 + since / 300, 1 + since / 3600);
        loop {
            let next = provider.health().next_look;
            let sleeps = next.is_some_and(|next| next > clock.wall_time());
            if sleeps
                && plugin.health().is_ready()
                && asked(Operation::Get) == looks
                && asked(Operation::UnwrapKey) == proofs
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let status = client.current_key(&CallOptions::default()).await.unwrap();
        assert_eq!(status.id.as_str(), kid);
        clock.advance(step);
    }
    let calls: u64 = [
        Operation::Get,
        Operation::ListVersions,
        Operation::WrapKey,
        Operation::UnwrapKey,
        Operation::Encrypt,
        Operation::Decrypt,
    ]
    .into_iter()
    .map(asked)
    .sum();
    assert!(calls <= 15, "{calls}");
    serving.abort();
}
