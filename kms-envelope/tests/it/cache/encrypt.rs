//! DEKs that encrypt: limits, replacing ahead of time, rotation, purges.

mod laws;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use kms_core::{Clock as _, EncryptionContext, Error, ErrorKind, Tick};
use kms_envelope::cache::{Background, DekLimits, EncryptCache, Partition};
use kms_testkit::ManualClock;

use super::{partition, seconds};

/// A DEK of this test: which one, for what, and when it was there.
#[derive(Debug)]
struct Key {
    number: u64,
    kek: u64,
    context: EncryptionContext,
    made: Tick,
}

/// Makes DEKs, after a latency, or fails.
struct Maker {
    clock: ManualClock,
    latency: Mutex<Duration>,
    fault: Mutex<Option<ErrorKind>>,
    made: AtomicU64,
    kek: AtomicU64,
}

impl Maker {
    async fn make(self: Arc<Self>, context: EncryptionContext) -> Result<Key, Error> {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let kek = self.kek.load(Ordering::SeqCst);
        let latency = *self.latency.lock().unwrap();
        if !latency.is_zero() {
            self.clock.sleep_until(self.clock.now() + latency).await;
        }
        match *self.fault.lock().unwrap() {
            Some(kind) => Err(Error::new(kind, "as the test wants")),
            None => Ok(Key {
                number,
                kek,
                context,
                made: self.clock.now(),
            }),
        }
    }
}

struct Bed {
    clock: ManualClock,
    maker: Arc<Maker>,
    cache: EncryptCache<Key>,
}

impl Bed {
    fn new(limits: DekLimits) -> Self {
        let clock = ManualClock::new();
        let maker = Arc::new(Maker {
            clock: clock.clone(),
            latency: Mutex::default(),
            fault: Mutex::default(),
            made: AtomicU64::new(0),
            kek: AtomicU64::new(0),
        });
        let makes = Arc::clone(&maker);
        let cache = EncryptCache::new(Arc::new(clock.clone()), limits, move |context| {
            Arc::clone(&makes).make(context)
        });
        Self {
            clock,
            maker,
            cache,
        }
    }

    fn key_in(
        &self,
        partition: &Partition,
        context: &EncryptionContext,
        bytes: u64,
    ) -> Result<Arc<Key>, ErrorKind> {
        let key = self
            .clock
            .run(self.cache.key_for(partition, context, bytes));
        key.expect("it ends").map_err(|error| error.kind())
    }

    fn key(&self, bytes: u64) -> Result<u64, ErrorKind> {
        let key = self.key_in(&Partition::default(), &EncryptionContext::new(), bytes);
        key.map(|key| key.number)
    }

    fn made(&self) -> u64 {
        self.maker.made.load(Ordering::SeqCst)
    }

    /// From now on DEKs are wrapped by the next KEK, of which the cache knows nothing.
    fn rotate(&self) {
        self.maker.kek.fetch_add(1, Ordering::SeqCst);
    }

    /// Tells the cache what is current.
    fn note_rotation(&self) -> bool {
        let kek = self.maker.kek.load(Ordering::SeqCst);
        self.cache.note_rotation(|key| key.kek == kek)
    }

    fn fail(&self, fault: Option<ErrorKind>) {
        *self.maker.fault.lock().unwrap() = fault;
    }

    fn set_latency(&self, latency: Duration) {
        *self.maker.latency.lock().unwrap() = latency;
    }
}

/// Nothing is replaced ahead of time because of its age.
fn limits() -> DekLimits {
    DekLimits::default()
        .with_max_age(seconds(100))
        .with_refresh_before(Duration::ZERO)
        .with_retry_every(seconds(2))
}

fn context(name: &str) -> EncryptionContext {
    EncryptionContext::new().with("table", name).unwrap()
}

#[test]
fn a_dek_ends_with_its_last_message_byte_or_second() {
    let bed = Bed::new(limits().with_max_messages(3));
    let keys: Vec<u64> = (0..7).map(|_| bed.key(1).unwrap()).collect();
    assert_eq!(keys, [0, 0, 0, 1, 1, 1, 2]);

    let bed = Bed::new(limits().with_max_bytes(7));
    let keys = [3, 4, 3, 5, 7, 0, 1].map(|bytes| bed.key(bytes).unwrap());
    assert_eq!(keys, [0, 0, 1, 2, 3, 3, 4]);

    let bed = Bed::new(limits());
    assert_eq!(bed.key(1), Ok(0));
    bed.clock.advance(seconds(99));
    assert_eq!(bed.key(1), Ok(0));
    bed.clock.advance(seconds(1));
    assert_eq!(bed.key(1), Ok(1));
}

