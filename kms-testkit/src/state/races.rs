//! The checks that bring several callers together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kms_core::state::{StateStore, StateVersion, VersionedState};

use super::StateStoreHarness;
use super::suite::{ATTEMPTS, call, holds, must, must_read, never_swaps};
use crate::objects::races::{RACERS, ROUNDS, Together};
use crate::objects::report::{Checked, Done, Fault, ensure, ensure_eq};

/// As many handles as race: other ones where the store can have them, else the same one.
async fn handles<H: StateStoreHarness>(
    harness: &H,
    store: &Arc<H::Store>,
) -> Result<Vec<Arc<H::Store>>, Fault> {
    let mut handles = vec![Arc::clone(store)];
    for _ in 1..RACERS {
        let other = harness.reopen(store).await?;
        handles.push(other.unwrap_or_else(|| Arc::clone(store)));
    }
    Ok(handles)
}

pub(super) async fn race<H: StateStoreHarness>(harness: &H) -> Checked {
    for together in Together::BOTH {
        let store = harness.empty_store().await?;
        let handles = handles(harness, &store).await?;
        let mut expected = None;
        for _ in 0..ROUNDS {
            let (winner, version) = race_once(together, &handles, expected).await?;
            holds(&*store, version, &[winner]).await?;
            expected = Some(version);
        }
    }
    Ok(Done::Checked)
}

/// Lets all swap at once, each its own number; gives back who won, and at which version.
async fn race_once<S: StateStore>(
    together: Together,
    handles: &[Arc<S>],
    expected: Option<StateVersion>,
) -> Result<(u8, StateVersion), Fault> {
    let start = Arc::new(tokio::sync::Barrier::new(handles.len()));
    let racers = (0..).zip(handles).map(|(number, store)| {
        let (store, start) = (Arc::clone(store), Arc::clone(&start));
        async move {
            start.wait().await;
            let outcome = store.swap(expected, &[number], &call()).await?;
            Ok(outcome.swapped().map(|version| (number, version)))
        }
    });
    let outcomes = together.run(racers).await?;
    let winners: Vec<_> = outcomes.into_iter().flatten().collect();
    match winners.as_slice() {
        [winner] => Ok(*winner),
        _ => Err(Fault(format!("{} of {} won", winners.len(), handles.len()))),
    }
}

pub(super) async fn no_lost_update<H: StateStoreHarness>(harness: &H) -> Checked {
    const INCREMENTS: u64 = 10;
    for together in Together::BOTH {
        let store = harness.empty_store().await?;
        must(&*store, None, &0_u64.to_be_bytes()).await?;
        let handles = handles(harness, &store).await?;
        let all = INCREMENTS.saturating_mul(handles.len() as u64);
        let workers = handles.into_iter().map(|store| async move {
            for _ in 0..INCREMENTS {
                increment(&*store).await?;
            }
            Ok(())
        });
        together.run(workers).await?;
        ensure_eq(
            &count(&must_read(&*store).await?)?,
            &all,
            "increments that were answered as done",
        )?;
    }
    Ok(Done::Checked)
}

/// Counts up once, trying again whenever another was first.
async fn increment(store: &dyn StateStore) -> Result<(), Fault> {
    for _ in 0..ATTEMPTS {
        let state = must_read(store).await?;
        let next = count(&state)?.saturating_add(1).to_be_bytes();
        // Lets another one come between, each time.
        tokio::task::yield_now().await;
        let outcome = store.swap(Some(state.version), &next, &call()).await?;
        if outcome.swapped().is_some() {
            return Ok(());
        }
    }
    Err(never_swaps())
}

/// The number that a state begins with.
fn count(state: &VersionedState) -> Result<u64, Fault> {
    state
        .bytes
        .first_chunk()
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or_else(|| Fault("the counter is cut off".to_owned()))
}

/// A writer writes its round over and over, as often as the round says. Whoever reads parts of two
/// states sees two rounds, or another length; whoever reads bytes and version at two times sees a
/// version that is not that of the round.
pub(super) async fn untorn<H: StateStoreHarness>(harness: &H) -> Checked {
    const ROUNDS: u64 = 60;
    for together in Together::BOTH {
        let store = harness.empty_store().await?;
        must(&*store, None, &state_of(0)).await?;
        let handles = handles(harness, &store).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let writer_and_readers = (0..).zip(handles).take(3).map(|(number, store)| {
            let stop = Arc::clone(&stop);
            async move {
                if number > 0 {
                    return read_until_stopped(&*store, &stop).await;
                }
                let result = write_rounds(&*store, ROUNDS).await;
                stop.store(true, Ordering::Relaxed);
                result
            }
        });
        let mut sights = together.run(writer_and_readers).await?.into_iter();
        let written = sights.next().unwrap_or_default();
        for (round, version) in sights.flatten() {
            ensure(written.contains(&(round, version)), || {
                format!("round {round} was read at {version}, where it never was")
            })?;
        }
    }
    Ok(Done::Checked)
}

/// A round, and the version that it was written or read at.
type Sight = (u64, StateVersion);

fn state_of(round: u64) -> Vec<u8> {
    let times = usize::try_from(round % 7).unwrap_or_default();
    round
        .to_be_bytes()
        .repeat(times.saturating_mul(4000).saturating_add(1))
}

async fn write_rounds(store: &dyn StateStore, rounds: u64) -> Result<Vec<Sight>, Fault> {
    let mut version = must_read(store).await?.version;
    let mut written = vec![(0, version)];
    for round in 1..=rounds {
        version = must(store, Some(version), &state_of(round)).await?;
        written.push((round, version));
        tokio::task::yield_now().await;
    }
    Ok(written)
}

async fn read_until_stopped(
    store: &dyn StateStore,
    stop: &AtomicBool,
) -> Result<Vec<Sight>, Fault> {
    let mut seen: Vec<Sight> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let state = must_read(store).await?;
        let round = count(&state)?;
        ensure(state.bytes == state_of(round), || {
            format!("the state of round {round} is not whole: {state:?}")
        })?;
        let last = seen.last().copied();
        ensure(last.is_none_or(|(last, _)| last <= round), || {
            format!("round {round} is read after {last:?}")
        })?;
        if last != Some((round, state.version)) {
            seen.push((round, state.version));
        }
        tokio::task::yield_now().await;
    }
    Ok(seen)
}
