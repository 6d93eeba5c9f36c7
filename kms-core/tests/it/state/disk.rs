//! The file: never taken for empty, never written over, never trusted blindly.

use core::time::Duration;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;

use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::state::{FileStateStore, StateStore as _, StateSwap};
use kms_core::{CallOptions, Clock as _, ErrorKind};
use kms_testkit::ManualClock;

use super::{Place, create, load, open, options, swap};

fn mode_of(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_file_that_is_torn_or_not_ours_is_refused_and_left_alone() {
    let place = Place::new();
    let store = place.open();
    let version = create(&store, b"the state").await;
    let whole = fs::read(place.path()).unwrap();
    let keyring = place.0.path().join("keyring");
    let local = LocalOptions::new(Arc::new(ManualClock::new()));
    LocalProvider::create(&keyring, local).unwrap();
    let more = [&whole[..], b"\n"].concat();
    let mut files: Vec<Vec<u8>> = (0..whole.len())
        .step_by(9)
        .map(|length| whole[..length].to_vec())
        .collect();
    files.extend([more, fs::read(keyring).unwrap(), vec![0; whole.len()]]);
    for file in files {
        fs::write(place.path(), &file).unwrap();
        for expected in [None, Some(version)] {
            let error = swap(&store, expected, b"new").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
        let error = load(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(
            error.to_string().contains("state: the state file"),
            "{error}"
        );
        assert_eq!(fs::read(place.path()).unwrap(), file);
    }
    fs::write(place.path(), &whole).unwrap();
    assert_eq!(load(&store).await.unwrap().unwrap().version, version);
}

#[tokio::test]
async fn a_file_too_long_to_be_ours_is_not_even_read() {
    let place = Place::new();
    let store = place.open();
    create(&store, b"").await;
    // Sparse: it takes no room.
    let file = fs::File::options().write(true).open(place.path()).unwrap();
    file.set_len(1 << 40).unwrap();
    assert_eq!(load(&store).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn only_a_missing_file_is_no_state() {
    let place = Place::new();
    assert_eq!(load(&place.open()).await.unwrap(), None);
    assert!(
        !place.0.path().join("state.lock").exists(),
        "reading writes"
    );

    let elsewhere = open(&place.0.path().join("missing/state"));
    let error = load(&elsewhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.remedy().contains("create the directory"), "{error}");
    assert_eq!(
        swap(&elsewhere, None, b"").await.unwrap_err().kind(),
        ErrorKind::Io
    );

    let directory = open(place.0.path());
    let error = load(&directory).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);

    let dangling = place.0.path().join("dangling");
    symlink(place.0.path().join("nowhere"), &dangling).unwrap();
    let dangling = open(&dangling);
    assert_eq!(load(&dangling).await.unwrap_err().kind(), ErrorKind::Io);
    let error = swap(&dangling, None, b"").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[tokio::test]
async fn others_have_no_rights_to_the_file_nor_may_they_replace_it() {
    let place = Place::new();
    let store = place.open();
    let version = create(&store, b"state").await;
    assert_eq!(mode_of(&place.path()), 0o600);
    let swapped = swap(&store, Some(version), b"next").await.unwrap();
    assert_eq!(mode_of(&place.path()), 0o600);
    let version = swapped.swapped().unwrap();

    for mode in [0o640, 0o604, 0o620, 0o777] {
        set_mode(&place.path(), mode);
        let error = load(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let error = swap(&store, Some(version), b"").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    let wide = FileStateStore::new(place.path(), options().with_wide_permissions(true));
    assert_eq!(load(&wide).await.unwrap().unwrap().bytes, b"next");
    set_mode(&place.path(), 0o600);

    set_mode(place.0.path(), 0o777);
    let error = load(&store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let other = open(&place.0.path().join("other"));
    let error = swap(&other, None, b"").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(!other.path().exists() && !place.0.path().join("other.lock").exists());
    set_mode(place.0.path(), 0o1777);
    assert!(load(&store).await.is_ok());
}

#[tokio::test]
async fn a_link_stays_and_its_target_is_replaced() {
    let place = Place::new();
    let other = Place::new();
    let target = other.open();
    let version = create(&target, b"old").await;
    symlink(other.path(), place.path()).unwrap();
    let linked = place.open();
    let swapped = swap(&linked, Some(version), b"new").await.unwrap();
    assert!(swapped.swapped().is_some());
    assert_eq!(load(&target).await.unwrap().unwrap().bytes, b"new");
    assert!(fs::symlink_metadata(place.path()).unwrap().is_symlink());
    // One lock, whichever way leads there.
    assert!(place.strays().is_empty() && !place.0.path().join("state.lock").exists());
}

#[tokio::test]
async fn a_file_removed_and_made_again_is_not_at_an_old_version() {
    let place = Place::new();
    let store = place.open();
    let mut old = vec![create(&store, b"0").await];
    for _ in 0..3 {
        let next = swap(&store, old.last().copied(), b"1").await.unwrap();
        old.push(next.swapped().unwrap());
    }
    fs::remove_file(place.path()).unwrap();
    let made = create(&place.open(), b"made again").await;
    for expected in old {
        let outcome = swap(&store, Some(expected), b"late").await.unwrap();
        let current = Some(made);
        assert_eq!(outcome, StateSwap::Changed { current });
    }
}

#[test]
fn a_writer_that_does_not_end_is_waited_for_in_bounds() {
    let place = Place::new();
    let clock = ManualClock::new();
    let patience = Duration::from_secs(5);
    let timed = options().with_patience(patience);
    let mut timed = timed;
    timed.clock = Arc::new(clock.clone());
    let store = FileStateStore::new(place.path(), timed);
    let call = CallOptions::default();
    let made = clock.run(store.swap(None, b"0", &call)).unwrap().unwrap();
    let version = made.swapped();

    let lock = fs::File::options()
        .write(true)
        .open(place.0.path().join("state.lock"))
        .unwrap();
    lock.lock().unwrap();
    for (deadline, waits) in [(None, 5), (Some(2), 2), (Some(60), 5), (Some(0), 0)] {
        let start = clock.now();
        let mut call = CallOptions::default();
        if let Some(seconds) = deadline {
            call = call.with_deadline(start + Duration::from_secs(seconds));
        }
        let error = clock
            .run(store.swap(version, b"1", &call))
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(clock.now().since(start), Duration::from_secs(waits));
        // Readers wait for nobody.
        let state = clock.run(store.load(&call)).unwrap().unwrap().unwrap();
        assert_eq!(Some(state.version), version);
    }
    lock.unlock().unwrap();
    let swapped = clock.run(store.swap(version, b"1", &call)).unwrap();
    assert!(swapped.unwrap().swapped().is_some());
}