#[test]
fn a_message_that_no_dek_may_encrypt_is_refused_before_anything_is_made() {
    let bed = Bed::new(limits().with_max_bytes(100));
    for bytes in [101, u64::MAX] {
        assert_eq!(bed.key(bytes), Err(ErrorKind::InvalidInput));
    }
    assert_eq!(bed.made(), 0);
    assert_eq!(bed.key(100), Ok(0));
}

#[test]
fn the_first_past_the_mark_makes_the_next_while_the_others_go_on() {
    // Of 16 messages, two are the last eighth.
    let bed = Bed::new(limits().with_max_messages(16));
    for _ in 0..14 {
        bed.key(1).unwrap();
    }
    assert_eq!(bed.made(), 1);
    bed.set_latency(seconds(1));
    let (partition, context) = (Partition::default(), EncryptionContext::new());
    let mut first = Box::pin(bed.cache.key_for(&partition, &context, 1));
    assert!((&mut first).now_or_never().is_none(), "it makes the next");
    let other = bed.cache.key_for(&partition, &context, 1).now_or_never();
    assert_eq!(other.expect("it does not wait").unwrap().number, 0);
    // The old one is used up: now everybody waits, for the one that is being made.
    let more = join_all((0..5).map(|_| bed.cache.key_for(&partition, &context, 1)));
    let (first, more) = bed
        .clock
        .run(futures_util::future::join(first, more))
        .unwrap();
    assert_eq!(
        first.unwrap().number,
        0,
        "counted before the next was there"
    );
    assert!(more.iter().all(|key| key.as_ref().unwrap().number == 1));
    assert_eq!(bed.made(), 2);
}

#[test]
fn with_a_spawner_nobody_waits_for_the_next() {
    let spawned: Arc<Mutex<Vec<Background>>> = Arc::default();
    let spawn = Arc::clone(&spawned);
    let mut bed = Bed::new(limits().with_refresh_before(seconds(10)));
    bed.cache = bed
        .cache
        .with_spawner(move |refresh| spawn.lock().unwrap().push(refresh));
    bed.key(1).unwrap();
    bed.set_latency(seconds(1));
    bed.clock.advance(seconds(90));
    let began = bed.clock.now();
    for _ in 0..5 {
        assert_eq!(bed.key(1), Ok(0));
    }
    assert_eq!(bed.clock.now(), began);
    let tasks = std::mem::take(&mut *spawned.lock().unwrap());
    assert_eq!(tasks.len(), 1);
    bed.clock.run(join_all(tasks)).unwrap();
    assert_eq!((bed.key(1), bed.made()), (Ok(1), 2));
}

#[test]
fn an_outage_does_not_stop_a_dek_before_its_limits() {
    let bed = Bed::new(limits().with_refresh_before(seconds(10)));
    bed.key(1).unwrap();
    bed.fail(Some(ErrorKind::Unavailable));
    bed.clock.advance(seconds(90));
    for _ in 0..5 {
        assert_eq!(bed.key(1), Ok(0));
    }
    assert_eq!(bed.made(), 2, "one attempt in two seconds");
    bed.clock.advance(seconds(2));
    assert_eq!((bed.key(1), bed.made()), (Ok(0), 3));
    bed.clock.advance(seconds(8));
    assert_eq!(bed.key(1), Err(ErrorKind::Unavailable));
    bed.fail(None);
    assert_eq!(bed.key(1), Ok(4));
}

#[test]
fn a_refusal_stops_it_at_once() {
    let bed = Bed::new(limits().with_refresh_before(seconds(10)));
    bed.key(1).unwrap();
    bed.fail(Some(ErrorKind::KeyDisabled));
    bed.clock.advance(seconds(90));
    assert_eq!(bed.key(1), Err(ErrorKind::KeyDisabled));
    assert_eq!(bed.cache.stats().entries, 0);
    assert_eq!(bed.key(1), Err(ErrorKind::KeyDisabled));
}

