//! The KMS v2 state machine: what kube-apiserver does in each condition of its plugin.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Error, KeyInfo, KeyProvider, OsRandom, SecretBytes, UnwrapOptions,
    WrapOptions, WrappedKey,
};
use kms_envelope::ErrorKind;
use kms_envelope::kubernetes::Transformer;
use kms_envelope::reencrypt::{Reencryptor as _, TargetSelector, TransformerPair};
use serde_json::json;

use crate::support::{ManualClock, Plugin, configuration};
use crate::{Cluster, ETCD_KEY, count, identity, kms, now, plugin, set};

const TTL: u64 = 180;

fn cluster() -> Cluster {
    Cluster::new(json!([kms("v2", "lab"), identity()]))
}

impl Cluster {
    fn write_fails(&self) -> ErrorKind {
        now(self.transformer.write(ETCD_KEY, b"x"))
            .unwrap_err()
            .kind()
    }

    fn read(&self, value: &[u8]) -> Result<bool, ErrorKind> {
        now(self.transformer.read(ETCD_KEY, value))
            .map(|opened| opened.is_stale())
            .map_err(|error| error.kind())
    }

    fn refresh(&self) -> Result<(), ErrorKind> {
        now(self.transformer.refresh()).map_err(|error| error.kind())
    }
}

/// A value under a seed that another API server made.
fn from_elsewhere(plugin: &Arc<Plugin>) -> Vec<u8> {
    let other = Cluster::with(json!([kms("v2", "lab")]), Arc::clone(plugin), |builder| {
        builder
    });
    now(other.transformer.refresh()).unwrap();
    other.write(b"from elsewhere")
}

#[test]
fn without_a_state_nothing_is_read_or_written() {
    let plugin = plugin();
    let value = from_elsewhere(&plugin);
    let cluster = Cluster::with(json!([kms("v2", "lab")]), plugin, |builder| builder);
    assert_eq!(cluster.read(&value), Err(ErrorKind::NotReady));
    assert_eq!(cluster.write_fails(), ErrorKind::NotReady);
    // Down at the start.
    set(&cluster.plugin.status_fails, true);
    assert_eq!(cluster.refresh(), Err(ErrorKind::Provider));
    assert_eq!(cluster.read(&value), Err(ErrorKind::NotReady));
    // A key that can only decrypt does not do.
    set(&cluster.plugin.status_fails, false);
    set(&cluster.plugin.wrap_fails, true);
    assert_eq!(cluster.refresh(), Err(ErrorKind::Provider));
    assert_eq!(cluster.read(&value), Err(ErrorKind::NotReady));
    assert_eq!(cluster.transformer.kms_write_state("lab"), None);
    set(&cluster.plugin.wrap_fails, false);
    assert_eq!(cluster.refresh(), Ok(()));
    assert_eq!(cluster.read(&value), Ok(false));
}

#[test]
fn writing_never_calls_the_plugin() {
    let cluster = cluster();
    for _ in 0..100 {
        let value = cluster.write(b"x");
        assert_eq!(cluster.read(&value), Ok(false));
    }
    assert_eq!(count(&cluster.plugin.statuses), 1);
    assert_eq!(count(&cluster.plugin.wraps), 1);
    assert_eq!(count(&cluster.plugin.unwraps), 0);
}

#[test]
fn a_plugin_that_goes_down_stops_writes_after_three_minutes_and_reads_never() {
    let cluster = cluster();
    let elsewhere = from_elsewhere(&cluster.plugin);
    let other = from_elsewhere(&cluster.plugin);
    assert_eq!(cluster.read(&elsewhere), Ok(false));
    for switch in [
        &cluster.plugin.status_fails,
        &cluster.plugin.wrap_fails,
        &cluster.plugin.unwrap_fails,
    ] {
        set(switch, true);
    }
    cluster.advance(TTL - 1);
    assert_eq!(cluster.refresh(), Err(ErrorKind::Provider));
    let value = cluster.write(b"x");
    cluster.advance(1);
    assert_eq!(cluster.write_fails(), ErrorKind::NotReady);
    assert_eq!(cluster.read(&value), Ok(false));
    assert_eq!(cluster.read(&elsewhere), Ok(false));
    assert_eq!(cluster.read(&other), Err(ErrorKind::Provider));
    // Its own seed is known for as long as it lives; others are for a day.
    cluster.advance(24 * 60 * 60);
    assert_eq!(cluster.read(&value), Ok(false));
    assert_eq!(cluster.read(&elsewhere), Err(ErrorKind::Provider));
}

#[test]
fn the_same_key_id_extends_and_revives_without_a_new_seed() {
    let cluster = cluster();
    cluster.advance(TTL - 1);
    assert_eq!(cluster.refresh(), Ok(()));
    cluster.advance(TTL - 1);
    cluster.write(b"x");
    cluster.advance(TTL);
    assert_eq!(cluster.write_fails(), ErrorKind::NotReady);
    assert_eq!(cluster.refresh(), Ok(()));
    cluster.write(b"x");
    assert_eq!(count(&cluster.plugin.wraps), 1);
}

