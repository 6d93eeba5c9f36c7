//! The DEK cache: what a stampede on one cold DEK costs, and what a hit costs.
//!
//! The stampede runs on a clock that only moves when everybody waits, so calls and latencies are
//! exact and the same on every machine; what the work itself takes is the last column, in real time.

use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{join, join_all};
use kms_benches::{Comparison, compare, machine, percentile, smoke};
use kms_core::{
    Clock, EncryptionContext, ErrorKind, KeyProvider as _, SecretBytes, Sleep, Tick, TokioClock,
    UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_envelope::cache::{DekLimits, EncryptCache, Partition, UnwrapCache, UnwrapCacheOptions};
use kms_testkit::{FaultProvider, ManualClock, Operation, StaticProvider};
use lru::LruCache;

const CALLERS: [usize; 3] = [1, 100, 10_000];
const LATENCIES: [u64; 3] = [0, 40, 300];
const CACHED: usize = 1000;

fn main() {
    if !smoke() && std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("Machine: {}.\n", machine());
    stampedes();
    hits();
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trouble {
    None,
    Refusing,
    Unreachable,
    LeaderDropped,
}

fn stampedes() {
    println!("Opens of one cold DEK at once:\n");
    println!("| callers | latency | KMS | provider calls | p50 | p99 | real time |");
    println!("|---|---|---|---|---|---|---|");
    for trouble in [
        Trouble::None,
        Trouble::Refusing,
        Trouble::Unreachable,
        Trouble::LeaderDropped,
    ] {
        for callers in CALLERS {
            for latency in LATENCIES {
                if trouble == Trouble::LeaderDropped && latency == 0 {
                    continue;
                }
                if smoke() && callers > 100 {
                    continue;
                }
                stampede(callers, Duration::from_millis(latency), trouble);
            }
        }
    }
    println!();
}

fn stampede(callers: usize, latency: Duration, trouble: Trouble) {
    let clock = ManualClock::new();
    let provider = StaticProvider::generate().expect("a key");
    let dek = SecretBytes::from_vec(vec![7; 32]);
    let wrapped = now(provider.wrap(&dek, &WrapOptions::default())).expect("wrapped");
    let provider = Arc::new(FaultProvider::new(provider, Arc::new(clock.clone())));
    provider.set_latency(Operation::Unwrap, latency);
    let fault = match trouble {
        Trouble::Refusing => Some(ErrorKind::PermissionDenied),
        Trouble::Unreachable => Some(ErrorKind::Unavailable),
        Trouble::None | Trouble::LeaderDropped => None,
    };
    if let Some(kind) = fault {
        provider.set_error_rate(Operation::Unwrap, 1000, kind);
    }
    let cache = UnwrapCache::new(
        provider.clone(),
        Arc::new(clock.clone()),
        UnwrapCacheOptions::default(),
    );
    let (partition, options) = (Partition::default(), UnwrapOptions::default());
    let start = Instant::now();
    let mut leader = None;
    if trouble == Trouble::LeaderDropped {
        let mut future = Box::pin(cache.unwrap(&partition, &wrapped, &options));
        assert!((&mut future).now_or_never().is_none(), "it waits");
        leader = Some(future);
    }
    let all = join_all((0..callers).map(|_| async {
        let began = clock.now();
        let opened = cache.unwrap(&partition, &wrapped, &options).await;
        assert_eq!(opened.err().map(|error| error.kind()), fault);
        clock.now().since(began)
    }));
    let half_way = async {
        if let Some(leader) = leader {
            clock.sleep_until(clock.now() + latency / 2).await;
            drop(leader);
        }
    };
    let (mut times, ()) = clock.run(join(all, half_way)).expect("it ends");
    let real = start.elapsed();
    times.sort_unstable();
    let calls = provider.calls(Operation::Unwrap);
    // A call that fails at once is over before the next caller comes, and an outage is not
    // remembered: who comes then asks again.
    let alone = trouble == Trouble::Unreachable && latency.is_zero();
    assert_eq!(calls, if alone { callers as u64 } else { 1 });
    let trouble = match trouble {
        Trouble::None => "answers",
        Trouble::Refusing => "refuses",
        Trouble::Unreachable => "cannot be reached",
        Trouble::LeaderDropped => "answers; the first caller is dropped half-way",
    };
    println!(
        "| {callers} | {} ms | {trouble} | {calls} | {} ms | {} ms | {:.2} ms |",
        latency.as_millis(),
        percentile(&times, 0.5).as_millis(),
        percentile(&times, 0.99).as_millis(),
        real.as_secs_f64() * 1000.0
    );
}

/// What is found by, in the yardstick: the same things that our cache compares.
#[derive(Eq, PartialEq)]
struct Key {
    partition: Partition,
    wrapped: WrappedKey,
    context: EncryptionContext,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.partition.hash(state);
        self.wrapped.hash(state);
        self.context.hash(state);
    }
}

type Yardstick = Mutex<LruCache<Key, (Arc<SecretBytes>, Tick)>>;

/// A clock that costs nothing, so that the difference is the caches'.
#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Tick {
        Tick::ORIGIN
    }

    fn wall_time(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH
    }

    fn sleep_until(&self, _: Tick) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// The wrapped keys are of the size that RSA-2048 or a cloud KMS gives.
