//! Which objects, how fast, and at which revision.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use kms_core::Clock as _;
use kms_core::object::{ObjectKey, ObjectSource as _};
use kms_envelope::reencrypt::{
    Migration, MigrationOptions, MigrationPhase, MigrationScope, Reencryptors as _,
};

use super::{Call, Cluster, Hooked, Reaction, assert_complete, config, options, writes};

/// R23: large clusters are split by namespace.
#[test]
fn r23_a_namespace_or_a_resource_is_migrated_and_the_rest_is_not_touched() {
    let entries: &[(&str, &[&str])] = &[
        ("secrets", &["v2:new", "identity"]),
        ("configmaps, gadgets.example.org", &["aesgcm:k", "identity"]),
    ];
    let keys = [
        "/registry/secrets/team-a/one",
        "/registry/secrets/team-a/two",
        "/registry/secrets/team-ab/one",
        "/registry/secrets/team-b/one",
        "/registry/configmaps/team-a/one",
        "/registry/example.org/gadgets/team-a/one",
        "/registry/example.org/gadgets/cluster-wide",
        "/registry/pods/team-a/one",
    ];
    let cases: [(&[&str], &[&str], &[usize]); 5] = [
        (&["secrets"], &["team-a"], &[0, 1]),
        (&["secrets"], &[], &[0, 1, 2, 3]),
        (
            &["secrets", "configmaps"],
            &["team-a", "team-b"],
            &[0, 1, 3, 4],
        ),
        (&["gadgets.example.org"], &[], &[5, 6]),
        (&[], &["team-a"], &[0, 1, 4, 5]),
    ];
    for (resources, namespaces, wanted) in cases {
        let cluster = Cluster::new(config(entries)).with_plugins();
        for key in keys {
            cluster.put("identity", key, b"x");
        }
        let scope = match resources {
            [] => MigrationScope::configured("/registry", &cluster.config).unwrap(),
            some => MigrationScope::new("/registry")
                .with_resources(some)
                .unwrap(),
        };
        let options = MigrationOptions::new(scope.with_namespaces(namespaces).unwrap());
        let report = cluster.migrate("current", &options);
        assert_complete(&report);
        let all = writes(&cluster);
        let touched: Vec<_> = (0..keys.len()).filter(|at| all[keys[*at]] == 2).collect();
        assert_eq!(touched, wanted, "{resources:?} {namespaces:?}");
        assert_eq!(report.counts.objects, wanted.len() as u64);
    }
}

/// Another resource of the configuration may be under a KMS that does not even run.
#[test]
fn what_is_not_in_the_scope_need_not_work() {
    let entries: &[(&str, &[&str])] = &[
        ("secrets", &["v2:new", "identity"]),
        ("configmaps", &["v2:broken", "identity"]),
    ];
    let cluster = Cluster::new(config(entries)).with_plugins();
    cluster.plugin("broken").set_error_rate(
        kms_testkit::Operation::CurrentKey,
        1000,
        kms_core::ErrorKind::KeyDisabled,
    );
    cluster.fill("identity", 3);
    assert_eq!(cluster.reencryptors("current", &options()).all().len(), 1);
    assert_complete(&cluster.migrate("current", &options()));
}

#[test]
fn the_rate_is_kept() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 200);
    for number in 200..300 {
        cluster.put("v2:new", &super::secret(number), b"right");
    }
    let began = cluster.clock.now();
    let options = options().with_rate(NonZeroU32::new(50));
    assert_complete(&cluster.migrate("current", &options));
    // What is right does not count.
    let took = cluster.clock.now().since(began).as_secs_f64();
    assert!((3.8..4.2).contains(&took), "{took}");
}

#[test]
fn progress_is_told_with_an_end_in_sight() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 100);
    let options = options().with_rate(NonZeroU32::new(10));
    let reencryptors = cluster.reencryptors("current", &options);
    let mut told = Vec::new();
    let migration = Migration::new(&*cluster.store, &reencryptors, &cluster.clock, &options);
    let report = cluster
        .run(migration.run(std::future::pending(), |progress| told.push(*progress)))
        .unwrap();
    assert_complete(&report);
    assert!(
        told.windows(2)
            .all(|pair| { pair[0].phase != pair[1].phase || pair[0].done <= pair[1].done })
    );
    let middle = told
        .iter()
        .find(|it| it.phase == MigrationPhase::Rewriting && it.done >= 50)
        .unwrap();
    let rate = middle.per_second.unwrap();
    assert!((9.0..11.5).contains(&rate), "{rate}");
    // This store does not say how much is left, so neither does the progress.
    assert_eq!((middle.total, middle.eta), (None, None));
    assert!(told.iter().any(|it| it.phase == MigrationPhase::Verifying));
}

#[test]
fn compaction_in_the_middle_does_not_end_it() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 60);
    let inner = Arc::clone(&cluster.store);
    let scans = Mutex::new(0);
    let store = Hooked::new(&cluster, move |call| {
        let mut scans = scans.lock().unwrap();
        *scans += u32::from(*call == Call::Scan);
        if *call == Call::Scan && (*scans).is_multiple_of(4) {
            // Somebody writes, so that there is something to compact up to.
            let key = ObjectKey::new("/registry/pods/default/a").unwrap();
            inner.put(&key, b"k8s\0".to_vec(), None).unwrap();
            inner.compact(inner.revision()).unwrap();
        }
        Reaction::Pass
    });
    let options = options().with_page_limit(7).with_concurrency(3);
    let report = cluster
        .migrate_in(&store, "current", &options, None)
        .unwrap();
    // The verification needs one revision to last, which it does not here.
    let kind = match &report.end {
        kms_envelope::reencrypt::MigrationEnd::Stopped(reason) => reason.as_str(),
        other => other.as_str(),
    };
    assert_eq!(kind, "store", "{report:?}");
    assert_eq!(report.counts.rewritten, 60);
    assert_complete(&cluster.migrate("current", &options));
}

#[test]
fn all_pages_are_read_at_one_revision() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 20);
    let late = cluster.seal("identity", "/registry/secrets/zz/late", b"late");
    let inner = Arc::clone(&cluster.store);
    let done = Mutex::new(false);
    let store = Hooked::new(&cluster, move |call| {
        let mut done = done.lock().unwrap();
        if matches!(call, Call::Swap(_)) && !*done {
            *done = true;
            let key = ObjectKey::new("/registry/secrets/zz/late").unwrap();
            inner.put(&key, late.clone(), None).unwrap();
        }
        Reaction::Pass
    });
    let options = options().with_page_limit(4).with_concurrency(2);
    let report = cluster
        .migrate_in(&store, "current", &options, None)
        .unwrap();
    // The first pass does not see it; the verification does, and a second one takes it.
    assert_complete(&report);
    assert_eq!(report.passes, 2);
    let identity = cluster
        .run(cluster.store.identity(&Default::default()))
        .unwrap();
    assert_eq!(
        report.verification.unwrap().revision,
        identity.revision.get()
    );
}