#[test]
fn a_new_key_id_makes_a_new_seed_and_old_values_stale() {
    let cluster = cluster();
    let old = cluster.write(b"x");
    cluster.plugin.rotate_to("key-2");
    assert_eq!(cluster.read(&old), Ok(false), "not noticed yet");
    assert_eq!(cluster.refresh(), Ok(()));
    assert_eq!(cluster.read(&old), Ok(true));
    assert_eq!(count(&cluster.plugin.unwraps), 0, "the old seed is known");
    let new = cluster.write(b"x");
    assert_eq!(cluster.read(&new), Ok(false));
    let state = cluster.transformer.kms_write_state("lab").unwrap();
    assert_eq!(state.key_id.as_str(), "key-2");
}

#[test]
fn a_new_key_id_that_cannot_encrypt_leaves_the_old_seed_until_it_expires() {
    let cluster = cluster();
    cluster.plugin.rotate_to("key-2");
    set(&cluster.plugin.wrap_fails, true);
    cluster.advance(60);
    assert_eq!(cluster.refresh(), Err(ErrorKind::Provider));
    let value = cluster.write(b"x");
    cluster.advance(TTL - 60);
    assert_eq!(cluster.refresh(), Err(ErrorKind::Provider));
    assert_eq!(cluster.write_fails(), ErrorKind::NotReady);
    assert_eq!(cluster.read(&value), Ok(false));
}

#[test]
fn an_encrypt_under_another_key_id_is_thrown_away() {
    let cluster = cluster();
    cluster.plugin.rotate_to("key-2");
    *cluster.plugin.wraps_as.lock().unwrap() = Some("key-1".to_owned());
    assert_eq!(cluster.refresh(), Err(ErrorKind::KeyIdMismatch));
    let value = cluster.write(b"x");
    assert_eq!(cluster.read(&value), Ok(false), "still under key-1");
    cluster.advance(TTL);
    assert_eq!(cluster.write_fails(), ErrorKind::NotReady);
}

/// A plugin that looks for a new key when it is to encrypt, and not when it is asked for its Status.
#[derive(Debug)]
struct Late(Arc<Plugin>);

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[async_trait]
impl KeyProvider for Late {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.0.current_key(options).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.0.rotate_to("key-2");
        self.0.wrap(dek, options).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.0.unwrap(wrapped, options).await
    }
}

/// kube-apiserver throws the Encrypt away that moved the key, and asks again at its next poll; what
/// re-encrypts asks again at once, and once only.
#[test]
fn a_key_that_is_being_rotated_is_asked_for_once_more() {
    let configuration = configuration(&json!([kms("v2", "lab")]));
    let providers: Vec<_> = configuration.resources[0].providers.iter().collect();
    let refresh = |provider: Arc<dyn KeyProvider>| {
        let builder = |list: Vec<_>| {
            Transformer::builder(list, Arc::new(ManualClock::default()), Arc::new(OsRandom))
                .kms("lab", Arc::clone(&provider))
        };
        let target = TargetSelector::default();
        let pair = TransformerPair::new(&providers, &target, "secrets", builder).unwrap();
        let refreshed = now(pair.refresh()).map_err(|error| error.kind());
        let target = pair.target();
        refreshed.map(|()| target.unwrap().key_id().unwrap().to_string())
    };
    let late = plugin();
    assert_eq!(
        refresh(Arc::new(Late(Arc::clone(&late)))).as_deref(),
        Ok("key-2")
    );
    assert_eq!((count(&late.statuses), count(&late.wraps)), (2, 2));

    let broken = plugin();
    *broken.wraps_as.lock().unwrap() = Some("key-2".to_owned());
    let provider: Arc<dyn KeyProvider> = broken.clone();
    assert_eq!(refresh(provider), Err(ErrorKind::KeyIdMismatch));
    assert_eq!((count(&broken.statuses), count(&broken.wraps)), (2, 2));
    assert!(ErrorKind::KeyIdMismatch.remedy().contains("try again"));
}

#[test]
fn decrypt_failing_alone_stops_new_seeds_only() {
    let cluster = cluster();
    let known = from_elsewhere(&cluster.plugin);
    let unknown = from_elsewhere(&cluster.plugin);
    assert_eq!(cluster.read(&known), Ok(false));
    set(&cluster.plugin.unwrap_fails, true);
    assert_eq!(cluster.refresh(), Ok(()));
    assert_eq!(cluster.read(&known), Ok(false));
    assert_eq!(cluster.read(&unknown), Err(ErrorKind::Provider));
    cluster.write(b"x");
}