fn keys() -> Vec<Key> {
    let context = EncryptionContext::new()
        .with("table", "users")
        .expect("a context");
    (0..CACHED)
        .map(|number| {
            let mut ciphertext = vec![0x5a; 248];
            ciphertext.extend_from_slice(&number.to_be_bytes());
            Key {
                partition: Partition::new("acme").expect("a name"),
                wrapped: WrappedKey::new("key-1".parse().expect("an id"), ciphertext)
                    .expect("a wrapped key"),
                context: context.clone(),
            }
        })
        .collect()
}

/// Walks over the keys in an order that no prefetcher likes.
struct Walk<'a>(&'a [Key], usize);

impl<'a> Walk<'a> {
    fn next(&mut self) -> &'a Key {
        self.1 = (self.1 + 619) % self.0.len();
        &self.0[self.1]
    }
}

fn hits() {
    println!("A hit among {CACHED} DEKs:\n");
    println!("| | threads | ours | `Mutex<lru>` | ratio |");
    println!("|---|---|---|---|---|");
    let keys = keys();
    let yardstick: Yardstick = Mutex::new(LruCache::new(CACHED.try_into().expect("not zero")));
    for key in self::keys() {
        let dek = SecretBytes::copy_from_slice(key.wrapped.ciphertext());
        let mut yardstick = yardstick.lock().expect("a lock");
        yardstick.put(
            key,
            (Arc::new(dek), Tick::ORIGIN + Duration::from_secs(600)),
        );
    }
    let stopped = filled(Arc::new(StoppedClock), &keys);
    let ticking = filled(Arc::new(TokioClock::new()), &keys);
    let clock = TokioClock::new();
    for threads in [1, 2] {
        let outcome = take_turns(
            threads,
            &keys,
            |key| ours(&stopped, key),
            |key| bare(&yardstick, key, Tick::ORIGIN),
        );
        row("`cached`", threads, &outcome);
        let outcome = take_turns(
            threads,
            &keys,
            |key| ours(&ticking, key),
            |key| bare(&yardstick, key, clock.now()),
        );
        row("`cached`, both with the real clock", threads, &outcome);
        let outcome = take_turns(
            threads,
            &keys,
            |key| {
                let options = UnwrapOptions::default().with_context(key.context.clone());
                now(stopped.unwrap(&key.partition, &key.wrapped, &options)).expect("unwrapped")
            },
            |key| {
                black_box(UnwrapOptions::default().with_context(key.context.clone()));
                bare(&yardstick, key, Tick::ORIGIN)
            },
        );
        row("`unwrap`, options made anew by both", threads, &outcome);
    }

    let sealing = EncryptCache::new(
        Arc::new(StoppedClock),
        DekLimits::default()
            .with_max_messages(u64::MAX)
            .with_max_bytes(u64::MAX),
        |_| async { Ok(SecretBytes::from_vec(vec![7; 32])) },
    );
    let key = keys.first().expect("a key");
    let first = sealing.key_for(&key.partition, &key.context, 1);
    now(first).expect("made");
    let mut walk = Walk(&keys, 0);
    let outcome = compare(
        || now(sealing.key_for(&key.partition, &key.context, 1024)).expect("made"),
        || bare(&yardstick, walk.next(), Tick::ORIGIN),
    );
    row("`EncryptCache::key_for`, one purpose", 1, &outcome);
}

