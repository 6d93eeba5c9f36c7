//! Others write at the same time, at every moment that matters.

use std::sync::{Arc, Mutex};

use kms_core::ErrorKind;
use kms_core::object::ObjectKey;
use kms_envelope::kubernetes::ProviderKind;
use kms_envelope::reencrypt::{MigrationEnd, MigrationReport, RemainingReason};

use super::{Call, Cluster, Hooked, Reaction, assert_complete, options, secret, writes};

/// Three objects under an old key; `meanwhile` acts on the store when the second is about to be
/// swapped for the `times`-th time or before.
fn interrupted(
    cluster: &Cluster,
    times: usize,
    meanwhile: impl Fn(&str) + Send + 'static,
) -> MigrationReport {
    let victim = secret(1);
    let count = Mutex::new(0);
    let store = Hooked::new(cluster, move |call| {
        if let Call::Swap(key) = call
            && key.to_string() == victim
        {
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count <= times {
                meanwhile(&victim);
            }
        }
        Reaction::Pass
    });
    let options = options().with_passes(1);
    cluster
        .migrate_in(&store, "current", &options, None)
        .unwrap()
}

fn cluster() -> Cluster {
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old", "identity"]);
    cluster.fill("v2:old", 3);
    cluster
}

#[test]
fn a_writer_with_the_target_key_has_done_it() {
    let cluster = cluster();
    let newer = cluster.seal("v2:new", &secret(1), b"newer");
    let store = Arc::clone(&cluster.store);
    let report = interrupted(&cluster, 1, move |key| {
        let key = ObjectKey::new(key).unwrap();
        store.put(&key, newer.clone(), None).unwrap();
    });
    assert_complete(&report);
    let counts = report.counts;
    assert_eq!(
        (counts.rewritten, counts.by_others, counts.conflicts),
        (2, 1, 1)
    );
    assert_eq!(cluster.open(&secret(1)).unwrap().content, b"newer");
    // Theirs was the last word: it was not written again.
    assert_eq!(writes(&cluster)[&secret(1)], 2);
}

#[test]
fn a_writer_with_the_old_key_is_not_overwritten_but_rewritten() {
    let cluster = cluster();
    let newer: Vec<_> = (0..3)
        .map(|number| {
            let content = format!("newer {number}");
            cluster.seal("v2:old", &secret(1), content.as_bytes())
        })
        .collect();
    let next = Mutex::new(newer.into_iter());
    let store = Arc::clone(&cluster.store);
    let report = interrupted(&cluster, 3, move |key| {
        let value = next.lock().unwrap().next().unwrap();
        store
            .put(&ObjectKey::new(key).unwrap(), value, None)
            .unwrap();
    });
    assert_complete(&report);
    assert_eq!((report.counts.rewritten, report.counts.conflicts), (3, 3));
    let found = cluster.open(&secret(1)).unwrap();
    assert_eq!(
        (&*found.content, found.name.as_deref()),
        (&b"newer 2"[..], Some("new"))
    );
}

#[test]
fn what_is_deleted_stays_deleted() {
    let cluster = cluster();
    let store = Arc::clone(&cluster.store);
    let report = interrupted(&cluster, 1, move |key| {
        store.delete(&ObjectKey::new(key).unwrap()).unwrap();
    });
    assert_complete(&report);
    assert_eq!((report.counts.rewritten, report.counts.gone), (2, 1));
    assert_eq!(cluster.open(&secret(1)), None);
}

#[test]
fn what_is_made_anew_is_not_the_old_one() {
    let cluster = cluster();
    let anew = cluster.seal("identity", &secret(1), b"anew");
    let store = Arc::clone(&cluster.store);
    let report = interrupted(&cluster, 1, move |key| {
        let key = ObjectKey::new(key).unwrap();
        store.delete(&key).unwrap();
        store.put(&key, anew.clone(), None).unwrap();
    });
    assert_complete(&report);
    let found = cluster.open(&secret(1)).unwrap();
    assert_eq!(
        (&*found.content, found.provider),
        (&b"anew"[..], ProviderKind::KmsV2)
    );
}

