//! An API server in memory.

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use kms_cluster::embedded::{EmbeddedApi, EmbeddedStore};
use kms_core::object::{
    ApiObject, ApiPage, HistoryOptions, ListOptions, ObjectKey, ObjectSource as _, RewriteOutcome,
    Rewriter,
};
use kms_core::{CallOptions, Clock as _, Error, Tick};
use kms_testkit::ManualClock;

/// What is asked of a server.
#[derive(Clone, Copy)]
pub(crate) enum Call<'c> {
    List(&'c ListOptions),
    Rewrite(&'c ApiObject),
}

/// What a test answers in its place.
pub(crate) enum Reply {
    Fails(Error),
    Outcome(RewriteOutcome),
}

type Hook = Box<dyn FnMut(Call<'_>) -> Option<Reply> + Send>;

/// A server whose objects are stale unless they begin with the number of the key in use.
pub(crate) struct Server {
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) clock: ManualClock,
    pub(crate) generation: Arc<AtomicU8>,
    api: EmbeddedApi,
    hook: Mutex<Option<Hook>>,
    latency: Duration,
    now_at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    /// When each rewrite was asked for, and of which object.
    asked: Mutex<Vec<(Tick, String)>>,
    lists: AtomicUsize,
}

impl Server {
    /// Stale Secrets, in three namespaces.
    pub(crate) fn with_secrets(count: usize) -> Self {
        let store = Arc::new(EmbeddedStore::new("test"));
        let generation = Arc::new(AtomicU8::new(1));
        let current = Arc::clone(&generation);
        let api = EmbeddedApi::new(Arc::clone(&store), move |_, value| {
            let current = current.load(Ordering::SeqCst);
            Ok((value.first() != Some(&current)).then(|| vec![current]))
        });
        let server = Self {
            store,
            clock: ManualClock::new(),
            generation,
            api,
            hook: Mutex::new(None),
            latency: Duration::ZERO,
            now_at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            asked: Mutex::new(Vec::new()),
            lists: AtomicUsize::new(0),
        };
        for namespace in ["a", "a-b", "b"] {
            server.put(&format!("/registry/namespaces/{namespace}"));
        }
        for number in 0..count {
            let namespace = ["a", "a-b", "b"][number % 3];
            server.put(&format!("/registry/secrets/{namespace}/{number:03}"));
        }
        server
    }

    pub(crate) fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Stores an object under no key.
    pub(crate) fn put(&self, key: &str) {
        let key = ObjectKey::new(key).unwrap();
        self.store.put(&key, vec![0], None).unwrap();
    }

    /// What happens before every call; a reply is given instead of the server's own.
    pub(crate) fn on_call(&self, hook: impl FnMut(Call<'_>) -> Option<Reply> + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn undisturbed(&self) {
        *self.hook.lock().unwrap() = None;
    }

    fn before(&self, call: Call<'_>) -> Option<Reply> {
        self.hook
            .lock()
            .unwrap()
            .as_mut()
            .and_then(|hook| hook(call))
    }

    /// How often each Secret was written under a key.
    pub(crate) fn writes(&self) -> BTreeMap<String, usize> {
        let options = HistoryOptions::default().with_page_limit(1_000_000);
        let page = self
            .store
            .history(&options)
            .now_or_never()
            .unwrap()
            .unwrap();
        let mut counts = BTreeMap::new();
        for record in page.records {
            if record.value.is_some_and(|value| value[0] != 0) {
                *counts.entry(record.key.to_string()).or_default() += 1;
            }
        }
        counts
    }

    /// When each rewrite was asked for.
    pub(crate) fn times(&self) -> Vec<Tick> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(at, _)| *at)
            .collect()
    }

    /// How often each object was asked to be rewritten.
    pub(crate) fn asked(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (_, object) in self.asked.lock().unwrap().iter() {
            *counts.entry(object.clone()).or_default() += 1;
        }
        counts
    }

    pub(crate) fn rewrites(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub(crate) fn lists(&self) -> usize {
        self.lists.load(Ordering::SeqCst)
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Rewriter for Server {
    async fn list(&self, options: &ListOptions) -> Result<ApiPage, Error> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        match self.before(Call::List(options)) {
            Some(Reply::Fails(error)) => Err(error),
            _ => self.api.list(options).await,
        }
    }

    async fn rewrite(
        &self,
        object: &ApiObject,
        options: &CallOptions,
    ) -> Result<RewriteOutcome, Error> {
        let now = self.clock.now();
        self.asked.lock().unwrap().push((now, object.to_string()));
        let at_once = self.now_at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        self.clock.sleep_until(now + self.latency).await;
        self.now_at_once.fetch_sub(1, Ordering::SeqCst);
        match self.before(Call::Rewrite(object)) {
            Some(Reply::Fails(error)) => Err(error),
            Some(Reply::Outcome(outcome)) => Ok(outcome),
            None => self.api.rewrite(object, options).await,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("test server")
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}
