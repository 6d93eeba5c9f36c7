//! A store with leases, on a clock that a test is in charge of, and as slow as it is told to be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kms_cluster::embedded::EmbeddedStore;
use kms_core::object::{
    FetchOptions, GrantedLease, LeaseId, LeaseStore, ObjectKey, ObjectSource, ObjectStore,
    ScanOptions, ScanPage, StoreIdentity, StoredObject, Swap, SwapOutcome,
};
use kms_core::{CallOptions, Clock as _, Error, ErrorKind, Tick};
use kms_testkit::ManualClock;

use super::Cluster;

/// All that the stores of several workers have in common.
#[derive(Default)]
pub(crate) struct Leases {
    next: i64,
    live: BTreeMap<i64, Lease>,
}

struct Lease {
    expires: Tick,
    time_to_live: Duration,
    keys: Vec<ObjectKey>,
}

/// One worker's way to the store.
pub(crate) struct Leased {
    inner: Arc<EmbeddedStore>,
    clock: ManualClock,
    leases: Arc<Mutex<Leases>>,
    /// Before each swap of an object of the API server's, and of the workers'.
    pub(crate) swap_takes: Duration,
    /// Until then no call comes through.
    pub(crate) asleep_until: Mutex<Tick>,
    /// Of so many swaps the answer to one is lost.
    pub(crate) loses_one_in: Option<u64>,
    swaps: Mutex<u64>,
}

impl Leased {
    pub(crate) fn new(cluster: &Cluster, leases: &Arc<Mutex<Leases>>) -> Self {
        Self {
            inner: Arc::clone(&cluster.store),
            clock: cluster.clock.clone(),
            leases: Arc::clone(leases),
            swap_takes: Duration::ZERO,
            asleep_until: Mutex::new(Tick::ORIGIN),
            loses_one_in: None,
            swaps: Mutex::new(0),
        }
    }

    async fn before(&self) {
        let until = *self.asleep_until.lock().unwrap();
        self.clock.sleep_until(until).await;
        let now = self.clock.now();
        let mut leases = self.leases.lock().unwrap();
        let dead: Vec<_> = leases
            .live
            .iter()
            .filter(|(_, lease)| lease.expires <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in dead {
            for key in leases.live.remove(&id).unwrap().keys {
                self.inner.delete(&key).unwrap();
            }
        }
    }
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl fmt::Display for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectSource for Leased {
    async fn identity(&self, options: &CallOptions) -> Result<StoreIdentity, Error> {
        self.before().await;
        self.inner.identity(options).await
    }

    async fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Error> {
        self.before().await;
        self.inner.scan(options).await
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        options: &FetchOptions,
    ) -> Result<Option<StoredObject>, Error> {
        self.before().await;
        self.inner.fetch(key, options).await
    }
}

#[async_trait]
impl ObjectStore for Leased {
    async fn compare_and_swap(
        &self,
        key: &ObjectKey,
        swap: &Swap,
        options: &CallOptions,
    ) -> Result<SwapOutcome, Error> {
        self.clock
            .sleep_until(self.clock.now() + self.swap_takes)
            .await;
        self.before().await;
        let outcome = self.inner.compare_and_swap(key, swap, options).await?;
        let mut swaps = self.swaps.lock().unwrap();
        *swaps += 1;
        match self.loses_one_in {
            Some(of) if (*swaps).is_multiple_of(of) => {
                Err(Error::new(ErrorKind::Unavailable, "lost"))
            }
            _ => Ok(outcome),
        }
    }
}

#[async_trait]
impl LeaseStore for Leased {
    async fn grant_lease(
        &self,
        time_to_live: Duration,
        _options: &CallOptions,
    ) -> Result<GrantedLease, Error> {
        self.before().await;
        let mut leases = self.leases.lock().unwrap();
        leases.next += 1;
        let id = leases.next;
        let lease = Lease {
            expires: self.clock.now() + time_to_live,
            time_to_live,
            keys: Vec::new(),
        };
        leases.live.insert(id, lease);
        Ok(GrantedLease::new(LeaseId::new(id).unwrap(), time_to_live))
    }

    async fn keep_lease_alive(
        &self,
        lease: LeaseId,
        _options: &CallOptions,
    ) -> Result<Option<Duration>, Error> {
        self.before().await;
        let mut leases = self.leases.lock().unwrap();
        let now = self.clock.now();
        Ok(leases.live.get_mut(&lease.get()).map(|lease| {
            lease.expires = now + lease.time_to_live;
            lease.time_to_live
        }))
    }

    async fn revoke_lease(&self, lease: LeaseId, _options: &CallOptions) -> Result<(), Error> {
        self.before().await;
        let lease = self.leases.lock().unwrap().live.remove(&lease.get());
        for key in lease.into_iter().flat_map(|lease| lease.keys) {
            self.inner.delete(&key)?;
        }
        Ok(())
    }

    async fn create_with_lease(
        &self,
        key: &ObjectKey,
        value: Vec<u8>,
        lease: LeaseId,
        options: &CallOptions,
    ) -> Result<SwapOutcome, Error> {
        self.before().await;
        if !self.leases.lock().unwrap().live.contains_key(&lease.get()) {
            return Err(Error::new(ErrorKind::Conflict, "no such lease"));
        }
        let swap = Swap::Create { value };
        let outcome = self.inner.compare_and_swap(key, &swap, options).await?;
        if outcome.swapped().is_some() {
            let mut leases = self.leases.lock().unwrap();
            let lease = leases.live.get_mut(&lease.get()).unwrap();
            lease.keys.push(key.clone());
        }
        Ok(outcome)
    }
}
