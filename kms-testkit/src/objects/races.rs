//! The checks of a store that bring several callers together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::try_join_all;
use kms_core::object::{ObjectKey, ObjectStore, Revision, ScanOptions, StoredObject, Swap};

use super::report::{Checked, Done, Fault, ensure, ensure_eq};
use super::source::key;
use super::store::{StoreHarness, call, holds, must_create, must_read, read};

/// How many race, and how often.
pub(crate) const RACERS: u8 = 8;
pub(crate) const ROUNDS: usize = 8;

/// Two ways to bring calls together: tasks that run in parallel, which find what happens between
/// two instructions, by luck; and futures that one task polls in turn, which find what happens
/// across an `await`, each time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Together {
    InParallel,
    InTurn,
}

impl Together {
    pub(crate) const BOTH: [Self; 2] = [Self::InParallel, Self::InTurn];

    pub(crate) async fn run<T: Send + 'static>(
        self,
        futures: impl Iterator<Item = impl Future<Output = Result<T, Fault>> + Send + 'static>,
    ) -> Result<Vec<T>, Fault> {
        match self {
            Self::InTurn => try_join_all(futures).await,
            Self::InParallel => {
                let tasks = futures.map(tokio::spawn);
                let results = try_join_all(tasks).await.map_err(task_died)?;
                results.into_iter().collect()
            }
        }
    }
}

/// Lets all swap at once, each its own number; gives back who won, and at which revision.
async fn race_once<S: ObjectStore>(
    together: Together,
    store: &Arc<S>,
    key: &ObjectKey,
    swap: impl Fn(u8) -> Swap,
) -> Result<(u8, Revision), Fault> {
    let start = Arc::new(tokio::sync::Barrier::new(usize::from(RACERS)));
    let racers = (0..RACERS).map(|number| {
        let (store, key) = (Arc::clone(store), key.clone());
        let (start, swap) = (Arc::clone(&start), swap(number));
        async move {
            start.wait().await;
            let outcome = store.compare_and_swap(&key, &swap, &call()).await?;
            Ok(outcome.swapped().map(|revision| (number, revision)))
        }
    });
    let outcomes = together.run(racers).await?;
    let winners: Vec<_> = outcomes.into_iter().flatten().collect();
    match winners.as_slice() {
        [winner] => Ok(*winner),
        _ => Err(Fault(format!("{} of {RACERS} won", winners.len()))),
    }
}

pub(crate) fn task_died(error: tokio::task::JoinError) -> Fault {
    Fault(format!("a task died: {error}"))
}

pub(super) async fn race<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    for round in 0..ROUNDS {
        for together in Together::BOTH {
            let key = key(format!("race {round} {together:?}"))?;
            let create = |number| Swap::Create {
                value: vec![number],
            };
            let (winner, expected) = race_once(together, &store, &key, create).await?;
            holds(&*store, &key, &[winner], expected).await?;
            let replace = |number| Swap::Replace {
                expected,
                value: vec![number],
            };
            let (winner, expected) = race_once(together, &store, &key, replace).await?;
            holds(&*store, &key, &[winner], expected).await?;
            race_once(together, &store, &key, |_| Swap::Delete { expected }).await?;
            ensure_eq(&read(&*store, &key).await?, &None, "after deletion")?;
        }
    }
    Ok(Done::Checked)
}

pub(super) async fn no_lost_update<H: StoreHarness>(harness: &H) -> Checked {
    const INCREMENTS: usize = 10;
    let store = harness.empty_store().await?;
    for together in Together::BOTH {
        let key = key(format!("counter {together:?}"))?;
        must_create(&*store, &key, &0_u64.to_be_bytes()).await?;
        let workers = (0..RACERS).map(|_| {
            let (store, key) = (Arc::clone(&store), key.clone());
            async move { increment(&*store, &key, INCREMENTS).await }
        });
        together.run(workers).await?;
        let all = INCREMENTS.saturating_mul(usize::from(RACERS));
        ensure_eq(
            &count(&must_read(&*store, &key).await?)?,
            &u64::try_from(all).unwrap_or(u64::MAX),
            "increments that were answered as done",
        )?;
    }
    Ok(Done::Checked)
}

/// Counts a counter up, trying again whenever another was first.
async fn increment(store: &dyn ObjectStore, key: &ObjectKey, times: usize) -> Result<(), Fault> {
    let mut done = 0_usize;
    while done < times {
        let object = must_read(store, key).await?;
        let swap = Swap::Replace {
            expected: object.revision,
            value: count(&object)?.saturating_add(1).to_be_bytes().to_vec(),
        };
        let outcome = store.compare_and_swap(key, &swap, &call()).await?;
        if outcome.swapped().is_some() {
            done = done.saturating_add(1);
        }
    }
    Ok(())
}

/// The number an object holds.
fn count(object: &StoredObject) -> Result<u64, Fault> {
    object
        .value
        .first_chunk()
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or_else(|| Fault("the counter is cut off".to_owned()))
}

/// A writer counts up in the first object, then in the last. Whoever reads one after the other at
/// different times sees the last ahead of the first.
pub(super) async fn untorn<H: StoreHarness>(harness: &H) -> Checked {
    for together in Together::BOTH {
        let store = harness.empty_store().await?;
        for key in counters()? {
            must_create(&*store, &key, &0_u64.to_be_bytes()).await?;
        }
        for number in 0_u8..20 {
            must_create(&*store, &key([b'm', number])?, b"between").await?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let both = [true, false].map(|writes| {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            async move {
                let result = if writes {
                    count_up_until(&*store, &stop).await
                } else {
                    read_until_seen(&*store, &stop).await
                };
                stop.store(true, Ordering::Relaxed);
                result
            }
        });
        together.run(both.into_iter()).await?;
    }
    Ok(Done::Checked)
}

fn counters() -> Result<[ObjectKey; 2], Fault> {
    Ok([key("a")?, key("z")?])
}

async fn count_up_until(store: &dyn ObjectStore, stop: &AtomicBool) -> Result<(), Fault> {
    while !stop.load(Ordering::Relaxed) {
        for key in counters()? {
            increment(store, &key, 1).await?;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Reads pages until the writer was seen at work often enough.
async fn read_until_seen(store: &dyn ObjectStore, stop: &AtomicBool) -> Result<(), Fault> {
    const SIGHTINGS: usize = 15;
    let (mut seen, mut latest) = (0_usize, None);
    while seen < SIGHTINGS && !stop.load(Ordering::Relaxed) {
        let page = store.scan(&ScanOptions::default()).await?;
        let (Some(first), Some(last)) = (page.objects.first(), page.objects.last()) else {
            return Err(Fault("an empty page".to_owned()));
        };
        let (ahead, behind) = (count(first)?, count(last)?);
        ensure(ahead == behind || ahead == behind.saturating_add(1), || {
            format!("one page shows the counters at {ahead} and {behind}")
        })?;
        ensure(first.revision.max(last.revision) <= page.revision, || {
            format!("a page of {} shows a later change", page.revision)
        })?;
        if latest != Some(ahead) {
            latest = Some(ahead);
            seen = seen.saturating_add(1);
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}
