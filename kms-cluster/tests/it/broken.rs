//! The suite finds each of these faults: a suite that cannot fail proves nothing.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_cluster::embedded::EmbeddedStore;
use kms_core::object::{
    FetchOptions, HistoryOptions, HistoryPage, LeaseId, ObjectKey, ObjectSource, ObjectStore,
    Revision, ScanOptions, ScanPage, StoreIdentity, StoredObject, Swap, SwapOutcome,
};
use kms_core::{CallOptions, Error, ErrorKind};
use kms_testkit::objects::{StoreHarness, run_store};

use crate::embedded::Embedded;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Begins a page one object too late.
    SkipsAtCursor,
    /// Begins a page with the object the last one ended with.
    RepeatsAtCursor,
    /// Says after one page that it was the last.
    StopsEarly,
    /// Leaves out an object in the middle, without a trace.
    LeavesGap,
    /// Gives a page in another order.
    Reverses,
    /// Takes `/registry/secrets/` for `/registry/secrets`.
    LongPrefix,
    /// Does not stop at the end of a range.
    IgnoresThrough,
    IgnoresPageBytes,
    MiscountsRemaining,
    /// Reads the newest state and calls it the one that was asked for.
    FakesRevision,
    /// Reads at the newest revision if the one asked for is compacted.
    HidesCompaction,
    /// Reads at the newest revision if the one asked for is not reached.
    HidesFuture,
    /// Reads the objects of a page one after the other.
    Torn,
    /// Lags one revision behind.
    Lags,
    CutsValues,
    FetchesNeighbour,
    IdentityIsOld,
    Talkative,
    /// Swaps whatever is there.
    IgnoresExpected,
    /// Looks first, then writes.
    LooksThenWrites,
    /// Creates over what is there.
    CreatesOver,
    DropsLease,
    /// Saves itself writing the same bytes.
    SkipsSameBytes,
    /// Says that the object is gone whenever a swap is lost.
    MisreportsLoss,
    /// Says that a lost swap happened.
    HidesLoss,
    ForgetsDeletions,
    /// Writes half of the value, and a little later all of it.
    WritesInHalves,
}

struct Broken {
    inner: EmbeddedStore,
    fault: Fault,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fault == Fault::Talkative {
            let all = ScanOptions::default();
            for object in futures_now(self.inner.scan(&all)).unwrap().objects {
                write!(f, "{:?}", object.value)?;
            }
        }
        f.write_str("broken")
    }
}

/// The result of a future that does not wait.
fn futures_now<T>(future: impl Future<Output = T>) -> T {
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    match core::pin::pin!(future).as_mut().poll(&mut context) {
        core::task::Poll::Ready(value) => value,
        core::task::Poll::Pending => panic!("the embedded store waits"),
    }
}

impl Broken {
    fn newest_if(&self, at: &mut Option<Revision>, kind: ErrorKind) {
        let options = ScanOptions::default().with_at(*at);
        if futures_now(self.inner.scan(&options)).is_err_and(|error| error.kind() == kind) {
            *at = None;
        }
    }

