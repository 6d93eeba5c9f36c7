//! Behaviour of stored values, of the configuration that says how they are stored, and of the caches.

mod allocations;
#[cfg(feature = "arbitrary")]
mod arbitrary;
mod cache;
mod config;
mod convergence;
mod envelope;
mod laws;
mod pitfalls;
mod plan;
mod published;
mod reading;
mod sealed;
mod state;
#[path = "../support/mod.rs"]
mod support;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use kms_core::OsRandom;
use kms_envelope::kubernetes::{Transformer, TransformerBuilder};
use serde_json::{Value, json};
use support::{ManualClock, Plugin, configuration};

const ETCD_KEY: &[u8] = b"/registry/secrets/default/demo";

/// No test waits for anything: a future is ready when it is asked, or something is wrong.
fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("nothing to wait for")
}

fn kms(version: &str, name: &str) -> Value {
    json!({ "kms": { "apiVersion": version, "name": name, "endpoint": "unix:///run/kms.sock" } })
}

fn local(provider: &str, keys: &[(&str, &[u8])]) -> Value {
    use base64::Engine as _;
    let keys: Vec<Value> = keys
        .iter()
        .map(|(name, secret)| {
            let secret = base64::engine::general_purpose::STANDARD.encode(secret);
            json!({ "name": name, "secret": secret })
        })
        .collect();
    json!({ provider: { "keys": keys } })
}

fn identity() -> Value {
    json!({ "identity": {} })
}

/// A cluster of one: a list of providers, a plugin behind every KMS, and a clock.
struct Cluster {
    transformer: Transformer,
    plugin: Arc<Plugin>,
    clock: Arc<ManualClock>,
}

impl Cluster {
    /// Has no state yet.
    fn cold(providers: Value) -> Self {
        Self::with(providers, plugin(), |builder| builder)
    }

    fn new(providers: Value) -> Self {
        let cluster = Self::cold(providers);
        now(cluster.transformer.refresh()).unwrap();
        cluster
    }

    fn with(
        providers: Value,
        plugin: Arc<Plugin>,
        options: impl FnOnce(TransformerBuilder<'_>) -> TransformerBuilder<'_>,
    ) -> Self {
        let configuration = configuration(&providers);
        let clock = Arc::new(ManualClock::default());
        let mut builder = Transformer::builder(
            &configuration.resources[0].providers,
            Arc::clone(&clock) as _,
            Arc::new(OsRandom),
        );
        for provider in providers.as_array().unwrap() {
            if let Some(kms) = provider.get("kms") {
                builder = builder.kms(kms["name"].as_str().unwrap(), Arc::clone(&plugin) as _);
            }
        }
        let transformer = options(builder).build().unwrap();
        Self {
            transformer,
            plugin,
            clock,
        }
    }

    fn write(&self, plaintext: &[u8]) -> Vec<u8> {
        now(self.transformer.write(ETCD_KEY, plaintext)).unwrap()
    }

    fn advance(&self, seconds: u64) {
        *self.clock.0.lock().unwrap() += Duration::from_secs(seconds);
    }
}

fn plugin() -> Arc<Plugin> {
    Arc::new(Plugin::new("key-1", [("key-1".to_owned(), [7; 32])]))
}

fn set(switch: &AtomicBool, yes: bool) {
    switch.store(yes, Ordering::Relaxed);
}

fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}
