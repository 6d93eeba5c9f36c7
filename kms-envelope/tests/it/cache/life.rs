//! The life of an unwrapped DEK: three clocks, refreshes, refusals, purges.

mod purge;

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use kms_core::{CallOptions, EncryptionContext, ErrorKind, UnwrapOptions};
use kms_envelope::cache::{Background, Partition, UnwrapCacheOptions};

use super::{Bed, partition, seconds, wrapped};

/// Fresh for 80 s, due for 20 s, stale for 50 s.
fn options() -> UnwrapCacheOptions {
    UnwrapCacheOptions::default()
        .with_keep_for(seconds(100))
        .with_refresh_before(seconds(20))
        .with_serve_stale_for(seconds(50))
        .with_retry_every(seconds(2))
        .with_call_limit(seconds(30))
}

#[test]
fn a_dek_is_asked_for_once_while_it_is_fresh() {
    let bed = Bed::new(options());
    for _ in 0..10 {
        bed.open(1).unwrap();
        bed.clock.advance(seconds(7));
    }
    assert_eq!(bed.vault.calls(), 1);
    let stats = bed.cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (9, 1, 1));
}

#[test]
fn what_is_asked_for_and_where_it_is_kept_all_count() {
    let bed = Bed::new(options());
    bed.open_in(&partition(1), &wrapped(1, 1)).unwrap();
    bed.open_in(&partition(2), &wrapped(1, 1)).unwrap();
    bed.open_in(&partition(1), &wrapped(2, 1)).unwrap();
    bed.open_in(&partition(1), &wrapped(1, 2)).unwrap();
    let context = EncryptionContext::new().with("table", "users").unwrap();
    let with_context = UnwrapOptions::default().with_context(context.clone());
    let noted = wrapped(1, 1).with_annotation("a.b", vec![1]).unwrap();
    for _ in 0..2 {
        let (tenant, plain) = (partition(1), UnwrapOptions::default());
        let again = bed.cache.unwrap(&tenant, &noted, &plain);
        bed.clock.run(again).unwrap().unwrap();
        let again = bed
            .cache
            .unwrap(&tenant, &wrapped(1, 1), &with_context)
            .now_or_never();
        again.unwrap().unwrap();
    }
    assert_eq!(bed.vault.calls(), 6);
    let cached = |context: &EncryptionContext| {
        bed.cache
            .cached(&partition(1), &wrapped(1, 1), context)
            .is_some()
    };
    assert!(cached(&context) && cached(&EncryptionContext::new()));
    assert!(!cached(
        &EncryptionContext::new().with("table", "x").unwrap()
    ));
}

#[test]
fn without_a_spawner_one_caller_refreshes_and_the_others_do_not_wait() {
    let bed = Bed::new(options());
    bed.open(1).unwrap();
    bed.clock.advance(seconds(85));
    bed.vault.set_latency(seconds(1));
    let (partition, wrapped, unwrap) = (
        Partition::default(),
        wrapped(0, 1),
        UnwrapOptions::default(),
    );
    let mut first = Box::pin(bed.cache.unwrap(&partition, &wrapped, &unwrap));
    assert!((&mut first).now_or_never().is_none(), "it refreshes");
    for _ in 0..5 {
        let other = bed.cache.unwrap(&partition, &wrapped, &unwrap);
        other.now_or_never().expect("it does not wait").unwrap();
    }
    bed.clock.run(first).unwrap().unwrap();
    assert_eq!(bed.vault.calls(), 2);
    // Fresh again, counted from when the vault was asked.
    bed.clock.advance(seconds(78));
    bed.open(1).unwrap();
    assert_eq!(bed.vault.calls(), 2);
}

#[test]
fn with_a_spawner_nobody_waits() {
    let spawned: Arc<Mutex<Vec<Background>>> = Arc::default();
    let spawn = Arc::clone(&spawned);
    let bed = Bed::with(options(), |cache| {
        cache.with_spawner(move |refresh| spawn.lock().unwrap().push(refresh))
    });
    bed.open(1).unwrap();
    bed.vault.set_latency(seconds(1));
    bed.clock.advance(seconds(85));
    for _ in 0..5 {
        let opening = bed.now();
        bed.open(1).unwrap();
        assert_eq!(bed.now(), opening, "nobody waits");
    }
    let tasks = std::mem::take(&mut *spawned.lock().unwrap());
    assert_eq!((tasks.len(), bed.vault.calls()), (1, 1));
    bed.clock.run(join_all(tasks)).unwrap();
    assert_eq!((bed.vault.calls(), bed.cache.stats().refreshes), (2, 1));
    bed.clock.advance(seconds(60));
    bed.open(1).unwrap();
    assert!(spawned.lock().unwrap().is_empty());
}