fn row(what: &str, threads: usize, outcome: &Comparison) {
    println!(
        "| {what} | {threads} | {:.0} ns | {:.0} ns | {:.2} |",
        outcome.candidate_ns, outcome.baseline_ns, outcome.ratio
    );
}

fn filled(clock: Arc<dyn Clock>, keys: &[Key]) -> UnwrapCache {
    #[derive(Debug)]
    struct Mirror;
    impl std::fmt::Display for Mirror {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("mirror")
        }
    }
    #[async_trait::async_trait]
    impl kms_core::KeyProvider for Mirror {
        fn capabilities(&self) -> kms_core::Capabilities {
            kms_core::Capabilities::basic()
        }
        async fn current_key(
            &self,
            _: &kms_core::CallOptions,
        ) -> Result<kms_core::KeyInfo, kms_core::Error> {
            Err(kms_core::Error::crypto())
        }
        async fn wrap(
            &self,
            _: &SecretBytes,
            _: &WrapOptions,
        ) -> Result<WrappedKey, kms_core::Error> {
            Err(kms_core::Error::crypto())
        }
        async fn unwrap(
            &self,
            wrapped: &WrappedKey,
            _: &UnwrapOptions,
        ) -> Result<SecretBytes, kms_core::Error> {
            Ok(SecretBytes::copy_from_slice(wrapped.ciphertext()))
        }
    }
    let options = UnwrapCacheOptions::default()
        .with_capacity(CACHED)
        .with_keep_for(Duration::MAX);
    let cache = UnwrapCache::new(Arc::new(Mirror), clock, options);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    for key in keys {
        let options = UnwrapOptions::default().with_context(key.context.clone());
        runtime
            .block_on(cache.unwrap(&key.partition, &key.wrapped, &options))
            .expect("unwrapped");
    }
    cache
}

fn bare(yardstick: &Yardstick, key: &Key, now: Tick) -> Arc<SecretBytes> {
    let mut yardstick = yardstick.lock().expect("a lock");
    let (dek, until) = yardstick.get(key).expect("it is there");
    assert!(*until > now, "it is fresh");
    Arc::clone(dek)
}

fn ours(cache: &UnwrapCache, key: &Key) -> Arc<SecretBytes> {
    cache
        .cached(&key.partition, &key.wrapped, &key.context)
        .expect("it is there")
}

/// With a second thread, that thread does the same as the one that is measured.
fn take_turns(
    threads: usize,
    keys: &[Key],
    candidate: impl Fn(&Key) -> Arc<SecretBytes> + Sync,
    baseline: impl Fn(&Key) -> Arc<SecretBytes> + Sync,
) -> Comparison {
    let (stop, on_candidate) = (AtomicBool::new(false), AtomicBool::new(true));
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| {
                let mut walk = Walk(keys, 311);
                while !stop.load(Ordering::Relaxed) {
                    if on_candidate.load(Ordering::Relaxed) {
                        black_box(candidate(walk.next()));
                    } else {
                        black_box(baseline(walk.next()));
                    }
                }
            });
        }
        let (mut walk, mut other) = (Walk(keys, 0), Walk(keys, 0));
        let outcome = compare(
            || {
                if threads > 1 {
                    on_candidate.store(true, Ordering::Relaxed);
                }
                candidate(walk.next())
            },
            || {
                if threads > 1 {
                    on_candidate.store(false, Ordering::Relaxed);
                }
                baseline(other.next())
            },
        );
        stop.store(true, Ordering::Relaxed);
        outcome
    })
}

/// What is cached is ready at the first poll.
fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("nothing to wait for")
}
