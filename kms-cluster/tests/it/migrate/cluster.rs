//! A cluster of one: a store, a configuration, the plugins it names, and a clock.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::pending;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_cluster::embedded::EmbeddedStore;
use kms_core::object::{
    FetchOptions, HistoryOptions, HistoryRecord, LeaseId, ObjectKey, ObjectSource as _,
    ObjectStore, Revision,
};
use kms_core::{KeyId, KeyProvider, OsRandom};
use kms_envelope::Error;
use kms_envelope::kubernetes::{EncryptionConfiguration, ProviderKind, Transformer};
use kms_envelope::reencrypt::{
    CheckpointStore, ConfiguredReencryptors, Migration, MigrationOptions, MigrationReport,
    ReencryptorOptions,
};
use kms_testkit::{FaultProvider, ManualClock, StaticProvider};
use tokio::sync::Notify;

pub(crate) type Plugin = FaultProvider<StaticProvider>;

/// A configuration: resources, and their providers in short: `identity`, `aescbc:KEY+KEY`,
/// `aesgcm:…`, `secretbox:…`, `v1:NAME`, `v2:NAME`. A key `name=x` has the name `name` and other
/// bytes than `name`.
pub(crate) fn config(entries: &[(&str, &[&str])]) -> EncryptionConfiguration {
    let mut text =
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
            .to_owned();
    for (resources, providers) in entries {
        write!(text, "  - resources: [{resources}]\n    providers:\n").unwrap();
        for provider in *providers {
            let (kind, name) = provider.split_once(':').unwrap_or((provider, ""));
            match kind {
                "identity" => text.push_str("      - identity: {}\n"),
                "v1" | "v2" => {
                    writeln!(text, "      - kms: {{apiVersion: {kind}, name: {name}, endpoint: \"unix:///{name}\"}}").unwrap();
                }
                _ => {
                    let keys: Vec<_> = name
                        .split('+')
                        .map(|key| {
                            let mut secret = [7; 32];
                            secret[..key.len()].copy_from_slice(key.as_bytes());
                            let name = key.split('=').next().unwrap();
                            format!("{{name: {name}, secret: {}}}", STANDARD.encode(secret))
                        })
                        .collect();
                    writeln!(text, "      - {kind}: {{keys: [{}]}}", keys.join(", ")).unwrap();
                }
            }
        }
    }
    EncryptionConfiguration::parse(&text).unwrap()
}

pub(crate) struct Cluster {
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) config: EncryptionConfiguration,
    pub(crate) clock: ManualClock,
    /// Told by a store whose process is to die.
    pub(crate) death: Arc<Notify>,
    plugins: BTreeMap<String, Arc<Plugin>>,
}

/// What an object opened to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) content: Vec<u8>,
    pub(crate) provider: ProviderKind,
    pub(crate) name: Option<String>,
    pub(crate) key_id: Option<KeyId>,
}

impl Cluster {
    pub(crate) fn new(config: EncryptionConfiguration) -> Self {
        Self {
            store: Arc::new(EmbeddedStore::new("test").with_cluster_id("cluster-1")),
            config,
            clock: ManualClock::new(),
            death: Arc::default(),
            plugins: BTreeMap::new(),
        }
    }

    /// Secrets under these providers.
    pub(crate) fn of_secrets(providers: &[&str]) -> Self {
        Self::new(config(&[("secrets", providers)])).with_plugins()
    }

    /// A plugin behind every KMS of the configuration.
    pub(crate) fn with_plugins(mut self) -> Self {
        use kms_envelope::kubernetes::ProviderConfiguration::Kms;
        for entry in &self.config.resources {
            for provider in &entry.providers {
                if let Kms(kms) = provider {
                    let id = KeyId::new(format!("{}-1", kms.name)).unwrap();
                    let mut kek = [3; 32];
                    kek[..kms.name.len()].copy_from_slice(kms.name.as_bytes());
                    let keys = StaticProvider::new(id, kek);
                    let plugin = FaultProvider::new(keys, Arc::new(self.clock.clone()));
                    self.plugins
                        .entry(kms.name.clone())
                        .or_insert(Arc::new(plugin));
                }
            }
        }
        self
    }

    /// The same objects and plugins under another configuration.
    pub(crate) fn reconfigured(self, config: EncryptionConfiguration) -> Self {
        Self { config, ..self }.with_plugins()
    }

    pub(crate) fn plugin(&self, name: &str) -> &Plugin {
        &self.plugins[name]
    }

    pub(crate) fn shared_plugin(&self, name: &str) -> Arc<Plugin> {
        Arc::clone(&self.plugins[name])
    }