#[test]
fn a_dropped_refresh_is_taken_up_by_another_caller() {
    let bed = Bed::new(options());
    bed.open(1).unwrap();
    bed.clock.advance(seconds(85));
    bed.vault.set_latency(seconds(1));
    {
        let (partition, wrapped) = (Partition::default(), wrapped(0, 1));
        let options = UnwrapOptions::default();
        let refresh = bed.cache.unwrap(&partition, &wrapped, &options);
        assert!(refresh.now_or_never().is_none());
    }
    bed.open(1).unwrap();
    assert_eq!(bed.vault.calls(), 2, "not before the pause is over");
    bed.clock.advance(seconds(2));
    bed.open(1).unwrap();
    assert_eq!(bed.vault.calls(), 3);
    assert_eq!(bed.cache.stats().refreshes, 2);
}

#[test]
fn an_outage_is_bridged_for_as_long_as_is_allowed() {
    let bed = Bed::new(options());
    bed.open(1).unwrap();
    bed.vault.set_fault(Some(ErrorKind::Unavailable));
    // Due: the old one serves, and the vault is not hammered.
    bed.clock.advance(seconds(80));
    for _ in 0..20 {
        bed.open(1).unwrap();
    }
    assert_eq!((bed.vault.calls(), bed.cache.stats().stale_served), (2, 0));
    // Stale: one call each two seconds, and everyone is served.
    bed.clock.advance(seconds(20));
    for _ in 0..20 {
        bed.open(1).unwrap();
    }
    assert_eq!((bed.vault.calls(), bed.cache.stats().stale_served), (3, 20));
    bed.clock.advance(seconds(2));
    bed.open(1).unwrap();
    assert_eq!(bed.vault.calls(), 4);
    // What never waits takes no part in this.
    let cached = bed.cache.cached(
        &Partition::default(),
        &wrapped(0, 1),
        &EncryptionContext::new(),
    );
    assert!(cached.is_none());
    bed.clock.advance(seconds(47));
    bed.open(1).unwrap();
    bed.clock.advance(seconds(1));
    assert_eq!(bed.open(1).unwrap_err(), ErrorKind::Unavailable);
    assert_eq!(bed.cache.stats().entries, 0, "over and gone");
    bed.vault.set_fault(None);
    bed.open(1).unwrap();
}

#[test]
fn a_refresh_that_fails_slowly_is_not_tried_again_at_once() {
    let bed = Bed::new(options());
    bed.open(1).unwrap();
    bed.clock.advance(seconds(80));
    bed.vault.set_latency(seconds(5));
    bed.vault.set_fault(Some(ErrorKind::Unavailable));
    bed.open(1).unwrap();
    let failed = bed.now();
    bed.open(1).unwrap();
    assert_eq!((bed.now(), bed.vault.calls()), (failed, 2));
    bed.clock.advance(seconds(2));
    bed.open(1).unwrap();
    assert_eq!(bed.vault.calls(), 3);
}

#[test]
fn after_its_time_nothing_is_served_before_the_vault_has_failed() {
    let bed = Bed::new(options());
    bed.open(1).unwrap();
    bed.clock.advance(seconds(100));
    bed.open(1).unwrap();
    assert_eq!((bed.vault.calls(), bed.cache.stats().stale_served), (2, 0));
}

#[test]
fn no_refusal_is_bridged() {
    for kind in [
        ErrorKind::KeyDisabled,
        ErrorKind::KeyDestroyed,
        ErrorKind::KeyNotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::Unauthenticated,
        ErrorKind::Crypto,
        ErrorKind::Internal,
        ErrorKind::Protocol,
    ] {
        let bed = Bed::new(options());
        bed.open(1).unwrap();
        bed.clock.advance(seconds(100));
        bed.vault.set_fault(Some(kind));
        assert_eq!(bed.open(1).unwrap_err(), kind);
        assert_eq!(bed.cache.stats().stale_served, 0);
    }
}

