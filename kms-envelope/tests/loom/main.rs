//! The caches and the single flight under every order in which threads can come to their locks and
//! atomics.
//!
//! What is checked is the crates' own source, included by path, with a model checker's locks and
//! atomics in place of the real ones. A `Shared` future of `futures-util` is not taken apart: what
//! it does between two steps of ours is one step. Who waits sleeps until it is woken; if nobody
//! does, the checker says so.

macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        pub(crate) const TESTS: &[(&str, fn() -> u64)] = &[$((stringify!($test), $test)),*];
    };
}

mod cache;
mod encrypt;
#[path = "../../../kms-core/src/layer/flight.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "it is a public room of another crate, of which the caches use a part"
)]
mod flight;
mod limits;
mod sync;
mod task;
mod unwrap;

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use kms_core::{Clock, Error, ErrorKind, Sleep, Tick};
use task::{ask_once, wait};

fn main() {
    // As the standard harness: only what holds one of these words.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    for (room, tests) in [
        ("limits", limits::TESTS),
        ("unwrap", unwrap::TESTS),
        ("encrypt", encrypt::TESTS),
    ] {
        for (name, test) in tests {
            let name = format!("{room}::{name}");
            if words.is_empty() || words.iter().any(|word| name.contains(word)) {
                println!("{name} ... {} orders", test());
            }
        }
    }
}

/// No bound on how often the threads change.
const EVERY: Option<usize> = None;

/// Runs a test under every order of its threads, but for those with more than so many changes from
/// a thread that could have gone on. Says how many orders there were.
fn explore(changes: impl Into<Option<usize>>, test: impl Fn() + Send + Sync + 'static) -> u64 {
    static ORDERS: AtomicU64 = AtomicU64::new(0);
    ORDERS.store(0, Ordering::Relaxed);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = changes.into();
    model.max_branches = 10_000;
    model.check(move || {
        ORDERS.fetch_add(1, Ordering::Relaxed);
        test();
    });
    ORDERS.load(Ordering::Relaxed)
}

/// Ready when it is asked for the second time: a moment at which its owner may be dropped.
async fn a_moment() {
    let mut asked = false;
    poll_fn(|context| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Calls to a KMS, real or made up.
#[derive(Debug, Default)]
struct Calls {
    begun: AtomicU64,
    ended: AtomicU64,
    /// What a call sees when it begins; a test counts it up.
    age: AtomicU64,
}

impl Calls {
    async fn call(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let age = self.age.load(Ordering::Relaxed);
        a_moment().await;
        self.ended.fetch_add(1, Ordering::Relaxed);
        age
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Calls that begin from now on see another number.
    fn grow_older(&self) {
        self.age.fetch_add(1, Ordering::Relaxed);
    }
}

/// Time that moves only when it is set, in seconds.
#[derive(Debug, Default)]
struct Seconds(AtomicU64);

impl Seconds {
    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for Seconds {
    fn now(&self) -> Tick {
        Tick::ORIGIN + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn wall_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep_until(&self, _: Tick) -> Sleep {
        Box::pin(std::future::pending())
    }
}