/// It does not try for ever, and says so.
#[test]
fn what_never_stands_still_is_left_and_named() {
    let cluster = cluster();
    let value = cluster.seal("v2:old", &secret(1), b"busy");
    let store = Arc::clone(&cluster.store);
    let report = interrupted(&cluster, usize::MAX, move |key| {
        let key = ObjectKey::new(key).unwrap();
        store.put(&key, value.clone(), None).unwrap();
    });
    assert!(matches!(report.end, MigrationEnd::Incomplete), "{report:?}");
    assert_eq!((report.counts.rewritten, report.counts.left), (2, 1));
    // What the verification says counts, and it says that somebody still writes with the old key.
    assert_eq!(report.remaining[0].reason, RemainingReason::WrittenSince);
    assert_eq!(report.remaining[0].etcd_key, secret(1));
}

/// A second pass takes what the first one had to leave.
#[test]
fn another_pass_takes_what_came_later() {
    let cluster = cluster();
    let late = cluster.seal("v2:old", &secret(9), b"late");
    let inner = Arc::clone(&cluster.store);
    let swaps = Mutex::new(0);
    let store = Hooked::new(&cluster, move |call| {
        let mut swaps = swaps.lock().unwrap();
        *swaps += usize::from(matches!(call, Call::Swap(_)));
        if *swaps == 3 {
            *swaps += 1;
            let key = ObjectKey::new(secret(9)).unwrap();
            inner.put(&key, late.clone(), None).unwrap();
        }
        Reaction::Pass
    });
    let report = cluster
        .migrate_in(&store, "current", &options(), None)
        .unwrap();
    assert_complete(&report);
    assert_eq!((report.passes, report.counts.rewritten), (2, 4));
    assert_eq!(report.counts.objects, 4);
    assert_eq!(
        cluster.open(&secret(9)).unwrap().name.as_deref(),
        Some("new")
    );
}

/// The answer to the first swap of each object is lost: after it happened, or before.
#[test]
fn a_lost_answer_is_looked_into_and_no_object_is_written_twice() {
    for lost in [
        Reaction::Lose(ErrorKind::Unavailable),
        Reaction::Fail(ErrorKind::DeadlineExceeded),
    ] {
        let cluster = cluster();
        let met = Mutex::new(std::collections::BTreeSet::new());
        let store = Hooked::new(&cluster, move |call| match call {
            Call::Swap(key) if met.lock().unwrap().insert(key.clone()) => lost,
            _ => Reaction::Pass,
        });
        let report = cluster
            .migrate_in(&store, "current", &options(), None)
            .unwrap();
        assert_complete(&report);
        assert_eq!(report.counts.rewritten, 3, "{lost:?}");
        assert_eq!(report.counts.by_others, 0, "{lost:?}");
        assert!(
            writes(&cluster).values().all(|count| *count == 2),
            "{lost:?}"
        );
    }
}

/// An object may be met under a key that is newer than the target: it is not taken back.
#[test]
fn a_newer_key_is_not_replaced_by_an_older_one() {
    let cluster = cluster();
    cluster.rotate("new");
    let keys = cluster.plugin("new").inner();
    let newer = cluster.seal("v2:new", &secret(1), b"newer");
    keys.make_current(&kms_core::KeyId::new("new-1").unwrap())
        .unwrap();
    let (inner, plugin) = (Arc::clone(&cluster.store), cluster.shared_plugin("new"));
    let clock = cluster.clock.clone();
    let store = Hooked::new(&cluster, move |call| {
        if let Call::Swap(key) = call
            && key.to_string() == secret(1)
        {
            // The KMS has moved on, and an API server has noticed first.
            clock.advance(std::time::Duration::from_secs(6));
            let id = kms_core::KeyId::new("new-2").unwrap();
            plugin.inner().make_current(&id).unwrap();
            inner.put(key, newer.clone(), None).unwrap();
        }
        Reaction::Pass
    });
    let report = cluster
        .migrate_in(&store, "current", &options(), None)
        .unwrap();
    let MigrationEnd::Stopped(reason) = report.end else {
        panic!("{report:?}");
    };
    assert_eq!(reason.as_str(), "key_changed");
    let found = cluster.open(&secret(1)).unwrap();
    assert_eq!(found.key_id.unwrap().as_str(), "new-2");
    assert_eq!(found.content, b"newer");
}