#[test]
fn a_refusal_while_it_is_refreshed_ends_it_and_a_fault_does_not() {
    for (kind, ends) in [
        (ErrorKind::KeyDisabled, true),
        (ErrorKind::PermissionDenied, true),
        (ErrorKind::Internal, false),
        (ErrorKind::Io, false),
        (ErrorKind::Throttled, false),
    ] {
        let bed = Bed::new(options());
        let held = Arc::downgrade(&bed.open(1).unwrap());
        bed.clock.advance(seconds(85));
        bed.vault.set_fault(Some(kind));
        assert_eq!(bed.open(1).err(), ends.then_some(kind));
        assert_eq!(held.upgrade().is_none(), ends, "{kind}: wiped");
    }
}

#[test]
fn a_hanging_vault_costs_each_caller_its_own_deadline_once() {
    let bed = Bed::new(options());
    bed.open(1).unwrap();
    bed.clock.advance(seconds(100));
    bed.vault.set_hangs(true);
    let open = |limit| {
        let (partition, wrapped) = (Partition::default(), wrapped(0, 1));
        let call = CallOptions::default().with_deadline(bed.now() + limit);
        let options = UnwrapOptions::default().with_call(call);
        let began = bed.now();
        let opening = bed.cache.unwrap(&partition, &wrapped, &options);
        let opened = bed.clock.run(opening).expect("it ends");
        (opened.map_err(|e| e.kind()).err(), bed.now().since(began))
    };
    assert_eq!(open(seconds(3)), (None, seconds(3)), "stale");
    assert_eq!(open(seconds(3)), (None, Duration::ZERO), "known to be out");
    bed.clock.advance(seconds(50));
    let late = Some(ErrorKind::DeadlineExceeded);
    assert_eq!(open(seconds(3)), (late, seconds(3)));
    assert_eq!(
        open(seconds(300)),
        (late, seconds(30)),
        "the call's own limit"
    );
}

#[test]
fn a_refusal_is_remembered_briefly_and_an_outage_is_not() {
    let bed = Bed::new(options());
    bed.vault.set_fault(Some(ErrorKind::Crypto));
    for _ in 0..10 {
        assert_eq!(bed.open(1).unwrap_err(), ErrorKind::Crypto);
    }
    assert_eq!((bed.vault.calls(), bed.cache.stats().negative_hits), (1, 9));
    bed.vault.set_fault(None);
    assert_eq!(bed.open(1).unwrap_err(), ErrorKind::Crypto);
    bed.open_in(&partition(1), &wrapped(0, 1)).unwrap();
    bed.clock.advance(seconds(1));
    bed.open(1).unwrap();
    assert_eq!(bed.vault.calls(), 3);
    bed.vault.set_fault(Some(ErrorKind::Unavailable));
    for _ in 0..10 {
        assert_eq!(bed.open(2).unwrap_err(), ErrorKind::Unavailable);
    }
    assert_eq!(bed.vault.calls(), 13);
}

#[test]
fn only_the_monotonic_clock_counts_and_it_may_leap() {
    let bed = Bed::new(options());
    bed.open(1).unwrap();
    bed.clock.set_wall_time(UNIX_EPOCH);
    bed.open(1).unwrap();
    assert_eq!(bed.vault.calls(), 1);
    // The machine was suspended: all time is up at once, up to the end of time.
    bed.vault.set_fault(Some(ErrorKind::Unavailable));
    bed.clock.advance(Duration::MAX);
    assert_eq!(bed.open(1).unwrap_err(), ErrorKind::Unavailable);
}

#[test]
fn nothing_is_kept_where_nothing_may_be() {
    for none in [
        options().with_capacity(0),
        options().with_keep_for(Duration::ZERO),
    ] {
        let bed = Bed::new(none);
        for _ in 0..3 {
            bed.open(1).unwrap();
        }
        assert_eq!((bed.vault.calls(), bed.cache.stats().entries), (3, 0));
    }
    let bed = Bed::new(options().with_remembered_errors(0, seconds(9)));
    bed.vault.set_fault(Some(ErrorKind::Crypto));
    bed.open(1).unwrap_err();
    bed.open(1).unwrap_err();
    assert_eq!((bed.vault.calls(), bed.cache.remembered_errors()), (2, 0));
}

#[test]
fn debug_shows_no_secret() {
    let bed = Bed::new(options());
    bed.open(1).unwrap();
    let shown = format!("{:?}", bed.cache);
    assert!(
        shown.contains("vault") && !shown.contains("dek 1"),
        "{shown}"
    );
}
