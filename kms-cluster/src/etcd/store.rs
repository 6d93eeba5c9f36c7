//! The store.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::object::{
    FetchOptions, HistoryOptions, HistoryPage, ObjectKey, ObjectSource, ObjectStore, Revision,
    ScanOptions, ScanPage, StoreIdentity, StoredObject, Swap, SwapOutcome,
};
use kms_core::{CallOptions, Error, Tick};
use tokio::sync::Mutex;

use super::EtcdOptions;
use super::cluster::{Call, Cluster, FIRST_PAUSE, Repeat};
use super::history::Session;
use super::proto::RangeRequest;
use super::range::Pace;

/// A live etcd. Cloning is cheap; clones share connections and login.
///
/// Reads are linearizable: they see every change that was acknowledged before they began, whichever
/// member answers. A call tries members until one answers or its time is over.
#[derive(Clone)]
pub struct EtcdStore(Arc<Inner>);

struct Inner {
    cluster: Cluster,
    pace: Pace,
    /// The history that was read last, to go on with it on the next page.
    session: Mutex<Option<Session>>,
}

impl EtcdStore {
    /// Connects, logs in if there is a user, and learns which cluster this is. Tries each endpoint
    /// once, so that a wrong one is told at once.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](kms_core::ErrorKind::InvalidInput) if the options cannot work, else why
    /// the last endpoint did not answer; see [the table](crate::etcd#errors).
    pub async fn connect(options: EtcdOptions) -> Result<Self, Error> {
        let store = Self(Arc::new(Inner {
            cluster: Cluster::new(options)?,
            pace: Pace::default(),
            session: Mutex::new(None),
        }));
        let deadline = store.cluster().deadline(&CallOptions::default());
        store
            .newest("connecting", deadline, Repeat::OneRound)
            .await?;
        Ok(store)
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    /// The newest revision.
    async fn newest(&self, what: &str, deadline: Tick, repeat: Repeat) -> Result<Revision, Error> {
        let request = RangeRequest {
            key: self.cluster().identity_key().as_bytes().to_vec(),
            keys_only: true,
            ..RangeRequest::default()
        };
        let call = Call {
            what,
            deadline,
            repeat,
        };
        let answer = self.cluster().range_by(request, call).await?;
        self.cluster().newest(answer.header)
    }

    /// One page of history, from the session at hand if it is where the page begins.
    async fn history_page(
        &self,
        options: &HistoryOptions,
        deadline: Tick,
    ) -> Result<HistoryPage, Error> {
        let inner = &*self.0;
        // Taken out, so that a call that is dropped leaves none that has lost a change.
        let known = inner.session.lock().await.take();
        let mut session = match known.filter(|session| session.serves(options)) {
            Some(session) => session,
            None => {
                let newest = self.newest("a read", deadline, Repeat::Freely).await?;
                Session::open(&inner.cluster, newest, options, deadline).await?
            }
        };
        let page = session
            .page(&inner.cluster, &inner.pace, options, deadline)
            .await?;
        if page.next.is_some() {
            *inner.session.lock().await = Some(session);
        }
        Ok(page)
    }
}

impl fmt::Display for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd {}", self.cluster().name())
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore")
            .field("endpoints", &self.cluster().name())
            .field("cluster_id", &self.cluster().id())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectSource for EtcdStore {
    async fn identity(&self, options: &CallOptions) -> Result<StoreIdentity, Error> {
        let cluster = self.cluster();
        let deadline = cluster.deadline(options);
        let newest = self.newest("a read", deadline, Repeat::Freely).await?;
        let identity = StoreIdentity::new("etcd", cluster.name(), newest, true);
        Ok(match cluster.id() {
            Some(id) => identity.with_cluster_id(format!("{id:016x}")),
            None => identity,
        })
    }

    async fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Error> {
        let inner = &*self.0;
        inner.cluster.scan(options, &inner.pace).await
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        options: &FetchOptions,
    ) -> Result<Option<StoredObject>, Error> {
        let cluster = self.cluster();
        let deadline = cluster.deadline(&options.call);
        let found = cluster.get(key, options.at, deadline).await?;
        found.map(|kv| cluster.object(kv)).transpose()
    }

    async fn history(&self, options: &HistoryOptions) -> Result<HistoryPage, Error> {
        let cluster = self.cluster();
        let deadline = cluster.deadline(&options.call);
        let mut pause = FIRST_PAUSE;
        loop {
            // A watch that breaks ends what was read of it; the page begins again elsewhere.
            match self.history_page(options, deadline).await {
                Err(error)
                    if error.kind() == kms_core::ErrorKind::Unavailable
                        && cluster.has_time(deadline) =>
                {
                    cluster.pause(&mut pause, deadline).await;
                }
                page => return page,
            }
        }
    }
}

#[async_trait]
impl ObjectStore for EtcdStore {
    /// A change whose answer is lost is looked for before it is tried again, elsewhere if need
    /// be. If nobody can tell whether it happened, because the object holds what it was to hold or
    /// has changed more than once, that is [`Unavailable`](kms_core::ErrorKind::Unavailable).
    async fn compare_and_swap(
        &self,
        key: &ObjectKey,
        swap: &Swap,
        options: &CallOptions,
    ) -> Result<SwapOutcome, Error> {
        self.cluster().swap(key, swap, None, options).await
    }
}
