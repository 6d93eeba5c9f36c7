//! `FileStateStore` from outside: on disk, and between processes.

mod conformance;
mod disk;
mod processes;

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use kms_core::state::{
    FileStateOptions, FileStateStore, StateStore as _, StateSwap, StateVersion, VersionedState,
};
use kms_core::{CallOptions, Clock, Error, Sleep, Tick};
use kms_testkit::ManualClock;

/// A directory of its own for one state file.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn open(&self) -> FileStateStore {
        open(&self.path())
    }

    /// The names of all files but the state and its lock.
    fn strays(&self) -> Vec<String> {
        std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "state" && name != "state.lock")
            .collect()
    }
}

fn options() -> FileStateOptions {
    FileStateOptions::new(Arc::new(Impatient(ManualClock::new())))
}

/// A clock that never goes on; whoever waits by it waits for a moment of real time. So no test runs
/// into a time-out because the machine is slow.
#[derive(Debug)]
struct Impatient(ManualClock);

impl Clock for Impatient {
    fn now(&self) -> Tick {
        self.0.now()
    }

    fn wall_time(&self) -> SystemTime {
        self.0.wall_time()
    }

    fn sleep_until(&self, _: Tick) -> Sleep {
        Box::pin(tokio::time::sleep(Duration::from_millis(1)))
    }
}

fn open(path: &Path) -> FileStateStore {
    FileStateStore::new(path, options())
}

async fn load(store: &FileStateStore) -> Result<Option<VersionedState>, Error> {
    store.load(&CallOptions::default()).await
}

async fn swap(
    store: &FileStateStore,
    expected: Option<StateVersion>,
    bytes: &[u8],
) -> Result<StateSwap, Error> {
    store.swap(expected, bytes, &CallOptions::default()).await
}

/// Creates the state, which must not be there.
async fn create(store: &FileStateStore, bytes: &[u8]) -> StateVersion {
    swap(store, None, bytes).await.unwrap().swapped().unwrap()
}
