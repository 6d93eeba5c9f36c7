//! Real threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use kms_core::{EncryptionContext, ErrorKind, UnwrapOptions};
use kms_envelope::cache::{DekLimits, EncryptCache, Partition, UnwrapCacheOptions};
use kms_testkit::ManualClock;

use super::{Bed, partition, seconds, wrapped};

const THREADS: usize = 4;

/// Runs `work` on each thread, with its number, all at once.
fn on_threads(work: impl Fn(usize) + Sync) {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (work, start) = (&work, &start);
            scope.spawn(move || {
                start.wait();
                work(number);
            });
        }
    });
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

#[test]
fn a_dek_that_is_evicted_while_it_is_used_stays_whole() {
    // Room for two, and each thread wants eight: nearly every call evicts what others hold.
    let bed = Bed::new(UnwrapCacheOptions::default().with_capacity(2));
    on_threads(|thread| {
        block_on(async {
            let mut held = Vec::new();
            for round in 0..2000 {
                let dek = (round * 5 + thread * 3) % 8;
                let wrapped = wrapped(0, dek);
                let (partition, options) = (Partition::default(), UnwrapOptions::default());
                let opening = bed.cache.unwrap(&partition, &wrapped, &options);
                held.push((opening.await.unwrap(), wrapped));
                if held.len() > 5 {
                    for (dek, wrapped) in held.drain(..) {
                        assert_eq!(dek.expose(), wrapped.ciphertext());
                    }
                }
                if round % 97 == 0 {
                    bed.cache.sweep();
                }
            }
        });
    });
    let stats = bed.cache.stats();
    assert!(stats.entries <= 2 && stats.evicted > 1000, "{stats:?}");
}

#[test]
fn each_cold_dek_costs_one_call_whatever_the_interleaving() {
    for dek in 0..500 {
        let bed = Bed::new(UnwrapCacheOptions::default());
        on_threads(|_| {
            let (wrapped, options) = (wrapped(0, dek), UnwrapOptions::default());
            block_on(bed.cache.unwrap(&partition(1), &wrapped, &options)).unwrap();
        });
        assert_eq!(bed.vault.calls(), 1);
    }
}

#[test]
fn so_does_each_that_is_refused() {
    for dek in 0..500 {
        let bed = Bed::new(UnwrapCacheOptions::default());
        bed.vault.set_fault(Some(ErrorKind::Crypto));
        on_threads(|_| {
            let (wrapped, options) = (wrapped(0, dek), UnwrapOptions::default());
            block_on(bed.cache.unwrap(&partition(1), &wrapped, &options)).unwrap_err();
        });
        assert_eq!(bed.vault.calls(), 1);
    }
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn after_a_purge_no_dek_from_before_it_is_found() {
    let bed = Bed::new(UnwrapCacheOptions::default());
    let purged = AtomicBool::new(false);
    on_threads(|thread| {
        let (wrapped, options) = (wrapped(0, 1), UnwrapOptions::default());
        let open = || block_on(bed.cache.unwrap(&partition(1), &wrapped, &options)).unwrap();
        if thread == 0 {
            // Also when the assertion fails, so that the others end.
            let _done = Done(&purged);
            for _ in 0..300 {
                let before = open();
                bed.cache.purge_all();
                assert!(!Arc::ptr_eq(&before, &open()));
            }
        } else {
            while !purged.load(Ordering::SeqCst) {
                open();
            }
        }
    });
}

#[test]
fn no_number_of_threads_takes_more_than_the_limits() {
    struct Key(u64);
    let made = Arc::new(AtomicU64::new(0));
    let limits = DekLimits::default()
        .with_max_messages(50)
        .with_max_bytes(1000)
        .with_retry_every(seconds(0));
    let numbers = Arc::clone(&made);
    let cache = EncryptCache::new(Arc::new(ManualClock::new()), limits, move |_| {
        let number = numbers.fetch_add(1, Ordering::SeqCst);
        async move { Ok(Key(number)) }
    });
    let used: Mutex<BTreeMap<u64, (u64, u64)>> = Mutex::default();
    on_threads(|thread| {
        block_on(async {
            let (partition, context) = (Partition::default(), EncryptionContext::new());
            for round in 0..3000 {
                let bytes = (round * 7 + thread as u64 * 13) % 60;
                let key = cache.key_for(&partition, &context, bytes).await.unwrap();
                let mut used = used.lock().unwrap();
                let (messages, total) = used.entry(key.0).or_default();
                *messages += 1;
                *total += bytes;
            }
        });
    });
    let used = used.into_inner().unwrap();
    let messages: u64 = used.values().map(|(messages, _)| messages).sum();
    assert_eq!(messages, 3000 * THREADS as u64);
    for (messages, bytes) in used.values() {
        assert!(*messages <= 50 && *bytes <= 1000, "{messages} {bytes}");
    }
    // They are used up and not thrown away: some 30 messages of 30 bytes fit.
    assert!(made.load(Ordering::SeqCst) < messages / 15);
}
