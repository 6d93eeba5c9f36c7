//! A store that asks a test before and after each call.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kms_cluster::embedded::EmbeddedStore;
use kms_core::object::{
    FetchOptions, HistoryOptions, HistoryPage, ObjectKey, ObjectSource, ObjectStore, ScanOptions,
    ScanPage, StoreIdentity, StoredObject, Swap, SwapOutcome,
};
use kms_core::{CallOptions, Error, ErrorKind};
use tokio::sync::Notify;

use super::Cluster;

/// A call to the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    Identity,
    Scan,
    Fetch(ObjectKey),
    Swap(ObjectKey),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reaction {
    Pass,
    /// It fails, and nothing happens.
    Fail(ErrorKind),
    /// It happens, and fails all the same.
    Lose(ErrorKind),
    /// The process dies, and nothing happens.
    Die,
    /// It happens, and the process dies.
    DieAfter,
}

type Hook = dyn FnMut(&Call) -> Reaction + Send;

pub(crate) struct Hooked {
    inner: Arc<EmbeddedStore>,
    hook: Mutex<Box<Hook>>,
    death: Arc<Notify>,
}

/// What happens to whoever is dead.
pub(crate) async fn die<T>(death: &Notify) -> T {
    death.notify_one();
    std::future::pending().await
}

impl Hooked {
    pub(crate) fn new(
        cluster: &Cluster,
        hook: impl FnMut(&Call) -> Reaction + Send + 'static,
    ) -> Self {
        Self {
            inner: Arc::clone(&cluster.store),
            hook: Mutex::new(Box::new(hook)),
            death: Arc::clone(&cluster.death),
        }
    }

    async fn react<T>(
        &self,
        call: &Call,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let reaction = (self.hook.lock().unwrap())(call);
        let injected = |kind| Error::new(kind, "injected fault");
        match reaction {
            Reaction::Pass => work.await,
            Reaction::Fail(kind) => Err(injected(kind)),
            Reaction::Lose(kind) => {
                work.await?;
                Err(injected(kind))
            }
            Reaction::Die => die(&self.death).await,
            Reaction::DieAfter => {
                work.await?;
                die(&self.death).await
            }
        }
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl fmt::Display for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectSource for Hooked {
    async fn identity(&self, options: &CallOptions) -> Result<StoreIdentity, Error> {
        self.react(&Call::Identity, self.inner.identity(options))
            .await
    }

    async fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Error> {
        self.react(&Call::Scan, self.inner.scan(options)).await
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        options: &FetchOptions,
    ) -> Result<Option<StoredObject>, Error> {
        let call = Call::Fetch(key.clone());
        self.react(&call, self.inner.fetch(key, options)).await
    }

    async fn history(&self, options: &HistoryOptions) -> Result<HistoryPage, Error> {
        self.inner.history(options).await
    }
}

#[async_trait]
impl ObjectStore for Hooked {
    async fn compare_and_swap(
        &self,
        key: &ObjectKey,
        swap: &Swap,
        options: &CallOptions,
    ) -> Result<SwapOutcome, Error> {
        let call = Call::Swap(key.clone());
        let work = self.inner.compare_and_swap(key, swap, options);
        self.react(&call, work).await
    }
}
