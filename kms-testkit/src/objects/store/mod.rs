//! The suite for whatever can be compared and swapped.

mod revisions;
mod writing;

use std::sync::Arc;

use async_trait::async_trait;
use kms_core::object::{
    FetchOptions, LeaseId, ObjectKey, ObjectSource, ObjectStore, Revision, StoredObject, Swap,
    SwapOutcome,
};
use kms_core::{CallOptions, Error, ErrorKind};

use self::revisions::{cancelled, compacted, fresh, history, past, pinned};
use self::writing::{create, delete, growing, lease, made_again, repeated, replace, same_bytes};
use super::races::{no_lost_update, race, untorn};
use super::report::{Fault, Report, ensure, ensure_eq};
use super::source::{SourceHarness, run_source};

/// Makes stores for [`run_store`].
#[async_trait]
pub trait StoreHarness: Send + Sync {
    /// The store under test.
    type Store: ObjectStore;

    /// An empty store that nobody else writes to, and that keeps at least its last thousand
    /// revisions.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn empty_store(&self) -> Result<Arc<Self::Store>, Error>;

    /// Stores an object that hangs on a lease, and returns the lease. `None`, the default, if the
    /// store has no leases.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn put_with_lease(
        &self,
        store: &Self::Store,
        key: &ObjectKey,
        value: Vec<u8>,
    ) -> Result<Option<LeaseId>, Error> {
        let _ = (store, key, value);
        Ok(None)
    }

    /// Makes the store forget what is older than `revision`. `false`, the default, if it cannot.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn compact(&self, store: &Self::Store, revision: Revision) -> Result<bool, Error> {
        let _ = (store, revision);
        Ok(false)
    }
}

/// Checks a store against the contracts of [`ObjectStore`] and of
/// [`ObjectSource`].
pub async fn run_store<H: StoreHarness>(harness: &H) -> Report {
    let mut report = Report::new("ObjectStore");
    report.absorb(run_source(&Filled(harness)).await);
    report.record("only an absent object is created", create(harness).await);
    report.record(
        "only the object as expected is replaced",
        replace(harness).await,
    );
    report.record(
        "only the object as expected is deleted",
        delete(harness).await,
    );
    report.record(
        "a revision never comes back, deleted and made again",
        made_again(harness).await,
    );
    report.record("revisions grow across all objects", growing(harness).await);
    report.record(
        "the same bytes are written again",
        same_bytes(harness).await,
    );
    report.record("a repeated swap happens once", repeated(harness).await);
    report.record("of many swaps at once one happens", race(harness).await);
    report.record("no update is lost", no_lost_update(harness).await);
    report.record("a swap keeps the lease", lease(harness).await);
    report.record("a read sees the last change", fresh(harness).await);
    report.record("a scan sees no later change", pinned(harness).await);
    report.record("a page is of one revision", untorn(harness).await);
    report.record("fetch reads the past", past(harness).await);
    report.record("a compacted revision is refused", compacted(harness).await);
    report.record(
        "history gives every change in order",
        history(harness).await,
    );
    report.record(
        "a dropped swap is whole or nothing",
        cancelled(harness).await,
    );
    report
}

/// Sources for the other suite, filled by creating objects one by one.
struct Filled<'a, H>(&'a H);

#[async_trait]
impl<H: StoreHarness> SourceHarness for Filled<'_, H> {
    async fn source_with(
        &self,
        objects: &[(ObjectKey, Vec<u8>)],
    ) -> Result<Arc<dyn ObjectSource>, Error> {
        let store = self.0.empty_store().await?;
        for (key, value) in objects {
            let swap = Swap::Create {
                value: value.clone(),
            };
            let outcome = store.compare_and_swap(key, &swap, &call()).await?;
            if outcome.swapped().is_none() {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("a new store holds {key}"),
                ));
            }
        }
        Ok(store)
    }
}

pub(in crate::objects) fn call() -> CallOptions {
    CallOptions::default()
}

/// Makes a change that must succeed.
async fn must(store: &dyn ObjectStore, key: &ObjectKey, swap: Swap) -> Result<Revision, Fault> {
    match store.compare_and_swap(key, &swap, &call()).await? {
        SwapOutcome::Swapped { revision } => Ok(revision),
        SwapOutcome::Changed { current } => Err(Fault(format!(
            "{swap:?} of {key} did not happen; the object is at {current:?}"
        ))),
    }
}

pub(in crate::objects) async fn must_create(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    value: &[u8],
) -> Result<Revision, Fault> {
    let value = value.to_vec();
    must(store, key, Swap::Create { value }).await
}

pub(in crate::objects) async fn must_replace(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    expected: Revision,
    value: &[u8],
) -> Result<Revision, Fault> {
    let value = value.to_vec();
    must(store, key, Swap::Replace { expected, value }).await
}

/// Tries a change that must lose, and leave everything as it is.
async fn must_lose(store: &dyn ObjectStore, key: &ObjectKey, swap: Swap) -> Result<(), Fault> {
    let before = read(store, key).await?;
    let outcome = store.compare_and_swap(key, &swap, &call()).await?;
    let expected = SwapOutcome::Changed {
        current: before.as_ref().map(|object| object.revision),
    };
    ensure_eq(&outcome, &expected, &format!("{swap:?} of {key}"))?;
    let after = read(store, key).await?;
    ensure(before == after, || {
        format!("{swap:?} of {key} lost and yet changed the object")
    })
}

pub(in crate::objects) async fn read(
    store: &dyn ObjectStore,
    key: &ObjectKey,
) -> Result<Option<StoredObject>, Fault> {
    Ok(store.fetch(key, &FetchOptions::default()).await?)
}

/// Fails unless the object holds this value at this revision.
pub(in crate::objects) async fn holds(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    value: &[u8],
    revision: Revision,
) -> Result<(), Fault> {
    let found = read(store, key).await?;
    let found = found.map(|object| (object.value, object.revision));
    ensure(found == Some((value.to_vec(), revision)), || {
        format!("{key} does not hold what was written at {revision}")
    })
}

pub(in crate::objects) async fn must_read(
    store: &dyn ObjectStore,
    key: &ObjectKey,
) -> Result<StoredObject, Fault> {
    read(store, key)
        .await?
        .ok_or_else(|| Fault(format!("{key} is gone")))
}
