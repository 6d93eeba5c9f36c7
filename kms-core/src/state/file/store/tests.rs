//! What a disk that fails, and a process that dies at each step, leave behind.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use futures_util::FutureExt as _;

use super::*;
use crate::disk::Disk;
use crate::{Clock, Sleep};

/// Where the child of a test finds its file, and at which sync it is to die.
const CHILD: &str = "KMS_CORE_TEST_STATE_CHILD";

#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Tick {
        Tick::ORIGIN
    }
    fn wall_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
    fn sleep_until(&self, _: Tick) -> Sleep {
        Box::pin(core::future::pending())
    }
}

/// A disk that fails at one of its syncs, counted from one, or ends the process there.
#[derive(Debug, Default)]
struct FragileDisk {
    syncs: AtomicUsize,
    fails_at: AtomicUsize,
    dies_at: usize,
}

impl FragileDisk {
    fn fail_at(&self, sync: usize) {
        self.syncs.store(0, Ordering::SeqCst);
        self.fails_at.store(sync, Ordering::SeqCst);
    }
}

impl Disk for FragileDisk {
    fn sync(&self, _: &File) -> io::Result<()> {
        let sync = self.syncs.fetch_add(1, Ordering::SeqCst) + 1;
        if sync == self.dies_at {
            std::process::abort();
        }
        if sync == self.fails_at.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is full of holes"));
        }
        Ok(())
    }
}

fn store(path: impl Into<PathBuf>, disk: Arc<FragileDisk>) -> FileStateStore {
    let mut options = FileStateOptions::new(Arc::new(StoppedClock));
    options.disk = disk;
    FileStateStore::new(path, options)
}

fn load(store: &FileStateStore) -> Result<Option<VersionedState>, Error> {
    store.load(&CallOptions::default()).now_or_never().unwrap()
}

fn swap(
    store: &FileStateStore,
    expected: Option<StateVersion>,
    bytes: &[u8],
) -> Result<StateSwap, Error> {
    let call = CallOptions::default();
    store.swap(expected, bytes, &call).now_or_never().unwrap()
}

/// The names of all files but the state and its lock.
fn strays(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "state" && name != "state.lock")
        .collect()
}

/// A swap syncs what it read and its directory, the new file, and the directory again. Until the
/// rename, which comes before the last of these, the old state is there.
#[test]
fn a_sync_that_fails_leaves_the_old_state_or_the_new_one_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<FragileDisk>::default();
    let store = store(directory.path().join("state"), Arc::clone(&disk));
    let mut version = swap(&store, None, b"0").unwrap().swapped().unwrap();
    for (fault, happens) in [(1, false), (2, false), (3, false), (4, true)] {
        let before = load(&store).unwrap().unwrap();
        assert_eq!(before.version, version);
        disk.fail_at(fault);
        let error = swap(&store, Some(version), &[fault as u8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{fault}");
        assert_eq!(
            error.message().contains("may or may not"),
            happens,
            "{fault}"
        );
        let after = load(&store).unwrap().unwrap();
        assert_eq!(after != before, happens, "{fault}");
        assert!(strays(directory.path()).is_empty());
        version = after.version;
    }
    disk.fail_at(5);
    assert!(swap(&store, Some(version), b"end").is_ok(), "a fifth sync");
}

#[test]
fn a_load_gives_nothing_that_a_power_failure_could_take() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let disk = Arc::<FragileDisk>::default();
    let reader = store(&path, Arc::clone(&disk));
    let writer = store(&path, Arc::default());
    swap(&writer, None, b"new").unwrap().swapped().unwrap();
    for fault in [1, 2] {
        disk.fail_at(fault);
        let error = load(&reader).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.message().contains("not used yet"), "{error}");
    }
    disk.fail_at(3);
    assert_eq!(load(&reader).unwrap().unwrap().bytes, b"new");
}

/// Not a test of its own: makes one swap, and dies in the middle of it.
#[test]
fn child_that_dies_in_a_swap() {
    let Some(order) = std::env::var_os(CHILD) else {
        return;
    };
    let order = order.into_string().unwrap();
    let (dies_at, path) = order.split_once(':').unwrap();
    let disk = FragileDisk {
        dies_at: dies_at.parse().unwrap(),
        ..FragileDisk::default()
    };
    let store = store(path, Arc::new(disk));
    // What it reads first is synced too, by a store whose disk does not count.
    let found = load(&self::store(path, Arc::default())).unwrap();
    let expected = found.map(|state| state.version);
    let _ = swap(&store, expected, b"by the child");
}

#[test]
fn a_process_that_dies_at_any_step_leaves_a_whole_state_and_no_lock() {
    for (made_before, dies_at, happens) in [
        // Creating: the new file is synced, then the directory.
        (false, 1, false),
        (false, 2, true),
        (true, 1, false),
        (true, 2, false),
        (true, 3, false),
        (true, 4, true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let store = store(&path, Arc::default());
        if made_before {
            swap(&store, None, b"before").unwrap().swapped().unwrap();
        }
        let before = load(&store).unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "state::file::store::tests::child_that_dies_in_a_swap",
            ])
            .env(CHILD, format!("{dies_at}:{}", path.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "it was to die at sync {dies_at}");
        let after = load(&store).unwrap();
        match happens {
            true => assert_eq!(after.as_ref().unwrap().bytes, b"by the child"),
            false => assert_eq!(after, before),
        }
        // The next one is not held up, and sweeps.
        let expected = after.map(|state| state.version);
        assert!(swap(&store, expected, b"next").unwrap().swapped().is_some());
        assert!(strays(directory.path()).is_empty());
    }
}

#[test]
fn the_end_of_all_versions_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path().join("state"), Arc::default());
    swap(&store, None, b"").unwrap().swapped().unwrap();
    let last = StateVersion::new(u64::MAX);
    fs::write(store.path(), frame::render(last, b"last")).unwrap();
    let error = swap(&store, Some(last), b"more").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(load(&store).unwrap().unwrap().bytes, b"last");
}
