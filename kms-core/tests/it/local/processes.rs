//! Several processes, and several threads, with one keyring.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use kms_core::local::{LocalOptions, LocalProvider};
use kms_testkit::ManualClock;

use super::{Place, current, secret, unwrap, wrap};

const PATH: &str = "KMS_CORE_TEST_KEYRING";
const KILLED_PATH: &str = "KMS_CORE_TEST_KEYRING_KILLED";
const WRITERS: usize = 4;
const ROTATIONS: usize = 10;

fn options() -> LocalOptions {
    LocalOptions::new(Arc::new(ManualClock::new()))
}

/// Not a test of its own: what a child process of the test below does.
#[test]
fn child_that_rotates() {
    let Some(path) = std::env::var_os(PATH) else {
        return;
    };
    let provider = LocalProvider::open(path, options()).unwrap();
    for _ in 0..ROTATIONS {
        let version = provider.rotate().unwrap().version;
        assert!(current(&provider).is_ok() && wrap(&provider, "dek").is_ok());
        println!("rotated to {version}.");
    }
}

#[test]
fn processes_that_rotate_at_once_lose_nothing() {
    let place = Place::new();
    let watcher = place.create();
    let children: Vec<_> = (0..WRITERS)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "local::processes::child_that_rotates",
                    "--nocapture",
                ])
                .env(PATH, place.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    // Reads all the while, and must never see a file that is not whole.
    let mut wrapped = Vec::new();
    let all = u32::try_from(WRITERS * ROTATIONS).unwrap() + 1;
    let mut children: Vec<_> = children.into_iter().map(Some).collect();
    let mut outputs = Vec::new();
    while outputs.len() < WRITERS {
        wrapped.push(wrap(&watcher, "dek").unwrap());
        for slot in &mut children {
            if slot
                .as_mut()
                .is_some_and(|child| child.try_wait().unwrap().is_some())
            {
                outputs.push(slot.take().unwrap().wait_with_output().unwrap());
            }
        }
    }
    let mut versions = BTreeSet::from([1]);
    for output in outputs {
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        for rotated in text.split("rotated to ").skip(1) {
            let number: u32 = rotated.split('.').next().unwrap().parse().unwrap();
            assert!(
                versions.insert(number),
                "version {number} was given out twice"
            );
        }
    }
    assert_eq!(versions, (1..=all).collect());
    let reopened = place.open().unwrap();
    assert_eq!(reopened.list().unwrap().len(), versions.len());
    for wrapped in &wrapped {
        assert_eq!(unwrap(&reopened, wrapped).unwrap(), secret("dek"));
    }
    assert!(place.strays().is_empty());
}

/// Not a test of its own: rotates until it is killed.
#[test]
fn child_that_never_ends() {
    let Some(path) = std::env::var_os(KILLED_PATH) else {
        return;
    };
    let provider = LocalProvider::open(path, options()).unwrap();
    loop {
        // One write, so that a kill does not cut the line.
        let line = format!("rotated to {}.\n", provider.rotate().unwrap().version);
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn a_writer_that_is_killed_loses_nothing_and_blocks_nobody() {
    let place = Place::new();
    drop(place.create());
    for round in 1..=12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "local::processes::child_that_never_ends",
                "--nocapture",
            ])
            .env(KILLED_PATH, place.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let mut acknowledged = 0;
        for _ in 0..round {
            let line = lines.next().unwrap().unwrap();
            let number = line
                .strip_prefix("rotated to ")
                .and_then(|n| n.strip_suffix('.'));
            acknowledged = number.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        }
        // Somewhere in the middle of what it does next.
        child.kill().unwrap();
        child.wait().unwrap();
        let provider = place.open().unwrap();
        let version = provider.rotate().unwrap().version;
        assert!(version > acknowledged, "{version} after {acknowledged}");
        assert!(place.strays().is_empty());
    }
}

#[test]
fn threads_that_share_a_provider_lose_nothing() {
    let place = Place::new();
    let provider = place.create();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    provider.rotate().unwrap();
                    let wrapped = wrap(&provider, "dek").unwrap();
                    assert_eq!(unwrap(&provider, &wrapped).unwrap(), secret("dek"));
                }
            });
        }
    });
    assert_eq!(provider.list().unwrap().len(), 21);
    assert_eq!(
        place.open().unwrap().list().unwrap(),
        provider.list().unwrap()
    );
}

#[test]
fn two_creators_make_one_keyring() {
    let place = Place::new();
    let created = std::thread::scope(|scope| {
        let attempts: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| LocalProvider::create(place.path(), place.options())))
            .collect();
        attempts
            .into_iter()
            .filter_map(|attempt| attempt.join().unwrap().ok())
            .count()
    });
    assert_eq!(created, 1);
    assert!(place.open().is_ok() && place.strays().is_empty());
}
