//! Several processes with one file, and processes that are killed.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Place, create, load, open, swap};

const COUNTS: &str = "KMS_CORE_TEST_STATE_COUNTS";
const KILLED: &str = "KMS_CORE_TEST_STATE_KILLED";
const WRITERS: u64 = 4;
const INCREMENTS: u64 = 25;

/// A state that shows whether it is whole: a number, over and over.
fn state_of(number: u64) -> Vec<u8> {
    let times = usize::try_from(number % 5).unwrap();
    number.to_be_bytes().repeat(1 + times * 3000)
}

fn number_in(bytes: &[u8]) -> u64 {
    let number = u64::from_be_bytes(*bytes.first_chunk().unwrap());
    assert_eq!(
        bytes,
        state_of(number),
        "the state of {number} is not whole"
    );
    number
}

/// Counts up once, however many do so at once.
async fn increment(path: &Path) -> u64 {
    let store = open(path);
    loop {
        let state = load(&store).await.unwrap().unwrap();
        let next = number_in(&state.bytes) + 1;
        let outcome = swap(&store, Some(state.version), &state_of(next)).await;
        if outcome.unwrap().swapped().is_some() {
            return next;
        }
    }
}

fn child(test: &str, variable: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test of its own: what a child process of the test below does.
#[tokio::test]
async fn child_that_counts() {
    let Some(path) = std::env::var_os(COUNTS) else {
        return;
    };
    for _ in 0..INCREMENTS {
        increment(Path::new(&path)).await;
    }
}

#[tokio::test]
async fn processes_that_swap_at_once_lose_nothing() {
    let place = Place::new();
    let store = place.open();
    let mut version = create(&store, &state_of(0)).await;
    let test = "state::processes::child_that_counts";
    let mut children: Vec<_> = (0..WRITERS)
        .map(|_| child(test, COUNTS, &place.path()))
        .collect();
    // Reads all the while, and must never see a state that is not whole, nor one that goes back.
    let mut seen = 0;
    while !children.is_empty() {
        let state = load(&store).await.unwrap().unwrap();
        let number = number_in(&state.bytes);
        assert!(number >= seen && state.version >= version);
        (seen, version) = (number, state.version);
        children.retain_mut(|child| match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success());
                false
            }
            None => true,
        });
    }
    let last = load(&store).await.unwrap().unwrap();
    assert_eq!(number_in(&last.bytes), WRITERS * INCREMENTS);
    assert!(place.strays().is_empty());
}

/// Not a test of its own: counts up until it is killed.
#[tokio::test]
async fn child_that_never_ends() {
    let Some(path) = std::env::var_os(KILLED) else {
        return;
    };
    loop {
        let number = increment(Path::new(&path)).await;
        // One write, so that a kill does not cut the line.
        let line = format!("counted to {number}.\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn a_writer_that_is_killed_loses_nothing_and_blocks_nobody() {
    let place = Place::new();
    create(&place.open(), &state_of(0)).await;
    for round in 1..=20 {
        let test = "state::processes::child_that_never_ends";
        let mut child = child(test, KILLED, &place.path());
        let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let mut confirmed = 0;
        for _ in 0..round {
            let line = lines.next().unwrap().unwrap();
            let number = line.strip_prefix("counted to ");
            let number = number.and_then(|rest| rest.strip_suffix('.'));
            confirmed = number.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        }
        // SIGKILL, somewhere in the middle of what it does next.
        child.kill().unwrap();
        child.wait().unwrap();
        let state = load(&place.open()).await.unwrap().unwrap();
        let number = number_in(&state.bytes);
        assert!(number >= confirmed, "{number}, {confirmed} was confirmed");
        assert_eq!(increment(&place.path()).await, number + 1);
        assert!(place.strays().is_empty());
    }
}
