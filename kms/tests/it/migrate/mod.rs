//! `kms migrate`. What needs a live etcd is ignored unless asked for.

mod kube;
mod refused;
mod shared;
mod storm;
mod transitions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kms_cluster::etcd::{EtcdOptions, EtcdStore};
use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::object::{
    HistoryOptions, HistoryRecord, ObjectKey, ObjectSource as _, ObjectStore as _, Swap,
};
use kms_core::{CallOptions, Clock, KeyId, KeyProvider as _, OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::kms;
use crate::etcd_server::Server;

const CONFIG: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - kms: {apiVersion: v2, name: my-kms, endpoint: \"unix:///nonexistent/kms.sock\"}
      - aescbc: {keys: [{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - identity: {}
";

/// An etcd, a keyring, and a configuration that names it.
struct World {
    directory: TempDir,
    server: Server,
    clock: Arc<dyn Clock>,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.yaml"), CONFIG).unwrap();
        let world = Self {
            directory,
            server: Server::start(),
            clock: Arc::new(TokioClock::new()),
        };
        kms(&["key", "create", "--provider", &world.keyring()]).ok();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As a provider on the command line.
    fn keyring(&self) -> String {
        format!("local:{}", self.path("keyring.json").display())
    }

    fn rotate(&self) {
        kms(&["key", "rotate", "--provider", &self.keyring()]).ok();
    }

    fn provider(&self) -> Arc<LocalProvider> {
        let options = LocalOptions::new(Arc::clone(&self.clock));
        Arc::new(LocalProvider::open(self.path("keyring.json"), options).unwrap())
    }

    async fn current_key(&self) -> KeyId {
        let key = self.provider().current_key(&CallOptions::default()).await;
        key.unwrap().id
    }

    /// What an API server with this provider as its first one reads and writes with.
    async fn api_server(&self, first: usize) -> Transformer {
        let config: EncryptionConfiguration = EncryptionConfiguration::parse(CONFIG).unwrap();
        let providers = &config.resources[0].providers;
        let rest = providers
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != first);
        let order = std::iter::once(&providers[first]).chain(rest.map(|(_, it)| it));
        let transformer = Transformer::builder(order, Arc::clone(&self.clock), Arc::new(OsRandom))
            .kms("my-kms", self.provider())
            .build()
            .unwrap();
        transformer.refresh().await.unwrap();
        transformer
    }

    async fn store(&self) -> EtcdStore {
        let options = EtcdOptions::new([self.server.url()])
            .unwrap()
            .with_timeout(Duration::from_secs(60))
            .with_clock(Arc::clone(&self.clock));
        EtcdStore::connect(options).await.unwrap()
    }

    /// Secrets as this API server writes them, each with a content of its own.
    async fn fill(&self, writer: &Transformer, count: usize) {
        let store = self.store().await;
        stream::iter(0..count)
            .for_each_concurrent(64, |number| {
                let store = &store;
                async move {
                    let key = secret(number);
                    let content = format!("k8s\0first {number}");
                    let value = writer
                        .write(key.as_bytes(), content.as_bytes())
                        .await
                        .unwrap();
                    let swap = Swap::Create { value };
                    let made = store
                        .compare_and_swap(&key, &swap, &CallOptions::default())
                        .await;
                    assert!(made.unwrap().swapped().is_some());
                }
            })
            .await;
    }

    /// The arguments of a migration of this etcd.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let config = self.path("config.yaml");
        let kek = format!("my-kms={}", self.keyring());
        let fixed = [
            "migrate",
            "--etcd",
            self.server.url(),
            "--encryption-config",
            config.to_str().unwrap(),
            "--kek",
            &kek,
        ];
        fixed
            .iter()
            .chain(more)
            .map(|it| (*it).to_owned())
            .collect()
    }

    fn migrate(&self, more: &[&str]) -> crate::command::Ran {
        let arguments = self.arguments(more);
        kms(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Every change to the objects of the API server.
    async fn history(&self) -> BTreeMap<ObjectKey, Vec<HistoryRecord>> {
        let store = self.store().await;
        let mut options = HistoryOptions::default().with_prefix("/registry/");
        let mut found = BTreeMap::<_, Vec<_>>::new();
        loop {
            let page = store.history(&options).await.unwrap();
            for record in page.records {
                found.entry(record.key.clone()).or_default().push(record);
            }
            match page.next {
                Some(next) => options.after = Some(next),
                None => return found,
            }
        }
    }

    /// The key ids that live objects name, by a census that needs no key.
    fn key_ids(&self) -> BTreeMap<String, u64> {
        let census = kms(&["census", "--etcd", self.server.url(), "--json"]).ok();
        let rows = census.json()["live"]["census"].as_array().unwrap().clone();
        let mut ids = BTreeMap::new();
        for row in rows.iter().filter(|row| row["resource"] == "secrets") {
            let under = row["key_id"]
                .as_str()
                .or_else(|| row["prefix"].as_str())
                .unwrap();
            *ids.entry(under.to_owned()).or_default() += row["objects"].as_u64().unwrap();
        }
        ids
    }
}

fn secret(number: usize) -> ObjectKey {
    ObjectKey::new(format!(
        "/registry/secrets/ns-{:02}/{number:06}",
        number % 20
    ))
    .unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}