    async fn spoil(&self, page: &mut ScanPage, options: &ScanOptions) -> Result<(), Error> {
        match self.fault {
            Fault::SkipsAtCursor if options.after.is_some() && page.objects.len() > 1 => {
                page.objects.remove(0);
            }
            Fault::StopsEarly => page.next = None,
            Fault::LeavesGap if page.objects.len() > 2 => {
                page.objects.remove(1);
            }
            Fault::Reverses => page.objects.reverse(),
            Fault::MiscountsRemaining => page.remaining = Some(1),
            Fault::CutsValues => {
                for object in &mut page.objects {
                    object.value.truncate(65_536);
                }
            }
            Fault::Torn => {
                for object in &mut page.objects {
                    tokio::task::yield_now().await;
                    let newest = FetchOptions::default();
                    if let Some(now) = self.inner.fetch(&object.key, &newest).await? {
                        *object = now;
                    }
                }
                page.revision = page.revision.max(self.inner.revision());
            }
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectSource for Broken {
    async fn identity(&self, options: &CallOptions) -> Result<StoreIdentity, Error> {
        let mut identity = self.inner.identity(options).await?;
        if self.fault == Fault::IdentityIsOld {
            identity.revision = Revision::new(1);
        }
        Ok(identity)
    }

    async fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Error> {
        let mut asked = options.clone();
        match self.fault {
            Fault::RepeatsAtCursor => asked.after = None,
            Fault::LongPrefix => {
                asked.prefix.pop();
            }
            Fault::IgnoresThrough => asked.through = None,
            Fault::IgnoresPageBytes => asked.page_bytes = usize::MAX,
            Fault::FakesRevision | Fault::Torn => asked.at = None,
            Fault::HidesCompaction => self.newest_if(&mut asked.at, ErrorKind::Compacted),
            Fault::HidesFuture => self.newest_if(&mut asked.at, ErrorKind::InvalidInput),
            Fault::Lags if asked.at.is_none() => {
                asked.at = Some(Revision::new(self.inner.revision().get().max(2) - 1));
            }
            _ => {}
        }
        let mut page = self.inner.scan(&asked).await?;
        self.spoil(&mut page, options).await?;
        if matches!(
            self.fault,
            Fault::FakesRevision | Fault::HidesCompaction | Fault::HidesFuture
        ) {
            page.revision = options.at.unwrap_or(page.revision);
        }
        Ok(page)
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        options: &FetchOptions,
    ) -> Result<Option<StoredObject>, Error> {
        let mut asked = options.clone();
        match self.fault {
            Fault::HidesCompaction => self.newest_if(&mut asked.at, ErrorKind::Compacted),
            Fault::HidesFuture => self.newest_if(&mut asked.at, ErrorKind::InvalidInput),
            Fault::FetchesNeighbour => {
                let from = ScanOptions::default().with_prefix(key.as_bytes());
                return Ok(self.inner.scan(&from).await?.objects.into_iter().next());
            }
            _ => {}
        }
        self.inner.fetch(key, &asked).await
    }

    async fn history(&self, options: &HistoryOptions) -> Result<HistoryPage, Error> {
        let mut page = self.inner.history(options).await?;
        if self.fault == Fault::ForgetsDeletions {
            page.records.retain(|record| record.value.is_some());
        }
        Ok(page)
    }
}

#[async_trait]
impl ObjectStore for Broken {
    async fn compare_and_swap(
        &self,
        key: &ObjectKey,
        swap: &Swap,
        options: &CallOptions,
    ) -> Result<SwapOutcome, Error> {
        let found = self.inner.fetch(key, &FetchOptions::default()).await?;
        let lease = found.as_ref().and_then(|object| object.lease);
        let current = found.as_ref().map(|object| object.revision);
        let force = |value: Option<&[u8]>| match value {
            Some(value) => self.inner.put(key, value.to_vec(), lease),
            None => Ok(self.inner.delete(key)?.unwrap_or_default()),
        };
        match (self.fault, swap.value()) {
            (Fault::IgnoresExpected, value) => {
                let revision = force(value)?;
                return Ok(SwapOutcome::Swapped { revision });
            }
            (Fault::LooksThenWrites, value) => {
                tokio::task::yield_now().await;
                if current == swap.expected() {
                    let revision = force(value)?;
                    return Ok(SwapOutcome::Swapped { revision });
                }
            }
            (Fault::CreatesOver, Some(value)) if swap.expected().is_none() => {
                let revision = force(Some(value))?;
                return Ok(SwapOutcome::Swapped { revision });
            }
            (Fault::DropsLease, Some(value)) if current == swap.expected() => {
                let revision = self.inner.put(key, value.to_vec(), None)?;
                return Ok(SwapOutcome::Swapped { revision });
            }
            (Fault::SkipsSameBytes, Some(value)) => {
                if let Some(object) = found
                    && object.value == value
                    && swap.expected() == current
                {
                    let revision = object.revision;
                    return Ok(SwapOutcome::Swapped { revision });
                }
            }
            (Fault::WritesInHalves, Some(value)) if current == swap.expected() => {
                force(Some(&[]))?;
                tokio::task::yield_now().await;
                let revision = force(Some(value))?;
                return Ok(SwapOutcome::Swapped { revision });
            }
            _ => {}
        }
        match self.inner.compare_and_swap(key, swap, options).await? {
            SwapOutcome::Changed { .. } if self.fault == Fault::MisreportsLoss => {
                Ok(SwapOutcome::Changed { current: None })
            }
            SwapOutcome::Changed { current } if self.fault == Fault::HidesLoss => {
                Ok(SwapOutcome::Swapped {
                    revision: current.unwrap_or_default(),
                })
            }
            outcome => Ok(outcome),
        }
    }
}

struct Harness(Fault);

#[async_trait]
impl StoreHarness for Harness {
    type Store = Broken;

    async fn empty_store(&self) -> Result<Arc<Broken>, Error> {
        Ok(Arc::new(Broken {
            inner: EmbeddedStore::new("broken"),
            fault: self.0,
        }))
    }

    async fn put_with_lease(
        &self,
        store: &Broken,
        key: &ObjectKey,
        value: Vec<u8>,
    ) -> Result<Option<LeaseId>, Error> {
        Embedded.put_with_lease(&store.inner, key, value).await
    }

    async fn compact(&self, store: &Broken, revision: Revision) -> Result<bool, Error> {
        Embedded.compact(&store.inner, revision).await
    }
}

const PAGES: &str = "pages of any size give every object once, in byte order";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_suite_finds_each_fault() {
    let cases = [
        (Fault::SkipsAtCursor, PAGES),
        (Fault::RepeatsAtCursor, PAGES),
        (Fault::StopsEarly, PAGES),
        (Fault::LeavesGap, PAGES),
        (Fault::Reverses, PAGES),
        (
            Fault::LongPrefix,
            "a prefix gives what begins with it and no namesake",
        ),
        (
            Fault::IgnoresThrough,
            "ranges tile the keys without gap or overlap",
        ),
        (Fault::IgnoresPageBytes, "a page ends at its bytes"),
        (
            Fault::MiscountsRemaining,
            "what remains is told truly or not at all",
        ),
        (Fault::FakesRevision, "a scan sees no later change"),
        (Fault::HidesCompaction, "a compacted revision is refused"),
        (Fault::HidesFuture, "a revision not reached yet is refused"),
        (Fault::Torn, "a page is of one revision"),
        (Fault::Lags, "a read sees the last change"),
        (Fault::CutsValues, "large and empty values come back whole"),
        (
            Fault::FetchesNeighbour,
            "fetch gives exactly the object of the key",
        ),
        (
            Fault::IdentityIsOld,
            "the identity names the source and its revision",
        ),
        (Fault::Talkative, "no stored value is printed"),
        (
            Fault::IgnoresExpected,
            "only the object as expected is replaced",
        ),
        (
            Fault::IgnoresExpected,
            "only the object as expected is deleted",
        ),
        (Fault::IgnoresExpected, "a repeated swap happens once"),
        (
            Fault::IgnoresExpected,
            "a revision never comes back, deleted and made again",
        ),
        (Fault::LooksThenWrites, "of many swaps at once one happens"),
        (Fault::LooksThenWrites, "no update is lost"),
        (Fault::CreatesOver, "only an absent object is created"),
        (Fault::DropsLease, "a swap keeps the lease"),
        (Fault::SkipsSameBytes, "the same bytes are written again"),
        (
            Fault::MisreportsLoss,
            "only the object as expected is replaced",
        ),
        (Fault::HidesLoss, "of many swaps at once one happens"),
        (
            Fault::ForgetsDeletions,
            "history gives every change in order",
        ),
        (Fault::WritesInHalves, "a dropped swap is whole or nothing"),
    ];
    for (fault, check) in cases {
        let report = run_store(&Harness(fault)).await;
        assert!(
            report.failures().any(|name| name == check),
            "{fault:?}: {check}\n{report}"
        );
    }
}
