//! The suite for whatever can be compared and swapped.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use kms_core::object::{
    FetchOptions, HistoryOptions, HistoryPosition, LeaseId, ObjectKey, ObjectSource, ObjectStore,
    Revision, Scan, ScanOptions, StoredObject, Swap, SwapOutcome,
};
use kms_core::{CallOptions, Error, ErrorKind};

use super::races::{no_lost_update, race, task_died, untorn};
use super::report::{Checked, Done, Fault, Report, ensure, ensure_eq, ensure_refused};
use super::source::{SourceHarness, key, run_source, walk};

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

pub(super) fn call() -> CallOptions {
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

pub(super) async fn must_create(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    value: &[u8],
) -> Result<Revision, Fault> {
    let value = value.to_vec();
    must(store, key, Swap::Create { value }).await
}

pub(super) async fn must_replace(
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

pub(super) async fn read(
    store: &dyn ObjectStore,
    key: &ObjectKey,
) -> Result<Option<StoredObject>, Fault> {
    Ok(store.fetch(key, &FetchOptions::default()).await?)
}

/// Fails unless the object holds this value at this revision.
pub(super) async fn holds(
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

async fn create<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let revision = must_create(&*store, &key, b"first").await?;
    holds(&*store, &key, b"first", revision).await?;
    let value = b"second".to_vec();
    must_lose(&*store, &key, Swap::Create { value }).await?;
    Ok(Done::Checked)
}

async fn replace<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let (key, other) = (key("k")?, key("kk")?);
    let first = must_create(&*store, &key, b"first").await?;
    let second = must_replace(&*store, &key, first, b"second").await?;
    holds(&*store, &key, b"second", second).await?;
    let unrelated = must_create(&*store, &other, b"").await?;
    for expected in [
        first,
        unrelated,
        Revision::default(),
        Revision::new(second.get().saturating_add(1000)),
    ] {
        let value = b"third".to_vec();
        must_lose(&*store, &key, Swap::Replace { expected, value }).await?;
    }
    let missing = self::key("missing")?;
    for expected in [first, Revision::default()] {
        let value = b"third".to_vec();
        must_lose(&*store, &missing, Swap::Replace { expected, value }).await?;
    }
    Ok(Done::Checked)
}

async fn delete<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let first = must_create(&*store, &key, b"first").await?;
    let second = must_replace(&*store, &key, first, b"second").await?;
    must_lose(&*store, &key, Swap::Delete { expected: first }).await?;
    let deleted = must(&*store, &key, Swap::Delete { expected: second }).await?;
    ensure(deleted > second, || {
        "a deletion has no newer revision".to_owned()
    })?;
    ensure_eq(&read(&*store, &key).await?, &None, "fetch after deletion")?;
    ensure_eq(
        &walk(&*store, ScanOptions::default()).await?,
        &Vec::new(),
        "scan after deletion",
    )?;
    for expected in [second, deleted, Revision::default()] {
        must_lose(&*store, &key, Swap::Delete { expected }).await?;
        let value = b"third".to_vec();
        must_lose(&*store, &key, Swap::Replace { expected, value }).await?;
    }
    Ok(Done::Checked)
}

async fn made_again<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let first = must_create(&*store, &key, b"same").await?;
    must(&*store, &key, Swap::Delete { expected: first }).await?;
    let again = must_create(&*store, &key, b"same").await?;
    ensure(again > first, || {
        format!("made again at {again}, first made at {first}")
    })?;
    let value = b"late".to_vec();
    let expected = first;
    must_lose(&*store, &key, Swap::Replace { expected, value }).await?;
    must_lose(&*store, &key, Swap::Delete { expected }).await?;
    Ok(Done::Checked)
}

async fn growing<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let keys = [key("b")?, key("a")?, key("c")?];
    let mut last = Revision::default();
    for _ in 0..3 {
        for key in &keys {
            let made = must_create(&*store, key, b"1").await?;
            let changed = must_replace(&*store, key, made, b"2").await?;
            let expected = changed;
            let deleted = must(&*store, key, Swap::Delete { expected }).await?;
            for revision in [made, changed, deleted] {
                ensure(revision > last, || {
                    format!("revision {revision} comes after {last}")
                })?;
                last = revision;
            }
        }
    }
    let newest = store.identity(&call()).await?.revision;
    ensure(newest >= last, || {
        format!("the identity is at {newest}, before {last}")
    })?;
    Ok(Done::Checked)
}

async fn same_bytes<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let first = must_create(&*store, &key, b"same").await?;
    let second = must_replace(&*store, &key, first, b"same").await?;
    ensure(second > first, || "the revision did not grow".to_owned())?;
    holds(&*store, &key, b"same", second).await?;
    Ok(Done::Checked)
}

async fn repeated<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let create = Swap::Create {
        value: b"1".to_vec(),
    };
    let expected = must(&*store, &key, create.clone()).await?;
    must_lose(&*store, &key, create).await?;
    let replace = Swap::Replace {
        expected,
        value: b"2".to_vec(),
    };
    let expected = must(&*store, &key, replace.clone()).await?;
    must_lose(&*store, &key, replace).await?;
    let delete = Swap::Delete { expected };
    must(&*store, &key, delete.clone()).await?;
    must_lose(&*store, &key, delete).await?;
    Ok(Done::Checked)
}

