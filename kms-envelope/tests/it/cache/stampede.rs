//! Many callers, one cold DEK.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{join, join_all};
use kms_core::{Clock as _, ErrorKind, UnwrapOptions};
use kms_envelope::cache::{Partition, UnwrapCacheOptions};

use super::{Bed, wrapped};

const CALLERS: [usize; 3] = [1, 100, 10_000];
const LATENCIES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(40),
    Duration::from_millis(300),
];

fn each(test: impl Fn(usize, Duration, &Bed)) {
    for callers in CALLERS {
        for latency in LATENCIES {
            let bed = Bed::new(UnwrapCacheOptions::default());
            bed.vault.set_latency(latency);
            test(callers, latency, &bed);
        }
    }
}

#[test]
fn a_cold_dek_costs_one_call_and_one_latency() {
    each(|callers, latency, bed| {
        let (partition, wrapped) = (Partition::default(), wrapped(0, 1));
        let options = UnwrapOptions::default();
        let began = bed.now();
        let all = join_all((0..callers).map(|_| async {
            let opened = bed.cache.unwrap(&partition, &wrapped, &options).await;
            (opened, bed.now().since(began))
        }));
        for (opened, took) in bed.clock.run(all).unwrap() {
            assert_eq!(opened.unwrap().expose(), b"dek 1");
            assert_eq!(took, latency);
        }
        assert_eq!(bed.vault.calls(), 1, "{callers} callers, {latency:?}");
        let stats = bed.cache.stats();
        let answered = stats.hits + stats.coalesced + stats.provider_calls;
        assert_eq!(answered, callers as u64);
    });
}

#[test]
fn a_failure_reaches_all_who_wait_and_costs_one_call() {
    for kind in [ErrorKind::KeyDisabled, ErrorKind::Unavailable] {
        each(|callers, latency, bed| {
            bed.vault.set_fault(Some(kind));
            let (partition, wrapped) = (Partition::default(), wrapped(0, 1));
            let options = UnwrapOptions::default();
            let all =
                join_all((0..callers).map(|_| bed.cache.unwrap(&partition, &wrapped, &options)));
            for opened in bed.clock.run(all).unwrap() {
                assert_eq!(opened.unwrap_err().kind(), kind);
            }
            // A call that fails at once has nobody waiting; an outage is not remembered.
            let alone = latency.is_zero() && kind.is_retryable();
            let calls = if alone { callers as u64 } else { 1 };
            assert_eq!(bed.vault.calls(), calls, "{callers} callers, {latency:?}");
        });
    }
}

#[test]
fn a_dropped_leader_takes_nothing_with_it() {
    each(|callers, latency, bed| {
        if latency.is_zero() {
            return;
        }
        let (partition, wrapped) = (Partition::default(), wrapped(0, 1));
        let options = UnwrapOptions::default();
        let open = || bed.cache.unwrap(&partition, &wrapped, &options);
        let began = bed.now();
        let mut leader = Box::pin(open());
        assert!((&mut leader).now_or_never().is_none());
        let mut others: Vec<_> = (0..callers).map(|_| Box::pin(open())).collect();
        for other in &mut others {
            assert!(other.now_or_never().is_none());
        }
        let half_way = async {
            bed.clock.sleep_until(began + latency / 2).await;
            drop(leader);
        };
        let (opened, ()) = bed.clock.run(join(join_all(others), half_way)).unwrap();
        assert!(opened.into_iter().all(|opened| opened.is_ok()));
        assert_eq!(bed.vault.calls(), 1);
        assert_eq!(bed.now().since(began), latency);
    });
}

#[test]
fn when_the_last_waiter_goes_so_does_the_call() {
    let bed = Bed::new(UnwrapCacheOptions::default());
    bed.vault.set_latency(Duration::from_millis(40));
    let (partition, wrapped) = (Partition::default(), wrapped(0, 1));
    let options = UnwrapOptions::default();
    for _ in 0..3 {
        let opening = bed.cache.unwrap(&partition, &wrapped, &options);
        assert!(opening.now_or_never().is_none());
    }
    assert_eq!(bed.vault.calls(), 3);
    assert!(format!("{:?}", bed.cache).contains("in_flight: 0"));
    assert_eq!(bed.clock.next_deadline(), None);
}
