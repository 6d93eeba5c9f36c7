//! The store.

use core::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use kms_core::object::{
    FetchOptions, HistoryOptions, HistoryPage, LeaseId, ObjectKey, ObjectSource, ObjectStore,
    Revision, ScanOptions, ScanPage, StoreIdentity, StoredObject, Swap, SwapOutcome,
};
use kms_core::{CallOptions, Error, ErrorKind};

use super::state::State;

/// A store in memory that behaves as etcd does: one counter of revisions, reads at past
/// revisions, leases that are kept, compaction.
///
/// A read copies what it returns, at most one page. Every change is kept until it is compacted,
/// by [`compact`](EmbeddedStore::compact) or, beyond a number of revisions
/// ([`with_history`](EmbeddedStore::with_history)), by itself; either costs a constant amount of
/// work for each revision. Leases are noted and never run out. No call waits, so deadlines
/// are not looked at.
pub struct EmbeddedStore {
    name: String,
    cluster_id: Option<String>,
    history: u64,
    state: RwLock<State>,
}

impl EmbeddedStore {
    /// The longest value, in bytes: 1.5 MiB, what etcd takes by default.
    pub const MAX_VALUE_LEN: usize = 1536 * 1024;
    /// How many past revisions are kept unless told otherwise.
    pub const DEFAULT_HISTORY: u64 = 100_000;

    /// An empty store.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            cluster_id: None,
            history: Self::DEFAULT_HISTORY,
            state: RwLock::new(State::new()),
        }
    }

    /// Sets the cluster id that the store's identity shows.
    #[must_use]
    pub fn with_cluster_id(mut self, cluster_id: impl Into<String>) -> Self {
        self.cluster_id = Some(cluster_id.into());
        self
    }

    /// Sets how many past revisions are kept; with zero, only the newest state is.
    #[must_use]
    pub const fn with_history(mut self, revisions: u64) -> Self {
        self.history = revisions;
        self
    }

    /// Stores an object, whatever was there; its lease is the one given.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the value is over
    /// [`MAX_VALUE_LEN`](EmbeddedStore::MAX_VALUE_LEN).
    pub fn put(
        &self,
        key: &ObjectKey,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Error> {
        self.check(&value)?;
        self.change(&mut self.writing(), key, Some(value), lease)
    }

    /// Deletes an object; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the store ran out of revisions.
    pub fn delete(&self, key: &ObjectKey) -> Result<Option<Revision>, Error> {
        let mut state = self.writing();
        if state.current(key).is_none() {
            return Ok(None);
        }
        self.change(&mut state, key, None, None).map(Some)
    }

    /// Forgets what only reads before `revision` would need. Such reads are refused from now on,
    /// reads at `revision` are not. Does nothing if that much is forgotten already.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the revision is not reached yet.
    pub fn compact(&self, revision: Revision) -> Result<(), Error> {
        let mut state = self.writing();
        if revision > state.revision() {
            return Err(self.fault(
                ErrorKind::InvalidInput,
                "the revision to compact to is not reached yet",
            ));
        }
        state.compact(revision.get());
        Ok(())
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.reading().revision()
    }

    /// How many objects a scan comes to, whatever the limits of its pages. Goes over all of them,
    /// which is why a scan itself does not tell.
    ///
    /// # Errors
    ///
    /// As a scan: [`ErrorKind::Compacted`] for a revision that is forgotten, and
    /// [`ErrorKind::InvalidInput`] for one that is not reached yet.
    pub fn count(&self, options: &ScanOptions) -> Result<u64, Error> {
        self.reading()
            .count(options)
            .map_err(|error| error.with_provider(self.to_string()))
    }

    /// How many changes are kept, those that are not superseded included.
    #[must_use]
    pub fn kept_changes(&self) -> usize {
        self.reading().kept()
    }

    fn change(
        &self,
        state: &mut State,
        key: &ObjectKey,
        value: Option<Vec<u8>>,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Error> {
        let revision = state
            .write(key, value, lease)
            .map_err(|error| error.with_provider(self.to_string()))?;
        state.compact(revision.get().saturating_sub(self.history));
        Ok(revision)
    }

    fn check(&self, value: &[u8]) -> Result<(), Error> {
        if value.len() <= Self::MAX_VALUE_LEN {
            return Ok(());
        }
        Err(self.fault(
            ErrorKind::InvalidInput,
            "the value of an object is over 1572864 bytes",
        ))
    }

    fn fault(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).with_provider(self.to_string())
    }

    /// A panic elsewhere leaves nothing half done, as nothing that changes the state can panic.
    fn reading(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "embedded store {}", self.name)
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("name", &self.name)
            .field("cluster_id", &self.cluster_id)
            .field("revision", &self.revision().get())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectSource for EmbeddedStore {
    async fn identity(&self, _options: &CallOptions) -> Result<StoreIdentity, Error> {
        let mut identity = StoreIdentity::new("embedded", &self.name, self.revision(), true);
        identity.cluster_id.clone_from(&self.cluster_id);
        Ok(identity)
    }

    async fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Error> {
        self.reading()
            .scan(options)
            .map_err(|error| error.with_provider(self.to_string()))
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        options: &FetchOptions,
    ) -> Result<Option<StoredObject>, Error> {
        let state = self.reading();
        let at = state
            .readable(options.at)
            .map_err(|error| error.with_provider(self.to_string()))?;
        Ok(state.object_at(key, at))
    }

    async fn history(&self, options: &HistoryOptions) -> Result<HistoryPage, Error> {
        Ok(self.reading().history(options))
    }
}

#[async_trait]
impl ObjectStore for EmbeddedStore {
    async fn compare_and_swap(
        &self,
        key: &ObjectKey,
        swap: &Swap,
        _options: &CallOptions,
    ) -> Result<SwapOutcome, Error> {
        self.check(swap.value().unwrap_or_default())?;
        let value = swap.value().map(<[u8]>::to_vec);
        let mut state = self.writing();
        let current = state.current(key);
        let found = current.map(|(revision, _)| revision);
        if found != swap.expected() {
            return Ok(SwapOutcome::Changed { current: found });
        }
        let lease = current
            .and_then(|(_, lease)| lease)
            .filter(|_| value.is_some());
        let revision = self.change(&mut state, key, value, lease)?;
        Ok(SwapOutcome::Swapped { revision })
    }
}