pub(super) async fn must_read(
    store: &dyn ObjectStore,
    key: &ObjectKey,
) -> Result<StoredObject, Fault> {
    read(store, key)
        .await?
        .ok_or_else(|| Fault(format!("{key} is gone")))
}

async fn lease<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let (key, plain) = (key("leased")?, key("plain")?);
    let Some(lease) = harness
        .put_with_lease(&store, &key, b"old".to_vec())
        .await?
    else {
        return Ok(Done::Skipped("the store has no leases"));
    };
    let object = must_read(&*store, &key).await?;
    ensure_eq(&object.lease, &Some(lease), "lease before")?;
    must_replace(&*store, &key, object.revision, b"new").await?;
    let found = read(&*store, &key).await?.and_then(|object| object.lease);
    ensure_eq(&found, &Some(lease), "lease after")?;
    let scanned = walk(&*store, ScanOptions::default()).await?;
    let found = scanned.first().and_then(|object| object.lease);
    ensure_eq(&found, &Some(lease), "lease in a scan")?;
    let made = must_create(&*store, &plain, b"old").await?;
    must_replace(&*store, &plain, made, b"new").await?;
    let found = read(&*store, &plain).await?.and_then(|object| object.lease);
    ensure_eq(&found, &None, "lease of an object that has none")?;
    Ok(Done::Checked)
}

async fn fresh<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let mut revision = must_create(&*store, &key, b"").await?;
    for round in 0_u8..20 {
        revision = must_replace(&*store, &key, revision, &[round]).await?;
        holds(&*store, &key, &[round], revision).await?;
        let page = store.scan(&ScanOptions::default()).await?;
        ensure(page.revision >= revision, || {
            format!("a scan at {} after a change at {revision}", page.revision)
        })?;
        let values: Vec<_> = page
            .objects
            .into_iter()
            .map(|object| object.value)
            .collect();
        ensure_eq(&values, &vec![vec![round]], "scanned value")?;
    }
    Ok(Done::Checked)
}

async fn pinned<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let mut before = Vec::new();
    for number in 0..30 {
        let key = key(format!("k{number:02}"))?;
        let revision = must_create(&*store, &key, b"before").await?;
        before.push(StoredObject::new(key, b"before".to_vec(), revision));
    }
    let options = ScanOptions::default().with_page_limit(4);
    let mut scan = Scan::new(&*store, options.clone());
    let mut found = Vec::new();
    let mut made = 0_u32;
    let mut writers = Vec::new();
    while let Some(page) = scan.next_page().await? {
        found.extend(page.objects);
        // Behind the cursor, and ahead of it: make, change, delete.
        for name in [
            format!("a{made}"),
            format!("k15-{made}"),
            format!("z{made}"),
        ] {
            must_create(&*store, &key(name)?, b"after").await?;
        }
        made = made.saturating_add(1);
        let ahead = found.len().saturating_add(2);
        for (object, delete) in before.iter().skip(ahead).zip([true, false]) {
            let expected = match read(&*store, &object.key).await? {
                Some(now) => now.revision,
                None => continue,
            };
            let value = b"after".to_vec();
            let swap = if delete {
                Swap::Delete { expected }
            } else {
                Swap::Replace { expected, value }
            };
            // A writer of an earlier round may be first.
            let _ = store.compare_and_swap(&object.key, &swap, &call()).await?;
        }
        // And others, at the same time as the next page is read.
        let (store, last) = (Arc::clone(&store), before.last().cloned());
        writers.push(tokio::spawn(async move {
            for _ in 0..10 {
                let Some(last) = &last else { break };
                if let Some(now) = read(&*store, &last.key).await? {
                    let swap = Swap::Replace {
                        expected: now.revision,
                        value: b"meanwhile".to_vec(),
                    };
                    let _ = store.compare_and_swap(&last.key, &swap, &call()).await?;
                }
            }
            Ok::<_, Fault>(())
        }));
    }
    for result in try_join_all(writers).await.map_err(task_died)? {
        result?;
    }
    ensure(found == before, || {
        format!("the scan shows another state: {found:?}")
    })?;
    let now = walk(&*store, options).await?;
    ensure(now != before, || "the changes were not made".to_owned())?;
    Ok(Done::Checked)
}

async fn past<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let origin = store.identity(&call()).await?.revision;
    let first = must_create(&*store, &key, b"1").await?;
    let second = must_replace(&*store, &key, first, b"2").await?;
    let deleted = must(&*store, &key, Swap::Delete { expected: second }).await?;
    let cases = [
        (origin, None),
        (first, Some((&b"1"[..], first))),
        (second, Some((b"2", second))),
        (deleted, None),
    ];
    for (at, expected) in cases {
        let options = FetchOptions::default().with_at(at);
        let fetched = store.fetch(&key, &options).await?;
        let page = store.scan(&ScanOptions::default().with_at(at)).await?;
        ensure_eq(&page.revision, &at, "revision of the page")?;
        for found in [fetched, page.objects.into_iter().next()] {
            let found = found.map(|object| (object.value, object.revision));
            let expected = expected.map(|(value, revision)| (value.to_vec(), revision));
            ensure_eq(&found, &expected, &format!("at revision {at}"))?;
        }
    }
    Ok(Done::Checked)
}

