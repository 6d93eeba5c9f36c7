//! The suite.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use kms_core::state::{MAX_STATE_LEN, StateStore, StateSwap, StateVersion, VersionedState};
use kms_core::{CallOptions, Error, ErrorKind};

use super::races::{no_lost_update, race, untorn};
use crate::objects::Report;
use crate::objects::report::{Checked, Done, Fault, ensure, ensure_eq, ensure_refused};

/// Makes stores for [`run_state_store`].
#[async_trait]
pub trait StateStoreHarness: Send + Sync {
    /// The store under test.
    type Store: StateStore;

    /// A store without a state, that nobody else writes to.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn empty_store(&self) -> Result<Arc<Self::Store>, Error>;

    /// Another handle on what `store` holds, as another process would open it. `None`, the
    /// default, if there can be but one.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn reopen(&self, store: &Self::Store) -> Result<Option<Arc<Self::Store>>, Error> {
        let _ = store;
        Ok(None)
    }
}

/// Checks a store against the contract of [`StateStore`].
pub async fn run_state_store<H: StateStoreHarness>(harness: &H) -> Report {
    let mut report = Report::new("StateStore");
    report.record("an empty store holds no state", empty(harness).await);
    report.record("only an absent state is created", create(harness).await);
    report.record(
        "only the version as expected is replaced",
        replace(harness).await,
    );
    report.record("versions grow and never come back", growing(harness).await);
    report.record(
        "the same bytes are written again",
        same_bytes(harness).await,
    );
    report.record("a repeated swap happens once", repeated(harness).await);
    report.record("any bytes come back whole", faithful(harness).await);
    report.record(
        "a state that is too long is refused and changes nothing",
        bounded(harness).await,
    );
    report.record("a load sees the last swap", fresh(harness).await);
    report.record("another handle sees the same", reopened(harness).await);
    report.record("of many swaps at once one happens", race(harness).await);
    report.record("no update is lost", no_lost_update(harness).await);
    report.record("a load is of one state", untorn(harness).await);
    report.record(
        "a dropped swap is whole or nothing",
        cancelled(harness).await,
    );
    report.record("no byte of the state is printed", silent(harness).await);
    report
}

/// How often to load and swap before a store is said never to swap.
pub(super) const ATTEMPTS: u32 = 10_000;

pub(super) fn never_swaps() -> Fault {
    Fault("what was just loaded is never what a swap expects".to_owned())
}

pub(super) fn call() -> CallOptions {
    CallOptions::default()
}

pub(super) async fn read(store: &dyn StateStore) -> Result<Option<VersionedState>, Fault> {
    Ok(store.load(&call()).await?)
}

pub(super) async fn must_read(store: &dyn StateStore) -> Result<VersionedState, Fault> {
    read(store)
        .await?
        .ok_or_else(|| Fault("the state is gone".to_owned()))
}

/// Makes a change that must succeed.
pub(super) async fn must(
    store: &dyn StateStore,
    expected: Option<StateVersion>,
    bytes: &[u8],
) -> Result<StateVersion, Fault> {
    match store.swap(expected, bytes, &call()).await? {
        StateSwap::Swapped { version } => Ok(version),
        StateSwap::Changed { current } => Err(Fault(format!(
            "a swap that expects {expected:?} did not happen; the state is at {current:?}"
        ))),
    }
}

/// Tries a change that must lose, and leave everything as it is.
async fn must_lose(store: &dyn StateStore, expected: Option<StateVersion>) -> Result<(), Fault> {
    let before = read(store).await?;
    let outcome = store.swap(expected, b"loses", &call()).await?;
    let lost = StateSwap::Changed {
        current: before.as_ref().map(|state| state.version),
    };
    ensure_eq(
        &outcome,
        &lost,
        &format!("a swap that expects {expected:?}"),
    )?;
    let after = read(store).await?;
    ensure(before == after, || {
        format!("a swap that expects {expected:?} lost and yet changed the state")
    })
}

/// Fails unless the store holds this state at this version.
pub(super) async fn holds(
    store: &dyn StateStore,
    version: StateVersion,
    bytes: &[u8],
) -> Result<(), Fault> {
    let expected = VersionedState::new(version, bytes.to_vec());
    let found = read(store).await?;
    ensure(found == Some(expected), || {
        format!("what was written at {version} is not there: found {found:?}")
    })
}

/// A version that no store is at.
fn far_from(version: StateVersion) -> StateVersion {
    StateVersion::new(version.get().wrapping_add(1000))
}

async fn empty<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    ensure_eq(&read(&*store).await?, &None, "load")?;
    for number in [0, 1, u64::MAX] {
        must_lose(&*store, Some(StateVersion::new(number))).await?;
    }
    Ok(Done::Checked)
}

async fn create<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let version = must(&*store, None, b"first").await?;
    holds(&*store, version, b"first").await?;
    must_lose(&*store, None).await?;
    Ok(Done::Checked)
}

async fn replace<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let first = must(&*store, None, b"first").await?;
    let second = must(&*store, Some(first), b"second").await?;
    holds(&*store, second, b"second").await?;
    for expected in [first, far_from(second), StateVersion::new(0)] {
        must_lose(&*store, Some(expected)).await?;
    }
    Ok(Done::Checked)
}

