//! State stores that each break one rule, and the suite that finds them.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kms_core::state::{MAX_STATE_LEN, StateStore, StateSwap, StateVersion, VersionedState};
use kms_core::{CallOptions, Error, ErrorKind};
use kms_testkit::state::{StateStoreHarness, run_state_store};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Defect {
    Sound,
    /// Takes "no state" for an empty one.
    BeginsEmpty,
    CreatesOver,
    IgnoresExpected,
    /// Counts versions from one again after the third.
    CountsInCircles,
    SkipsSameBytes,
    EmptyIsNone,
    CutsLongStates,
    TakesAnyLength,
    CutsTooLong,
    /// Shows the state before the last.
    Lags,
    /// A second handle goes on showing what it saw first.
    HandleRemembers,
    /// A second handle has a state of its own.
    HandleIsAnother,
    LooksThenWrites,
    HidesLoss,
    MisreportsLoss,
    /// Reads bytes and version at two times.
    ReadsInTwo,
    /// Writes half of the state, and a little later all of it.
    WritesInHalves,
    Talkative,
    TalkativeInErrors,
}

use Defect::*;

/// Each defect, and a check that must find it.
const DEFECTS: &[(Defect, &str)] = &[
    (BeginsEmpty, "an empty store holds no state"),
    (CreatesOver, "only an absent state is created"),
    (IgnoresExpected, "only the version as expected is replaced"),
    (IgnoresExpected, "a repeated swap happens once"),
    (CountsInCircles, "versions grow and never come back"),
    (SkipsSameBytes, "the same bytes are written again"),
    (EmptyIsNone, "any bytes come back whole"),
    (CutsLongStates, "any bytes come back whole"),
    (
        TakesAnyLength,
        "a state that is too long is refused and changes nothing",
    ),
    (
        CutsTooLong,
        "a state that is too long is refused and changes nothing",
    ),
    (Lags, "a load sees the last swap"),
    (HandleRemembers, "another handle sees the same"),
    (HandleIsAnother, "another handle sees the same"),
    (LooksThenWrites, "of many swaps at once one happens"),
    (LooksThenWrites, "no update is lost"),
    (HidesLoss, "of many swaps at once one happens"),
    (HidesLoss, "no update is lost"),
    (MisreportsLoss, "only the version as expected is replaced"),
    (ReadsInTwo, "a load is of one state"),
    (WritesInHalves, "a dropped swap is whole or nothing"),
    (WritesInHalves, "a load is of one state"),
    (Talkative, "no byte of the state is printed"),
    (TalkativeInErrors, "no byte of the state is printed"),
];

/// Every state there ever was; the last one is the state. Shared by all handles.
type Past = Arc<Mutex<Vec<VersionedState>>>;

struct Memory {
    past: Past,
    defect: Defect,
    /// What this handle saw first, if it is a second one.
    first_sight: Option<Mutex<Option<Option<VersionedState>>>>,
}

impl Memory {
    fn newest(&self) -> Option<VersionedState> {
        self.past.lock().unwrap().last().cloned()
    }

    fn write(&self, bytes: &[u8]) -> StateVersion {
        let mut past = self.past.lock().unwrap();
        let number = past.last().map_or(0, |state| state.version.get()) + 1;
        let number = match self.defect {
            CountsInCircles if number > 3 => 1,
            _ => number,
        };
        let version = StateVersion::new(number);
        past.push(VersionedState::new(version, bytes.to_vec()));
        version
    }