async fn compacted<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let (key, other) = (key("k")?, key("l")?);
    let first = must_create(&*store, &key, b"1").await?;
    must_create(&*store, &other, b"other").await?;
    let mut scan = Scan::new(&*store, ScanOptions::default().with_page_limit(1));
    scan.next_page().await?;
    let second = must_replace(&*store, &key, first, b"2").await?;
    let third = must_replace(&*store, &key, second, b"3").await?;
    if !harness.compact(&store, second).await? {
        return Ok(Done::Skipped("the store is not compacted at will"));
    }
    let old = FetchOptions::default().with_at(first);
    let result = store.fetch(&key, &old).await;
    ensure_refused(result, ErrorKind::Compacted, "fetch")?;
    let result = store.scan(&ScanOptions::default().with_at(first)).await;
    ensure_refused(result, ErrorKind::Compacted, "scan")?;
    let result = scan.next_page().await;
    ensure_refused(result, ErrorKind::Compacted, "the scan that was under way")?;
    // Its cursor is still good at a newer revision.
    let onward = scan.position().clone().with_at(None);
    let found = walk(&*store, onward).await?;
    let keys: Vec<_> = found.iter().map(|object| &object.key).collect();
    ensure_eq(
        &keys,
        &vec![&other],
        "the scan continued at a newer revision",
    )?;
    let kept = FetchOptions::default().with_at(second);
    let found = store.fetch(&key, &kept).await?.map(|object| object.value);
    ensure_eq(
        &found,
        &Some(b"2".to_vec()),
        "at the compacted revision itself",
    )?;
    holds(&*store, &key, b"3", third).await?;
    Ok(Done::Checked)
}

async fn history<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let (key, other) = (key("in/k")?, key("out")?);
    let first = must_create(&*store, &key, b"1").await?;
    let beside = must_create(&*store, &other, b"beside").await?;
    let second = must_replace(&*store, &key, first, b"2").await?;
    let deleted = must(&*store, &key, Swap::Delete { expected: second }).await?;
    let all = [
        (first, &key, Some(&b"1"[..])),
        (beside, &other, Some(b"beside")),
        (second, &key, Some(b"2")),
        (deleted, &key, None),
    ];
    for (prefix, limit) in [("", 1), ("", 3), ("", 500), ("in/", 1), ("in/", 500)] {
        let mut options = HistoryOptions::default()
            .with_prefix(prefix)
            .with_page_limit(limit);
        let mut found = Vec::new();
        let mut last: Option<HistoryPosition> = None;
        loop {
            let page = match store.history(&options).await {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(Done::Skipped("the store does not give its history"));
                }
                result => result?,
            };
            for record in page.records {
                ensure(last < Some(record.position), || {
                    format!("{:?} comes after {last:?}", record.position)
                })?;
                last = Some(record.position);
                found.push((record.position.revision, record.key, record.value));
            }
            match page.next {
                None => break,
                Some(next) => {
                    ensure(options.after < Some(next) && last <= Some(next), || {
                        format!("the cursor goes from {:?} to {next:?}", options.after)
                    })?;
                    options.after = Some(next);
                }
            }
        }
        let expected: Vec<_> = all
            .iter()
            .filter(|(_, key, _)| key.as_bytes().starts_with(prefix.as_bytes()))
            .map(|(revision, key, value)| (*revision, (*key).clone(), value.map(<[u8]>::to_vec)))
            .collect();
        ensure_eq(&found, &expected, &format!("prefix {prefix:?} by {limit}"))?;
    }
    Ok(Done::Checked)
}

async fn cancelled<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let mut expected = must_create(&*store, &key, b"0").await?;
    for polls in 1_u8..6 {
        let before = read(&*store, &key).await?.map(|object| object.value);
        let value = vec![polls];
        let swap = Swap::Replace {
            expected,
            value: value.clone(),
        };
        let options = call();
        let mut future = store.compare_and_swap(&key, &swap, &options);
        for _ in 0..polls {
            if (&mut future).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(future);
        // It may still arrive; a change of our own settles it.
        loop {
            let now = must_read(&*store, &key).await?;
            ensure(
                now.value == value || Some(&now.value) == before.as_ref(),
                || "the object is neither as before nor as after".to_owned(),
            )?;
            let swap = Swap::Replace {
                expected: now.revision,
                value: vec![polls, polls],
            };
            let outcome = store.compare_and_swap(&key, &swap, &call()).await?;
            if let Some(revision) = outcome.swapped() {
                expected = revision;
                break;
            }
        }
        holds(&*store, &key, &[polls, polls], expected).await?;
    }
    Ok(Done::Checked)
}