#[test]
fn one_failing_provider_does_not_keep_the_others_from_being_asked() {
    let configuration = configuration(&json!([kms("v2", "down"), kms("v2", "up")]));
    let (down, up) = (plugin(), plugin());
    set(&down.status_fails, true);
    let transformer = Transformer::builder(
        &configuration.resources[0].providers,
        Arc::new(ManualClock::default()),
        Arc::new(OsRandom),
    )
    .kms("down", down)
    .kms("up", up)
    .build()
    .unwrap();
    let error = now(transformer.refresh()).unwrap_err();
    assert!(error.message().contains("down"), "{error}");
    assert_eq!(transformer.kms_write_state("down"), None);
    assert!(transformer.kms_write_state("up").is_some());
}

#[test]
fn the_limits_of_what_a_plugin_returns() {
    for (name, value, good) in [
        ("a.example.com", vec![0; 32_755], true),
        ("not_fqdn", vec![], false),
        ("single", vec![], false),
        ("a.example.com/x", vec![], false),
    ] {
        let mut plugin = plugin();
        let annotations = &mut Arc::get_mut(&mut plugin).unwrap().annotations;
        annotations.insert(name.to_owned(), value);
        let cluster = Cluster::with(json!([kms("v2", "lab")]), plugin, |builder| builder);
        let expected = if good {
            Ok(())
        } else {
            Err(ErrorKind::Protocol)
        };
        assert_eq!(cluster.refresh(), expected, "{name}");
        if good {
            let value = cluster.write(b"x");
            assert_eq!(cluster.read(&value), Ok(false));
        }
    }
    for (length, expected) in [(1024, Ok(())), (1025, Err(ErrorKind::Protocol))] {
        let providers = json!([kms("v2", "lab")]);
        let configuration = configuration(&providers);
        let transformer = Transformer::builder(
            &configuration.resources[0].providers,
            Arc::new(ManualClock::default()),
            Arc::new(OsRandom),
        )
        .kms("lab", Arc::new(Slow::with_ciphertext(length)))
        .build()
        .unwrap();
        let refreshed = now(transformer.refresh()).map_err(|error| error.kind());
        assert_eq!(refreshed, expected, "{length}");
    }
}

/// Answers Status late, or wraps as so many bytes.
#[derive(Debug)]
struct Slow {
    inner: Arc<Plugin>,
    held: AtomicBool,
    ciphertext: Option<usize>,
}

impl Slow {
    fn with_ciphertext(length: usize) -> Self {
        Self {
            inner: plugin(),
            held: AtomicBool::new(false),
            ciphertext: Some(length),
        }
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("slow")
    }
}

#[async_trait]
impl KeyProvider for Slow {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        let answer = self.inner.current_key(options).await;
        poll_fn(|_| {
            if self.held.load(Ordering::Relaxed) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        answer
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        match self.ciphertext {
            Some(length) => WrappedKey::new("key-1".parse()?, vec![1; length]),
            None => self.inner.wrap(dek, options).await,
        }
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.inner.unwrap(wrapped, options).await
    }
}

#[test]
fn a_slow_answer_does_not_bring_an_old_key_back() {
    let slow = Arc::new(Slow {
        inner: plugin(),
        held: AtomicBool::new(true),
        ciphertext: None,
    });
    let configuration = configuration(&json!([kms("v2", "lab")]));
    let transformer = Transformer::builder(
        &configuration.resources[0].providers,
        Arc::new(ManualClock::default()),
        Arc::new(OsRandom),
    )
    .kms("lab", Arc::clone(&slow) as _)
    .build()
    .unwrap();

    let mut early = pin!(transformer.refresh());
    let mut context = Context::from_waker(Waker::noop());
    assert!(early.as_mut().poll(&mut context).is_pending());

    set(&slow.held, false);
    slow.inner.rotate_to("key-2");
    now(transformer.refresh()).unwrap();
    // Another replica of the plugin still wraps with the old key.
    *slow.inner.current.lock().unwrap() = "key-1".to_owned();
    now(early).unwrap();
    let state = transformer.kms_write_state("lab").unwrap();
    assert_eq!(state.key_id.as_str(), "key-2");
}

#[test]
fn a_reader_of_backups_needs_unwrap_alone() {
    let plugin = plugin();
    let value = from_elsewhere(&plugin);
    let (statuses, wraps) = (count(&plugin.statuses), count(&plugin.wraps));
    let reader = Cluster::with(json!([kms("v2", "lab")]), plugin, |builder| {
        builder.read_only()
    });
    set(&reader.plugin.wrap_fails, true);
    assert_eq!(reader.read(&value), Ok(true), "not known to be current");
    assert_eq!(count(&reader.plugin.statuses), statuses);
    assert_eq!(reader.refresh(), Ok(()));
    assert_eq!(reader.read(&value), Ok(false));
    reader.plugin.rotate_to("key-2");
    assert_eq!(reader.refresh(), Ok(()));
    assert_eq!(reader.read(&value), Ok(true));
    assert_eq!(count(&reader.plugin.wraps), wraps);
    assert_eq!(reader.write_fails(), ErrorKind::Unsupported);
}
