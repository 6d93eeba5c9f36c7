//! A checkpoint in the store itself.

use kms_core::ErrorKind;
use kms_core::object::{FetchOptions, ObjectKey, ObjectSource as _};
use kms_envelope::ErrorKind as EnvelopeErrorKind;
use kms_envelope::reencrypt::{CheckpointStore as _, ObjectCheckpoints};
use std::sync::{Arc, Mutex};

use super::{Call, Cluster, Hooked, Reaction, assert_complete, options, writes};

fn key() -> ObjectKey {
    ObjectKey::new("/kms/migrate/test/checkpoint").unwrap()
}

#[test]
fn it_is_kept_replaced_and_removed() {
    let cluster = Cluster::of_secrets(&["v2:new"]);
    let kept = ObjectCheckpoints::new(&*cluster.store, key());
    cluster.run(async {
        assert_eq!(kept.load().await.unwrap(), None);
        kept.save(b"one").await.unwrap();
        kept.save(b"two").await.unwrap();
        // Another process finds it, and goes on.
        let next = ObjectCheckpoints::new(&*cluster.store, key());
        assert_eq!(next.load().await.unwrap().unwrap(), b"two");
        next.save(b"three").await.unwrap();
        // The first one was not dead: it notices.
        let error = kept.save(b"four").await.unwrap_err();
        assert_eq!(error.kind(), EnvelopeErrorKind::Checkpoint);
        assert!(error.message().contains("another migration"), "{error}");
        next.clear().await.unwrap();
        next.clear().await.unwrap();
        assert_eq!(next.load().await.unwrap(), None);
    });
}

#[test]
fn one_that_begins_anew_replaces_what_is_there() {
    let cluster = Cluster::of_secrets(&["v2:new"]);
    cluster.run(async {
        ObjectCheckpoints::new(&*cluster.store, key())
            .save(b"old")
            .await
            .unwrap();
        let kept = ObjectCheckpoints::new(&*cluster.store, key());
        kept.save(b"new").await.unwrap();
        assert_eq!(kept.load().await.unwrap().unwrap(), b"new");
    });
}

/// Whether a save that had no answer came through or not: the next one goes on.
#[test]
fn a_lost_answer_is_not_taken_for_another_migration() {
    for lost in [
        Reaction::Lose(ErrorKind::Unavailable),
        Reaction::Fail(ErrorKind::Unavailable),
    ] {
        let cluster = Cluster::of_secrets(&["v2:new"]);
        let calls = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&calls);
        let store = Hooked::new(&cluster, move |call| {
            let mut calls = counted.lock().unwrap();
            *calls += u32::from(matches!(call, Call::Swap(_)));
            match matches!(call, Call::Swap(_)) && (*calls).is_multiple_of(2) {
                true => lost,
                false => Reaction::Pass,
            }
        });
        let kept = ObjectCheckpoints::new(&store, key());
        cluster.run(async {
            for number in 0..10_u8 {
                while let Err(error) = kept.save(&[number]).await {
                    assert!(error.is_retryable(), "{error}");
                }
                assert_eq!(kept.load().await.unwrap().unwrap(), [number]);
            }
            while kept.clear().await.is_err() {}
            let found = cluster.store.fetch(&key(), &FetchOptions::default()).await;
            assert_eq!(found.unwrap(), None);
        });
    }
}

#[test]
fn a_migration_keeps_its_place_there_and_leaves_nothing_behind() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 30);
    let options = options().with_page_limit(5);
    let kept = ObjectCheckpoints::new(&*cluster.store, key());
    let report = cluster.migrate_in(&*cluster.store, "current", &options, Some(&kept));
    assert_complete(&report.unwrap());
    assert!(writes(&cluster)["/kms/migrate/test/checkpoint"] > 3);
    let found = cluster.run(cluster.store.fetch(&key(), &FetchOptions::default()));
    assert_eq!(found.unwrap(), None);
}