    /// Makes a new key the current one.
    pub(crate) fn rotate(&self, name: &str) -> KeyId {
        let keys = self.plugin(name).inner();
        let id = KeyId::new(format!("{name}-2")).unwrap();
        let mut kek = [9; 32];
        kek[..name.len()].copy_from_slice(name.as_bytes());
        keys.add_key(id.clone(), kek).unwrap();
        keys.make_current(&id).unwrap();
        id
    }

    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.clock.run(future).expect("it does not hang")
    }

    /// What an API server would store for this content, if its first provider were `under`.
    pub(crate) fn seal(&self, under: &str, key: &str, content: &[u8]) -> Vec<u8> {
        let config = config(&[("secrets", &[under])]);
        let providers = &config.resources[0].providers;
        let transformer = self.transformer(providers, false);
        let plaintext = [b"k8s\0", content].concat();
        self.run(async {
            transformer.refresh().await.unwrap();
            transformer.write(key.as_bytes(), &plaintext).await.unwrap()
        })
    }

    fn transformer(
        &self,
        providers: &[kms_envelope::kubernetes::ProviderConfiguration],
        read_only: bool,
    ) -> Transformer {
        let clock = Arc::new(self.clock.clone());
        let mut builder = Transformer::builder(providers, clock, Arc::new(OsRandom));
        for (name, plugin) in &self.plugins {
            builder = builder.kms(name.clone(), Arc::clone(plugin) as Arc<dyn KeyProvider>);
        }
        let builder = if read_only {
            builder.read_only()
        } else {
            builder
        };
        builder.build().unwrap()
    }

    pub(crate) fn put(&self, under: &str, key: &str, content: &[u8]) -> Revision {
        self.put_raw(key, self.seal(under, key, content), None)
    }

    pub(crate) fn put_raw(&self, key: &str, value: Vec<u8>, lease: Option<i64>) -> Revision {
        let lease = lease.and_then(LeaseId::new);
        let key = ObjectKey::new(key).unwrap();
        self.store.put(&key, value, lease).unwrap()
    }

    /// Secrets under something, each with a content of its own.
    pub(crate) fn fill(&self, under: &str, count: usize) {
        for number in 0..count {
            let key = super::secret(number);
            self.put(under, &key, content(number).as_bytes());
        }
    }

    /// Reads as an API server that has just started.
    pub(crate) fn open(&self, key: &str) -> Option<Found> {
        let transformer = self.transformer(&self.config.resources[0].providers, true);
        let object_key = ObjectKey::new(key).unwrap();
        self.run(async {
            let found = self
                .store
                .fetch(&object_key, &FetchOptions::default())
                .await;
            let object = found.unwrap()?;
            let opened = transformer.read(key.as_bytes(), &object.value).await;
            let opened = opened.unwrap_or_else(|error| panic!("{key}: {error}"));
            let content = opened.plaintext().strip_prefix(b"k8s\0").unwrap();
            Some(Found {
                content: content.to_vec(),
                provider: opened.provider(),
                name: opened.name().map(str::to_owned),
                key_id: opened.key_id().cloned(),
            })
        })
    }

    pub(crate) fn history(&self) -> Vec<HistoryRecord> {
        let options = HistoryOptions::default()
            .with_page_limit(u32::MAX)
            .with_page_bytes(usize::MAX);
        self.run(self.store.history(&options)).unwrap().records
    }

    pub(crate) fn reencryptors(
        &self,
        to: &str,
        options: &MigrationOptions,
    ) -> ConfiguredReencryptors {
        let clock = Arc::new(self.clock.clone());
        let mut made =
            ReencryptorOptions::new(clock, Arc::new(OsRandom)).with_target(to.parse().unwrap());
        for (name, plugin) in &self.plugins {
            made = made.with_kms(name, Arc::clone(plugin) as Arc<dyn KeyProvider>);
        }
        ConfiguredReencryptors::new(&self.config, &options.scope, &made).unwrap()
    }

    pub(crate) fn migrate(&self, to: &str, options: &MigrationOptions) -> MigrationReport {
        self.migrate_in(&*self.store, to, options, None).unwrap()
    }

    /// In a store that is not quite this one, with a place to keep.
    pub(crate) fn migrate_in(
        &self,
        store: &dyn ObjectStore,
        to: &str,
        options: &MigrationOptions,
        kept: Option<&dyn CheckpointStore>,
    ) -> Result<MigrationReport, Error> {
        self.try_migrate_in(store, to, options, kept)
            .expect("it does not die")
    }

    /// `None` if it dies.
    pub(crate) fn try_migrate_in(
        &self,
        store: &dyn ObjectStore,
        to: &str,
        options: &MigrationOptions,
        kept: Option<&dyn CheckpointStore>,
    ) -> Option<Result<MigrationReport, Error>> {
        let reencryptors = self.reencryptors(to, options);
        let mut migration = Migration::new(store, &reencryptors, &self.clock, options);
        if let Some(kept) = kept {
            migration = migration.with_checkpoints(kept);
        }
        self.run(async {
            // Several may have died of it the last time.
            tokio::select! {
                biased;
                () = self.death.notified() => {}
                () = async {} => {}
            }
            tokio::select! {
                biased;
                () = self.death.notified() => None,
                ended = migration.run(pending(), |_| {}) => Some(ended),
            }
        })
    }
}

pub(crate) fn content(number: usize) -> String {
    format!("content of {number}")
}