async fn growing<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let mut expected = None;
    let mut seen = Vec::new();
    for number in 0_u8..10 {
        let version = must(&*store, expected, &[number % 2]).await?;
        ensure(seen.last() < Some(&version), || {
            format!("version {version} comes after {seen:?}")
        })?;
        seen.push(version);
        expected = Some(version);
    }
    seen.pop();
    for old in seen {
        must_lose(&*store, Some(old)).await?;
    }
    Ok(Done::Checked)
}

async fn same_bytes<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let first = must(&*store, None, b"same").await?;
    let second = must(&*store, Some(first), b"same").await?;
    ensure(second > first, || "the version did not grow".to_owned())?;
    holds(&*store, second, b"same").await?;
    Ok(Done::Checked)
}

async fn repeated<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let first = must(&*store, None, b"1").await?;
    must_lose(&*store, None).await?;
    must(&*store, Some(first), b"2").await?;
    must_lose(&*store, Some(first)).await?;
    Ok(Done::Checked)
}

async fn faithful<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let longest: Vec<u8> = every.iter().copied().cycle().take(MAX_STATE_LEN).collect();
    let mut expected = None;
    for bytes in [&b""[..], b"\0", b"text\n", b"", &every, &longest, b"\xff"] {
        let version = must(&*store, expected, bytes).await?;
        let found = must_read(&*store).await?;
        ensure(found.version == version && found.bytes == bytes, || {
            format!(
                "{} bytes written at {version}, found {found:?}",
                bytes.len()
            )
        })?;
        expected = Some(version);
    }
    Ok(Done::Checked)
}

async fn bounded<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let too_long = vec![7; MAX_STATE_LEN.saturating_add(1)];
    let refused = store.swap(None, &too_long, &call()).await;
    ensure_refused(refused, ErrorKind::InvalidInput, "creating")?;
    ensure_eq(&read(&*store).await?, &None, "after that")?;
    let version = must(&*store, None, b"short").await?;
    let refused = store.swap(Some(version), &too_long, &call()).await;
    ensure_refused(refused, ErrorKind::InvalidInput, "replacing")?;
    holds(&*store, version, b"short").await?;
    Ok(Done::Checked)
}

async fn fresh<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let mut expected = None;
    for round in 0_u8..20 {
        let version = must(&*store, expected, &[round]).await?;
        holds(&*store, version, &[round]).await?;
        expected = Some(version);
    }
    Ok(Done::Checked)
}

async fn reopened<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let Some(other) = harness.reopen(&store).await? else {
        return Ok(Done::Skipped("there can be but one handle"));
    };
    ensure_eq(&read(&*other).await?, &None, "before the first swap")?;
    let mut version = must(&*store, None, b"by the first").await?;
    holds(&*other, version, b"by the first").await?;
    for (writer, reader) in [(&other, &store), (&store, &other)] {
        let old = version;
        version = must(&**writer, Some(old), b"by one of both").await?;
        holds(&**reader, version, b"by one of both").await?;
        must_lose(&**reader, Some(old)).await?;
    }
    let late = harness.reopen(&store).await?;
    let late = late.ok_or_else(|| Fault("it could be opened once more".to_owned()))?;
    holds(&*late, version, b"by one of both").await?;
    Ok(Done::Checked)
}

async fn cancelled<H: StateStoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let mut expected = must(&*store, None, b"0").await?;
    for polls in 1_u8..6 {
        let before = must_read(&*store).await?.bytes;
        let bytes = [polls];
        let options = call();
        let mut future = store.swap(Some(expected), &bytes, &options);
        for _ in 0..polls {
            if (&mut future).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(future);
        // It may still arrive; a change of our own settles it.
        let mut settled = false;
        for _ in 0..ATTEMPTS {
            let now = must_read(&*store).await?;
            ensure(now.bytes == bytes || now.bytes == before, || {
                "the state is neither as before nor as after".to_owned()
            })?;
            let bytes = [polls, polls];
            let outcome = store.swap(Some(now.version), &bytes, &call()).await?;
            if let Some(version) = outcome.swapped() {
                expected = version;
                settled = true;
                break;
            }
        }
        if !settled {
            return Err(never_swaps());
        }
        holds(&*store, expected, &[polls, polls]).await?;
    }
    Ok(Done::Checked)
}

async fn silent<H: StateStoreHarness>(harness: &H) -> Checked {
    const SECRET: &str = "correct horse battery staple";
    let store = harness.empty_store().await?;
    let version = must(&*store, None, SECRET.as_bytes()).await?;
    let state = must_read(&*store).await?;
    let lost = store.swap(None, SECRET.as_bytes(), &call()).await;
    let too_long = SECRET.repeat(MAX_STATE_LEN.div_ceil(SECRET.len()).saturating_add(1));
    let refused = store
        .swap(Some(version), too_long.as_bytes(), &call())
        .await;
    let texts = [
        format!("{store}"),
        format!("{store:?}"),
        format!("{state:?}"),
        format!("{lost:?}"),
        format!("{refused:?}"),
    ];
    // As text, and as numbers.
    let as_numbers = format!("{:?}", SECRET.as_bytes());
    let as_numbers = as_numbers.trim_matches(['[', ']']);
    for text in texts {
        ensure(!text.contains(SECRET) && !text.contains(as_numbers), || {
            "the state is printed".to_owned()
        })?;
    }
    Ok(Done::Checked)
}