#[test]
fn a_stampede_makes_one_dek_and_a_dropped_leader_changes_nothing() {
    for callers in [1, 100, 10_000] {
        let bed = Bed::new(limits());
        bed.set_latency(Duration::from_millis(40));
        let (partition, context) = (Partition::default(), EncryptionContext::new());
        let leader = bed.cache.key_for(&partition, &context, 1);
        let mut leader = Box::pin(leader);
        assert!((&mut leader).now_or_never().is_none());
        let mut others: Vec<_> = (0..callers)
            .map(|_: u64| Box::pin(bed.cache.key_for(&partition, &context, 1)))
            .collect();
        for other in &mut others {
            assert!(other.now_or_never().is_none());
        }
        drop(leader);
        for key in bed.clock.run(join_all(others)).unwrap() {
            assert_eq!(key.unwrap().number, 0);
        }
        assert_eq!(bed.made(), 1);
        let stats = bed.cache.stats();
        assert_eq!(
            (stats.misses, stats.coalesced, stats.provider_calls),
            (callers + 1, callers, 1)
        );
        assert_eq!((stats.hits, stats.provider_errors), (0, 0));
        bed.key(1).unwrap();
        assert_eq!(bed.cache.stats().hits, 1);
    }
}

#[test]
fn those_who_wait_share_a_dek_only_as_far_as_it_goes() {
    let bed = Bed::new(limits().with_max_messages(4));
    bed.set_latency(Duration::from_millis(40));
    let (partition, context) = (Partition::default(), EncryptionContext::new());
    let all = join_all((0..10).map(|_| bed.cache.key_for(&partition, &context, 1)));
    let mut used = BTreeMap::<u64, usize>::new();
    for key in bed.clock.run(all).unwrap() {
        *used.entry(key.unwrap().number).or_default() += 1;
    }
    assert_eq!(used.into_values().collect::<Vec<_>>(), [4, 4, 2]);
}

#[test]
fn a_rotation_is_followed_without_a_gap() {
    let bed = Bed::new(limits());
    assert_eq!(bed.key(1), Ok(0));
    assert!(!bed.note_rotation(), "it is current");
    assert_eq!((bed.key(1), bed.made()), (Ok(0), 1));
    bed.rotate();
    assert_eq!((bed.key(1), bed.made()), (Ok(0), 1), "nobody has told");
    bed.fail(Some(ErrorKind::Unavailable));
    assert!(bed.note_rotation());
    assert_eq!((bed.key(1), bed.made()), (Ok(0), 2), "no emergency");
    assert!(!bed.note_rotation(), "known already");
    bed.fail(None);
    bed.clock.advance(seconds(2));
    assert_eq!((bed.key(1), bed.made()), (Ok(0), 3));
    assert_eq!((bed.key(1), bed.made()), (Ok(2), 3));
    assert!(!bed.note_rotation(), "followed");
    assert_eq!((bed.key(1), bed.made()), (Ok(2), 3));
}

#[test]
fn a_rotation_takes_those_it_concerns_and_what_was_being_made() {
    let bed = Bed::new(limits());
    let key = |name| bed.key_in(&partition(1), &context(name), 1).unwrap().number;
    assert_eq!(key("old"), 0);
    bed.rotate();
    assert_eq!(key("new"), 1);
    bed.set_latency(seconds(1));
    let (tenant, made_just_now) = (partition(1), context("late"));
    let mut making = Box::pin(bed.cache.key_for(&tenant, &made_just_now, 1));
    assert!((&mut making).now_or_never().is_none());
    assert!(bed.note_rotation());
    assert_eq!(bed.clock.run(making).unwrap().unwrap().number, 2);
    bed.set_latency(Duration::ZERO);
    // Whoever sees first that one is due makes the next, and has its message under the old one.
    assert_eq!([key("new"), key("new")], [1, 1]);
    assert_eq!([key("old"), key("old")], [0, 3]);
    assert_eq!([key("late"), key("late")], [2, 4]);
    // One that nobody has used since stays known as outdated, and is no rotation again.
    bed.rotate();
    assert!(bed.note_rotation());
    assert_eq!([key("new"), key("new")], [1, 5]);
    assert!(!bed.note_rotation());
    assert_eq!(key("new"), 5);
}

