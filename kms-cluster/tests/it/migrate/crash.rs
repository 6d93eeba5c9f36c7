//! A crash at every point there is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kms_envelope::Error;
use kms_envelope::reencrypt::{CheckpointStore, MigrationEnd};
use tokio::sync::Notify;

use super::cluster::content;
use super::store::die;
use super::{Cluster, Hooked, Kept, Reaction, assert_complete, options, secret, writes};

/// Dies at the n-th call to the store or the checkpoint, before or after it takes effect.
#[derive(Debug)]
struct Death {
    calls: AtomicU64,
    at: u64,
    after: bool,
}

impl Death {
    fn react(&self) -> Reaction {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match (call == self.at, self.after) {
            (true, false) => Reaction::Die,
            (true, true) => Reaction::DieAfter,
            (false, _) => Reaction::Pass,
        }
    }
}

/// A checkpoint that dies with the process.
#[derive(Debug)]
struct Mortal<'k>(&'k Kept, Arc<Death>, Arc<Notify>);

impl Mortal<'_> {
    async fn react(&self, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        match self.1.react() {
            Reaction::Die => die(&self.2).await,
            Reaction::DieAfter => {
                work.await?;
                die(&self.2).await
            }
            _ => work.await,
        }
    }
}

#[async_trait]
impl CheckpointStore for Mortal<'_> {
    async fn load(&self) -> Result<Option<Vec<u8>>, Error> {
        self.0.load().await
    }

    async fn save(&self, bytes: &[u8]) -> Result<(), Error> {
        self.react(self.0.save(bytes)).await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.react(self.0.clear()).await
    }
}

const OBJECTS: usize = 7;

/// Whether it lived to its end.
fn live_until(at: u64, after: bool) -> bool {
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old"]);
    cluster.fill("v2:old", OBJECTS);
    let kept = Kept::default();
    let death = Arc::new(Death {
        calls: AtomicU64::new(0),
        at,
        after,
    });
    let options = options().with_page_limit(3).with_concurrency(2);
    let lived = {
        let death = Arc::clone(&death);
        let watched = Arc::clone(&death);
        let store = Hooked::new(&cluster, move |_| watched.react());
        let mortal = Mortal(&kept, death, Arc::clone(&cluster.death));
        let ended = cluster.try_migrate_in(&store, "current", &options, Some(&mortal));
        ended.is_some()
    };
    let name = format!("call {at}, after: {after}");
    // Whatever happened, everything opens and is what it was.
    for number in 0..OBJECTS {
        let found = cluster.open(&secret(number)).unwrap();
        assert_eq!(found.content, content(number).as_bytes(), "{name}");
    }
    let done_before = writes(&cluster)
        .values()
        .filter(|count| **count == 2)
        .count();
    let report = cluster
        .migrate_in(
            &*cluster.store,
            "current",
            &options.with_resume(true),
            Some(&kept),
        )
        .unwrap();
    assert_complete(&report);
    for number in 0..OBJECTS {
        let found = cluster.open(&secret(number)).unwrap();
        assert_eq!(found.content, content(number).as_bytes(), "{name}");
        assert_eq!(found.name.as_deref(), Some("new"), "{name}");
    }
    // Once when it was made and once for the migration, in both lives together.
    let all = writes(&cluster);
    assert!(all.values().all(|count| *count == 2), "{name}: {all:?}");
    assert!(done_before <= OBJECTS);
    assert!(kept.0.lock().unwrap().is_none(), "{name}: it is done");
    lived
}

/// R25: nothing becomes unreadable.
#[test]
fn r25_a_crash_at_any_call_loses_nothing_and_writes_nothing_twice() {
    for after in [false, true] {
        let mut deaths = 0;
        while !live_until(deaths, after) {
            deaths += 1;
            assert!(deaths < 1000, "it never ends");
        }
        // 7 swaps, 3 pages, as many saves, the verification, and the ends.
        assert!(deaths > 15, "{deaths} points of death are not all");
    }
}

