//! Several workers on one migration.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms_core::Clock as _;
use kms_envelope::reencrypt::{
    MigrationEnd, MigrationOptions, MigrationReport, SharedMigration, WorkerOptions,
};
use kms_envelope::{Error, ErrorKind};
use proptest::prelude::*;

use super::cluster::content;
use super::leased::{Leased, Leases};
use super::{Cluster, assert_complete, options, secret, writes};

const PREFIX: &str = "/kms/migrate/test";

fn leases() -> Arc<Mutex<Leases>> {
    Arc::default()
}

fn cluster(objects: usize) -> Cluster {
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old"]);
    cluster.fill("v2:old", objects);
    cluster
}

fn shared() -> MigrationOptions {
    options().with_page_limit(10).with_concurrency(4)
}

async fn work(
    cluster: &Cluster,
    store: &Leased,
    options: &MigrationOptions,
    name: &str,
) -> Result<MigrationReport, Error> {
    let worker = WorkerOptions::new(name, PREFIX).unwrap();
    let reencryptors = cluster.reencryptors("current", options);
    SharedMigration::new(store, &reencryptors, &cluster.clock, options, &worker)?
        .run(pending(), |_| {})
        .await
}

/// All objects have their content under the new key, and were written once for it.
fn assert_done(cluster: &Cluster, objects: usize) {
    let all = writes(cluster);
    for number in 0..objects {
        let key = secret(number);
        let found = cluster.open(&key).unwrap();
        assert_eq!(found.content, content(number).as_bytes());
        assert_eq!(found.name.as_deref(), Some("new"));
        assert_eq!(all[&key], 2, "{key}");
    }
    assert!(
        all.keys()
            .all(|key| key.starts_with("/registry/") || key.starts_with(PREFIX)),
        "{all:?}"
    );
}

#[test]
fn two_workers_share_the_work_and_do_none_twice() {
    let cluster = cluster(300);
    let leases = leases();
    let (mut one, mut two) = (
        Leased::new(&cluster, &leases),
        Leased::new(&cluster, &leases),
    );
    one.swap_takes = Duration::from_millis(5);
    two.swap_takes = Duration::from_millis(5);
    let options = shared();
    let (a, b) = cluster.run(async {
        tokio::join!(
            work(&cluster, &one, &options, "a"),
            work(&cluster, &two, &options, "b")
        )
    });
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_complete(&a);
    assert_complete(&b);
    assert_done(&cluster, 300);
    // Not only was none written twice: none was opened and judged twice.
    assert_eq!(a.counts.rewritten + b.counts.rewritten, 300);
    assert_eq!(a.counts.objects + b.counts.objects, 300);
    assert_eq!(a.counts.conflicts + b.counts.conflicts, 0);
    for report in [&a, &b] {
        assert!(report.counts.rewritten >= 100, "{report:?}");
        let verified = report.verification.as_ref().unwrap();
        assert_eq!((verified.objects, verified.right), (300, 300));
    }
    // One of them verified, and only it can tell the census.
    let censuses = [&a, &b].map(|report| report.verification.as_ref().unwrap().census.len());
    assert_eq!(censuses.iter().sum::<usize>(), 1);
}

/// With 5 ms in each transaction two are at least 1.8 times as fast as one.
#[test]
fn two_workers_are_nearly_twice_as_fast_as_one() {
    let time = |workers: usize| {
        let cluster = cluster(2000);
        let leases = leases();
        let names: Vec<_> = (0..workers)
            .map(|number| format!("worker-{number}"))
            .collect();
        let stores: Vec<_> = names
            .iter()
            .map(|_| {
                let mut store = Leased::new(&cluster, &leases);
                store.swap_takes = Duration::from_millis(5);
                store
            })
            .collect();
        let options = options()
            .with_page_limit(100)
            .with_concurrency(8)
            .with_checkpoint_interval(Duration::from_secs(1));
        let began = cluster.clock.now();
        let all = stores.iter().zip(&names).map(|(store, name)| {
            let (cluster, options) = (&cluster, &options);
            async move { work(cluster, store, options, name).await.unwrap() }
        });
        let reports = cluster.run(futures_util::future::join_all(all));
        reports.iter().for_each(assert_complete);
        let done: u64 = reports.iter().map(|report| report.counts.rewritten).sum();
        assert_eq!(done, 2000);
        cluster.clock.now().since(began).as_secs_f64()
    };
    let (one, two) = (time(1), time(2));
    let ratio = one / two;
    assert!(ratio >= 1.8, "one takes {one} s, two take {two} s: {ratio}");
}

