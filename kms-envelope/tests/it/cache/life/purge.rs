//! How an unwrapped DEK goes: purged, evicted, swept.

use futures_util::future::join;

use super::*;
use crate::cache::kek_id;

#[test]
fn a_purge_takes_what_it_names_and_is_not_undone_by_a_call_in_flight() {
    let bed = Bed::new(options());
    let fill = || {
        for tenant in 1..=2 {
            for kek in 1..=2 {
                bed.open_in(&partition(tenant), &wrapped(kek, 1)).unwrap();
            }
        }
    };
    let held = |tenant, kek| {
        let context = EncryptionContext::new();
        bed.cache
            .cached(&partition(tenant), &wrapped(kek, 1), &context)
            .is_some()
    };
    let all = || [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(tenant, kek)| held(tenant, kek));
    fill();
    assert_eq!(all(), [true; 4]);
    bed.cache.purge_key(&kek_id(1));
    assert_eq!(all(), [false, true, false, true]);
    fill();
    bed.cache.purge_partition(&partition(2));
    assert_eq!(all(), [true, true, false, false]);
    bed.cache.purge_all();
    assert_eq!((all(), bed.cache.stats().entries), ([false; 4], 0));

    bed.vault.set_latency(seconds(1));
    let before = bed.vault.calls();
    let (tenant, wrapped, options) = (partition(1), wrapped(1, 1), UnwrapOptions::default());
    let mut first = Box::pin(bed.cache.unwrap(&tenant, &wrapped, &options));
    assert!((&mut first).now_or_never().is_none());
    bed.cache.purge_key(&kek_id(1));
    // Who asks after the purge does not share a call from before it.
    let second = bed.cache.unwrap(&tenant, &wrapped, &options);
    let (first, second) = bed.clock.run(join(first, second)).unwrap();
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(bed.vault.calls() - before, 2);
    bed.cache.purge_all();
    let mut alone = Box::pin(bed.cache.unwrap(&tenant, &wrapped, &options));
    assert!((&mut alone).now_or_never().is_none());
    bed.cache.purge_all();
    bed.clock.run(alone).unwrap().unwrap();
    assert!(!held(1, 1), "unwrapped before the purge, entered after it");
}

#[test]
fn a_purge_forgets_refusals() {
    let bed = Bed::new(options());
    bed.vault.set_fault(Some(ErrorKind::KeyDisabled));
    bed.open(1).unwrap_err();
    assert_eq!(bed.cache.remembered_errors(), 1);
    bed.vault.set_fault(None);
    bed.cache.purge_key(&kek_id(0));
    bed.open(1).unwrap();
}

#[test]
fn what_is_evicted_purged_or_swept_is_let_go_of() {
    let bed = Bed::new(options().with_capacity(1));
    let first = Arc::downgrade(&bed.open(1).unwrap());
    assert!(first.upgrade().is_some());
    let second = bed.open(2).unwrap();
    assert!(first.upgrade().is_none(), "evicted, so wiped");
    bed.open(3).unwrap();
    assert_eq!(second.expose(), b"dek 2", "not while somebody uses it");
    let weak = Arc::downgrade(&second);
    drop(second);
    assert!(weak.upgrade().is_none(), "the last user has let go");
    let third = Arc::downgrade(&bed.open(3).unwrap());
    bed.clock.advance(seconds(149));
    bed.cache.sweep();
    assert!(third.upgrade().is_some());
    bed.clock.advance(seconds(1));
    bed.cache.sweep();
    assert!(third.upgrade().is_none(), "swept");
    let fourth = Arc::downgrade(&bed.open(4).unwrap());
    bed.cache.purge_all();
    assert!(fourth.upgrade().is_none(), "purged");
}