#[test]
fn it_goes_on_where_it_stood() {
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old"]);
    cluster.fill("v2:old", 30);
    let kept = Kept::default();
    let swaps = Mutex::new(0);
    let store = Hooked::new(&cluster, move |call| {
        let mut swaps = swaps.lock().unwrap();
        *swaps += u32::from(matches!(call, super::Call::Swap(_)));
        if *swaps > 20 {
            Reaction::Die
        } else {
            Reaction::Pass
        }
    });
    let options = options().with_page_limit(5).with_concurrency(5);
    let ended = cluster.try_migrate_in(&store, "current", &options, Some(&kept));
    assert!(ended.is_none());
    let scans = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&scans);
    let store = Hooked::new(&cluster, move |call| {
        *seen.lock().unwrap() += u32::from(*call == super::Call::Scan);
        Reaction::Pass
    });
    let report = cluster
        .migrate_in(&store, "current", &options.with_resume(true), Some(&kept))
        .unwrap();
    assert_complete(&report);
    assert_eq!(
        report.counts.rewritten, 30,
        "those of the first life are counted"
    );
    assert_eq!(report.counts.objects, 30);
    // Two or so pages that were left, one to count, and six to verify.
    assert!(*scans.lock().unwrap() <= 10, "{scans:?}");
}

#[test]
fn a_checkpoint_of_another_migration_is_refused() {
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old", "identity"]);
    cluster.fill("v2:old", 5);
    let kept = Kept::default();
    let store = Hooked::new(&cluster, |call| match call {
        super::Call::Swap(_) => Reaction::Die,
        _ => Reaction::Pass,
    });
    let ended = cluster.try_migrate_in(&store, "current", &options(), Some(&kept));
    assert!(ended.is_none());
    let resume = options().with_resume(true);
    let refused = |to: &str, options: &_| {
        let ended = cluster.migrate_in(&*cluster.store, to, options, Some(&kept));
        let error = ended.unwrap_err();
        assert_eq!(error.kind(), kms_envelope::ErrorKind::Checkpoint, "{error}");
        error.message().to_owned()
    };
    assert!(refused("plain", &resume).contains("another target"));
    assert!(refused("current", &resume.clone().with_renew(true)).contains("renew"));
    let mut elsewhere = resume.clone();
    elsewhere.scope = elsewhere.scope.with_namespaces(["ns-0"]).unwrap();
    assert!(refused("current", &elsewhere).contains("another scope"));
    cluster.rotate("new");
    assert!(refused("current", &resume).contains("another target"));
    // Without it, it begins at the beginning, for the new key.
    let report = cluster
        .migrate_in(&*cluster.store, "current", &options(), Some(&kept))
        .unwrap();
    assert_complete(&report);

    *kept.0.lock().unwrap() = Some(b"{\"version\": 1".to_vec());
    assert!(refused("current", &resume).contains("no checkpoint"));
}

#[test]
fn another_cluster_is_another_migration() {
    let kept = Kept::default();
    for (id, is_refused) in [("cluster-1", false), ("cluster-2", true)] {
        let mut cluster = Cluster::of_secrets(&["v2:new", "v2:old"]);
        let store = kms_cluster::embedded::EmbeddedStore::new("test").with_cluster_id(id);
        cluster.store = Arc::new(store);
        cluster.fill("v2:old", 5);
        let store = Hooked::new(&cluster, |call| match call {
            super::Call::Swap(_) => Reaction::Die,
            _ => Reaction::Pass,
        });
        let options = options().with_resume(true);
        match cluster.try_migrate_in(&store, "current", &options, Some(&kept)) {
            None => assert!(!is_refused),
            Some(ended) => {
                assert!(is_refused);
                assert!(ended.unwrap_err().message().contains("another cluster"));
            }
        }
    }
}

/// One that is asked to stop ends what it has begun, and keeps the place.
#[test]
fn stopping_is_no_crash() {
    use kms_core::Clock as _;
    use kms_envelope::reencrypt::Migration;
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old"]);
    cluster.fill("v2:old", 50);
    let rate = std::num::NonZeroU32::new(10);
    let options = options()
        .with_rate(rate)
        .with_page_limit(5)
        .with_concurrency(4);
    let kept = Kept::default();
    let reencryptors = cluster.reencryptors("current", &options);
    let migration = Migration::new(&*cluster.store, &reencryptors, &cluster.clock, &options)
        .with_checkpoints(&kept);
    let stop = cluster
        .clock
        .sleep_until(cluster.clock.now() + std::time::Duration::from_secs(2));
    let report = cluster.run(migration.run(stop, |_| {})).unwrap();
    let MigrationEnd::Stopped(reason) = &report.end else {
        panic!("{report:?}");
    };
    assert_eq!(reason.as_str(), "asked");
    assert!((15..35).contains(&report.counts.rewritten), "{report:?}");
    assert!(kept.0.lock().unwrap().is_some());
    let report = cluster
        .migrate_in(
            &*cluster.store,
            "current",
            &options.with_resume(true),
            Some(&kept),
        )
        .unwrap();
    assert_complete(&report);
    assert_eq!(report.counts.rewritten, 50);
    assert!(writes(&cluster).values().all(|count| *count == 2));
}