#[test]
fn what_a_dead_worker_had_claimed_is_taken_over_where_it_stood() {
    let cluster = cluster(200);
    let leases = leases();
    let (mut one, mut two) = (
        Leased::new(&cluster, &leases),
        Leased::new(&cluster, &leases),
    );
    one.swap_takes = Duration::from_millis(50);
    two.swap_takes = Duration::from_millis(50);
    let options = shared().with_page_limit(100);
    let began = cluster.clock.now();
    let survivor = cluster.run(async {
        let dies = async {
            let death = cluster
                .clock
                .sleep_until(began + Duration::from_millis(1000));
            tokio::select! {
                biased;
                () = death => {}
                ended = work(&cluster, &one, &options, "dies") => panic!("{ended:?}"),
            }
        };
        tokio::join!(work(&cluster, &two, &options, "lives"), dies).0
    });
    let survivor = survivor.unwrap();
    assert_complete(&survivor);
    assert_done(&cluster, 200);
    // It waited for the lease to run out, and not longer.
    let took = cluster.clock.now().since(began);
    assert!(
        took > Duration::from_secs(15) && took < Duration::from_secs(25),
        "{took:?}"
    );
    // What the dead one had done, and noted, was not gone through again.
    assert!(survivor.counts.objects < 200, "{survivor:?}");
}

/// It slept for longer than its lease, and goes on as if nothing had happened.
#[test]
fn a_worker_that_was_only_asleep_does_no_harm() {
    let cluster = cluster(200);
    let leases = leases();
    let (mut one, mut two) = (
        Leased::new(&cluster, &leases),
        Leased::new(&cluster, &leases),
    );
    one.swap_takes = Duration::from_millis(50);
    two.swap_takes = Duration::from_millis(300);
    let options = shared().with_page_limit(50);
    let began = cluster.clock.now();
    let (a, b) = cluster.run(async {
        let falls_asleep = async {
            cluster
                .clock
                .sleep_until(began + Duration::from_millis(200))
                .await;
            *one.asleep_until.lock().unwrap() = began + Duration::from_secs(40);
        };
        let (a, b, ()) = tokio::join!(
            work(&cluster, &one, &options, "sleeper"),
            work(&cluster, &two, &options, "other"),
            falls_asleep
        );
        (a.unwrap(), b.unwrap())
    });
    assert_complete(&a);
    assert_complete(&b);
    assert_done(&cluster, 200);
}

#[test]
fn who_wants_something_else_is_refused_while_others_are_at_work() {
    let cluster = cluster(100);
    let leases = leases();
    let mut one = Leased::new(&cluster, &leases);
    one.swap_takes = Duration::from_millis(20);
    let two = Leased::new(&cluster, &leases);
    let options = shared();
    let began = cluster.clock.now();
    let (first, second) = cluster.run(async {
        let other = async {
            cluster
                .clock
                .sleep_until(began + Duration::from_millis(100))
                .await;
            let mut options = options.clone();
            options.scope = options.scope.with_namespaces(["ns-1"]).unwrap();
            work(&cluster, &two, &options, "b").await
        };
        tokio::join!(work(&cluster, &one, &options, "a"), other)
    });
    assert_complete(&first.unwrap());
    let error = second.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Checkpoint);
    assert!(error.message().contains("`a` is at work"), "{error}");
    assert!(error.message().contains("another scope"), "{error}");
}

#[test]
fn a_name_is_one_workers() {
    let cluster = cluster(400);
    let leases = leases();
    let mut one = Leased::new(&cluster, &leases);
    one.swap_takes = Duration::from_secs(1);
    let two = Leased::new(&cluster, &leases);
    let options = shared();
    let (first, second) = cluster.run(async {
        tokio::join!(
            work(&cluster, &one, &options, "same"),
            work(&cluster, &two, &options, "same")
        )
    });
    assert_complete(&first.unwrap());
    let error = second.unwrap_err();
    assert!(error.message().contains("at work already"), "{error}");
    for bad in ["", "a/b", "a b", &"x".repeat(129)] {
        assert!(WorkerOptions::new(bad, PREFIX).is_err(), "{bad:?}");
    }
}

/// One that begins again under its old name waits until its old self is forgotten, and goes on.
#[test]
fn a_worker_comes_back_under_its_name() {
    let cluster = cluster(60);
    let leases = leases();
    let mut store = Leased::new(&cluster, &leases);
    store.swap_takes = Duration::from_millis(50);
    let options = shared();
    let report = cluster.run(async {
        let death = cluster
            .clock
            .sleep_until(cluster.clock.now() + Duration::from_millis(300));
        tokio::select! {
            biased;
            () = death => {}
            ended = work(&cluster, &store, &options, "a") => panic!("{ended:?}"),
        }
        work(&cluster, &store, &options, "a").await.unwrap()
    });
    assert_complete(&report);
    assert_done(&cluster, 60);
}