    /// Compares and writes in one step.
    fn swap_now(&self, expected: Option<StateVersion>, bytes: &[u8]) -> StateSwap {
        // All that write hold the same lock in turn, so nobody comes between on one thread; on
        // several, this one does.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock();
        let current = self.newest().map(|state| state.version);
        if current != expected {
            return StateSwap::Changed { current };
        }
        StateSwap::Swapped {
            version: self.write(bytes),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.defect == Talkative {
            let bytes = self.newest().map(|state| state.bytes);
            return write!(f, "memory: {bytes:?}");
        }
        f.write_str("memory")
    }
}

#[async_trait]
impl StateStore for Memory {
    async fn load(&self, _: &CallOptions) -> Result<Option<VersionedState>, Error> {
        let newest = self.newest();
        match self.defect {
            BeginsEmpty if newest.is_none() => {
                Ok(Some(VersionedState::new(StateVersion::new(0), Vec::new())))
            }
            EmptyIsNone => Ok(newest.filter(|state| !state.bytes.is_empty())),
            CutsLongStates => Ok(newest.map(|mut state| {
                state.bytes.truncate(65_536);
                state
            })),
            Lags => {
                let past = self.past.lock().unwrap();
                Ok(past.iter().rev().nth(1).or(past.last()).cloned())
            }
            HandleRemembers => Ok(match &self.first_sight {
                None => newest,
                Some(first) => first.lock().unwrap().get_or_insert(newest).clone(),
            }),
            ReadsInTwo => {
                let Some(before) = newest else {
                    return Ok(None);
                };
                tokio::task::yield_now().await;
                let version = self.newest().map_or(before.version, |now| now.version);
                Ok(Some(VersionedState::new(version, before.bytes)))
            }
            _ => Ok(newest),
        }
    }

    async fn swap(
        &self,
        expected: Option<StateVersion>,
        bytes: &[u8],
        _: &CallOptions,
    ) -> Result<StateSwap, Error> {
        let mut bytes = bytes;
        if bytes.len() > MAX_STATE_LEN {
            match self.defect {
                TakesAnyLength => {}
                CutsTooLong => bytes = &bytes[..MAX_STATE_LEN],
                TalkativeInErrors => {
                    let start = String::from_utf8_lossy(&bytes[..100]).into_owned();
                    return Err(Error::new(ErrorKind::InvalidInput, start));
                }
                _ => return Err(Error::new(ErrorKind::InvalidInput, "too long")),
            }
        }
        let newest = self.newest();
        let current = newest.as_ref().map(|state| state.version);
        let swapped = |version| Ok(StateSwap::Swapped { version });
        match self.defect {
            IgnoresExpected => return swapped(self.write(bytes)),
            CreatesOver if expected.is_none() => return swapped(self.write(bytes)),
            SkipsSameBytes if current == expected => {
                if let Some(state) = newest.filter(|state| state.bytes == bytes) {
                    return swapped(state.version);
                }
            }
            LooksThenWrites => {
                tokio::task::yield_now().await;
                if current == expected {
                    return swapped(self.write(bytes));
                }
            }
            WritesInHalves if current == expected => {
                self.write(&bytes[..bytes.len() / 2]);
                tokio::task::yield_now().await;
                return swapped(self.write(bytes));
            }
            _ => {}
        }
        Ok(match (self.defect, self.swap_now(expected, bytes)) {
            (HidesLoss, StateSwap::Changed { current }) => StateSwap::Swapped {
                version: current.unwrap_or(StateVersion::new(0)),
            },
            (MisreportsLoss, StateSwap::Changed { .. }) => StateSwap::Changed { current: None },
            (_, outcome) => outcome,
        })
    }
}

struct Harness(Defect);

#[async_trait]
impl StateStoreHarness for Harness {
    type Store = Memory;

    async fn empty_store(&self) -> Result<Arc<Memory>, Error> {
        Ok(Arc::new(Memory {
            past: Past::default(),
            defect: self.0,
            first_sight: None,
        }))
    }

    async fn reopen(&self, store: &Memory) -> Result<Option<Arc<Memory>>, Error> {
        let past = match self.0 {
            HandleIsAnother => Past::default(),
            _ => Arc::clone(&store.past),
        };
        Ok(Some(Arc::new(Memory {
            past,
            defect: self.0,
            first_sight: Some(Mutex::default()),
        })))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_breaks_no_rule_passes() {
    let report = run_state_store(&Harness(Sound)).await;
    assert!(report.has_passed(), "{report}");
    assert_eq!(report.skipped().count(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_defect_is_found() {
    for (defect, check) in DEFECTS {
        let report = run_state_store(&Harness(*defect)).await;
        assert!(
            report.failures().any(|name| name == *check),
            "{defect:?} is not found by {check:?}:\n{report}"
        );
    }
}

/// No check is there that cannot fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_check_can_fail() {
    let report = run_state_store(&Harness(Sound)).await;
    for check in report.checks() {
        assert!(
            DEFECTS.iter().any(|(_, name)| *name == check.name),
            "no defect is there for {:?}",
            check.name
        );
    }
}