#[test]
fn after_a_purge_the_next_seal_has_a_dek_made_after_it() {
    let bed = Bed::new(limits());
    let (one, two) = (partition(1), partition(2));
    let (a, b) = (context("a"), context("b"));
    let number = |partition, context| bed.key_in(partition, context, 1).unwrap().number;
    assert_eq!(
        [number(&one, &a), number(&one, &b), number(&two, &a)],
        [0, 1, 2]
    );
    let weak = Arc::downgrade(&bed.key_in(&one, &a, 1).unwrap());
    bed.cache.purge(|key| key.context == context("a"));
    assert!(weak.upgrade().is_none(), "dropped");
    assert_eq!(
        [number(&one, &a), number(&one, &b), number(&two, &a)],
        [3, 1, 4]
    );
    bed.cache.purge_partition(&one);
    assert_eq!(
        [number(&one, &a), number(&one, &b), number(&two, &a)],
        [5, 6, 4]
    );
    bed.cache.purge_all();
    assert_eq!(bed.cache.stats().entries, 0);

    // Not even those who waited from before the purge get a DEK from before it.
    bed.set_latency(seconds(1));
    let mut waiting = Box::pin(bed.cache.key_for(&one, &a, 1));
    assert!((&mut waiting).now_or_never().is_none());
    bed.cache.purge_all();
    assert_eq!(bed.clock.run(waiting).unwrap().unwrap().number, 8);
}

#[test]
fn purposes_are_bounded_for_each_partition_apart() {
    let bed = Bed::new(limits().with_purposes(2));
    let number = |tenant, name| {
        bed.clock.advance(Duration::from_nanos(1));
        let key = bed.key_in(&partition(tenant), &context(name), 1);
        key.unwrap().number
    };
    assert_eq!([number(1, "a"), number(2, "a"), number(2, "b")], [0, 1, 2]);
    for name in ["c", "d", "e", "f"] {
        number(2, name);
    }
    assert_eq!(bed.cache.stats().entries, 3);
    assert_eq!(number(1, "a"), 0);
    assert_eq!(number(2, "a"), 7);
}

#[test]
fn what_may_not_encrypt_any_more_is_swept() {
    let bed = Bed::new(limits());
    let key = bed.key_in(&partition(1), &context("a"), 1).unwrap();
    let weak = Arc::downgrade(&key);
    drop(key);
    bed.clock.advance(seconds(99));
    bed.cache.sweep();
    assert!(weak.upgrade().is_some());
    bed.clock.advance(seconds(1));
    bed.cache.sweep();
    assert!(weak.upgrade().is_none());
}

#[test]
fn the_shortest_life_still_reaches_those_who_waited() {
    let bed = Bed::new(limits().with_max_age(Duration::ZERO));
    assert_eq!(bed.key(1), Ok(0));
    bed.clock.advance(DekLimits::LEAST_AGE);
    assert_eq!(bed.key(1), Ok(1));
}

#[test]
fn the_form_that_never_waits_counts_too() {
    let bed = Bed::new(limits().with_max_messages(3));
    let (partition, context) = (Partition::default(), EncryptionContext::new());
    let cached = || bed.cache.cached(&partition, &context, 1).is_some();
    assert!(!cached());
    bed.key(1).unwrap();
    assert_eq!([cached(), cached(), cached()], [true, true, false]);
    assert_eq!(bed.key(1), Ok(1));
}

#[test]
fn debug_shows_the_limits_and_no_key() {
    let bed = Bed::new(limits().with_max_messages(12_345));
    bed.key_in(&partition(1), &context("secret"), 1).unwrap();
    let shown = format!("{:?}", bed.cache);
    assert!(
        shown.contains("max_messages: 12345") && shown.contains("entries: 1"),
        "{shown}"
    );
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn the_mark_is_on_bytes_as_well() {
    // Ten are left before the second message, an eighth: it is served and makes the next DEK.
    let bed = Bed::new(limits().with_max_bytes(80));
    assert_eq!([70, 1, 1].map(|bytes| bed.key(bytes).unwrap()), [0, 0, 1]);
}