#[test]
fn a_board_of_a_migration_that_is_over_is_in_nobodys_way() {
    let cluster = cluster(30);
    let leases = leases();
    let store = Leased::new(&cluster, &leases);
    let options = shared();
    assert_complete(&cluster.run(work(&cluster, &store, &options, "a")).unwrap());
    cluster.rotate("new");
    let again = cluster.run(work(&cluster, &store, &options, "b")).unwrap();
    assert_complete(&again);
    assert_eq!(again.counts.rewritten, 30);
}

#[test]
fn a_key_that_changes_stops_every_worker() {
    let cluster = cluster(400);
    let leases = leases();
    let (mut one, mut two) = (
        Leased::new(&cluster, &leases),
        Leased::new(&cluster, &leases),
    );
    one.swap_takes = Duration::from_secs(2);
    two.swap_takes = Duration::from_secs(2);
    let options = shared();
    let began = cluster.clock.now();
    let (a, b) = cluster.run(async {
        let rotates = async {
            cluster
                .clock
                .sleep_until(began + Duration::from_secs(30))
                .await;
            cluster.rotate("new");
        };
        let (a, b, ()) = tokio::join!(
            work(&cluster, &one, &options, "a"),
            work(&cluster, &two, &options, "b"),
            rotates
        );
        (a.unwrap(), b.unwrap())
    });
    for report in [a, b] {
        let MigrationEnd::Stopped(reason) = report.end else {
            panic!("{report:?}");
        };
        assert_eq!(reason.as_str(), "key_changed");
    }
}

#[test]
fn renewing_is_for_one() {
    let cluster = cluster(1);
    let leases = leases();
    let store = Leased::new(&cluster, &leases);
    let options = shared().with_renew(true);
    let refused = cluster.run(work(&cluster, &store, &options, "a"));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
}

/// What befalls a worker.
#[derive(Clone, Debug)]
struct Fate {
    lives_millis: Option<u64>,
    sleeps_at_millis: Option<u64>,
    loses_one_in: Option<u64>,
}

fn fate() -> impl Strategy<Value = Fate> {
    (
        proptest::option::of(100_u64..4000),
        proptest::option::weighted(0.3, 100_u64..3000),
        proptest::option::weighted(0.5, 3_u64..20),
    )
        .prop_map(|(lives_millis, sleeps_at_millis, loses_one_in)| Fate {
            lives_millis,
            sleeps_at_millis,
            loses_one_in,
        })
}

fn check(fates: &[Fate]) {
    let cluster = cluster(60);
    let leases = leases();
    let options = shared();
    let stores: Vec<_> = fates
        .iter()
        .map(|fate| {
            let mut store = Leased::new(&cluster, &leases);
            store.swap_takes = Duration::from_millis(100);
            store.loses_one_in = fate.loses_one_in;
            store
        })
        .collect();
    let began = cluster.clock.now();
    let lives = fates
        .iter()
        .zip(&stores)
        .enumerate()
        .map(|(number, (fate, store))| {
            let (cluster, options) = (&cluster, &options);
            async move {
                let at = |millis: Option<u64>| {
                    let far = Duration::from_secs(900);
                    began + millis.map_or(far, Duration::from_millis)
                };
                let name = format!("worker-{number}");
                let sleeps = async {
                    cluster.clock.sleep_until(at(fate.sleeps_at_millis)).await;
                    *store.asleep_until.lock().unwrap() =
                        at(fate.sleeps_at_millis) + Duration::from_secs(30);
                    pending::<()>().await;
                };
                tokio::select! {
                    biased;
                    () = cluster.clock.sleep_until(at(fate.lives_millis)) => None,
                    () = sleeps => None,
                    ended = work(cluster, store, options, &name) => Some(ended),
                }
            }
        });
    let ended = cluster.run(futures_util::future::join_all(lives));
    for report in ended.into_iter().flatten() {
        let report = report.unwrap();
        assert!(matches!(report.end, MigrationEnd::Complete), "{report:?}");
    }
    // Whatever is left, one who is fine ends it.
    let store = Leased::new(&cluster, &leases);
    let last = cluster
        .run(work(&cluster, &store, &options, "last"))
        .unwrap();
    assert!(matches!(last.end, MigrationEnd::Complete), "{last:?}");
    assert_done(&cluster, 60);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Workers die, sleep, lose answers: in the end all is done, and nothing was written twice.
    #[test]
    fn whatever_befalls_workers_the_work_gets_done_once(
        fates in proptest::collection::vec(fate(), 1..4),
    ) {
        check(&fates);
    }
}

#[test]
fn one_that_wakes_up_when_its_range_is_anothers_ends() {
    let f = |lives_millis, sleeps_at_millis, loses_one_in| Fate {
        lives_millis,
        sleeps_at_millis,
        loses_one_in,
    };
    check(&[
        f(None, None, Some(5)),
        f(None, Some(1635), None),
        f(Some(3066), Some(1844), Some(19)),
    ]);
}
