//! The key provider or the store does not do what it should, in the middle.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use kms_core::{Clock as _, Error, ErrorKind};
use kms_envelope::reencrypt::{MigrationEnd, MigrationReport, OnKeyChange, StopReason};
use kms_testkit::{Operation, Outcome};

use super::{Call, Cluster, Hooked, Kept, Reaction, assert_complete, options, secret, writes};

fn stopped(report: &MigrationReport) -> &StopReason {
    match &report.end {
        MigrationEnd::Stopped(reason) => reason,
        _ => panic!("{report:#?}"),
    }
}

#[test]
fn a_kms_that_is_away_for_a_while_is_waited_for() {
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old"]);
    cluster.fill("v2:old", 20);
    let plugin = cluster.plugin("old");
    plugin.script(
        Operation::Unwrap,
        std::iter::repeat_n(Outcome::Fail(ErrorKind::Unavailable), 200),
    );
    let began = cluster.clock.now();
    assert_complete(&cluster.migrate("current", &options()));
    assert!(cluster.clock.now().since(began) > Duration::from_secs(1));
}

#[test]
fn a_kms_that_stays_away_ends_it_with_a_place_to_go_on() {
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old", "v2:older"]);
    cluster.fill("v2:old", 10);
    for number in 10..20 {
        let key = format!("/registry/secrets/ns-9/{number}");
        cluster.put("v2:older", &key, b"x");
    }
    let kept = Kept::default();
    cluster
        .plugin("older")
        .set_error_rate(Operation::Unwrap, 1000, ErrorKind::Unavailable);
    let options = options()
        .with_page_limit(4)
        .with_patience(Duration::from_secs(120));
    let began = cluster.clock.now();
    let report = cluster
        .migrate_in(&*cluster.store, "current", &options, Some(&kept))
        .unwrap();
    assert_eq!(stopped(&report).as_str(), "kms");
    let took = cluster.clock.now().since(began);
    assert!(took >= Duration::from_secs(119), "{took:?}");
    assert!(took <= Duration::from_secs(150), "{took:?}");
    // What could be done was done, and what could not is not called damaged.
    assert_eq!((report.counts.rewritten, report.counts.left), (10, 0));
    cluster
        .plugin("older")
        .set_error_rate(Operation::Unwrap, 0, ErrorKind::Unavailable);
    let report = cluster
        .migrate_in(
            &*cluster.store,
            "current",
            &options.with_resume(true),
            Some(&kept),
        )
        .unwrap();
    assert_complete(&report);
    assert_eq!(report.counts.rewritten, 20);
}

#[test]
fn what_a_throttled_kms_asks_for_is_honoured() {
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old"]);
    cluster.fill("v2:old", 1);
    let slow_down =
        Error::new(ErrorKind::Throttled, "slow down").with_retry_after(Duration::from_secs(40));
    cluster
        .plugin("old")
        .script(Operation::Unwrap, [Outcome::FailWith(slow_down)]);
    let began = cluster.clock.now();
    assert_complete(&cluster.migrate("current", &options()));
    assert!(cluster.clock.now().since(began) >= Duration::from_secs(40));
}

#[test]
fn a_seed_is_kept_fresh_for_as_long_as_it_takes() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 600);
    let began = cluster.clock.now();
    // Ten minutes, which is more than a seed is good for without a sign of the KMS.
    let options = options().with_rate(NonZeroU32::new(1));
    assert_complete(&cluster.migrate("current", &options));
    let took = cluster.clock.now().since(began);
    assert!(
        took >= Duration::from_secs(599) && took < Duration::from_secs(620),
        "{took:?}"
    );
    let plugin = cluster.plugin("new");
    assert!(plugin.calls(Operation::CurrentKey) >= 9);
    assert_eq!(plugin.calls(Operation::Wrap), 1, "one seed");
    assert_eq!(
        plugin.calls(Operation::Unwrap),
        1,
        "seen to be unwrapped once"
    );
}

#[test]
fn a_kms_that_confirms_its_key_no_more_stops_the_writes() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 900);
    let plugin = cluster.shared_plugin("new");
    let down = Mutex::new(false);
    let clock = cluster.clock.clone();
    let began = clock.now();
    let store = Hooked::new(&cluster, move |_| {
        let mut down = down.lock().unwrap();
        if !*down && clock.now().since(began) > Duration::from_secs(100) {
            *down = true;
            plugin.set_error_rate(Operation::CurrentKey, 1000, ErrorKind::Unavailable);
        }
        Reaction::Pass
    });
    let options = options().with_rate(NonZeroU32::new(1)).with_concurrency(4);
    let report = cluster
        .migrate_in(&store, "current", &options, None)
        .unwrap();
    assert_eq!(stopped(&report).as_str(), "kms");
    // The last sign of it came after about a minute, and a seed is good for three more.
    assert!(
        (230..260).contains(&report.counts.rewritten),
        "{:?}",
        report.counts
    );
}

#[test]
fn a_target_that_refuses_ends_it_at_once() {
    for (operation, kind) in [
        (Operation::Unwrap, ErrorKind::PermissionDenied),
        (Operation::Unwrap, ErrorKind::Crypto),
    ] {
        let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
        cluster.fill("identity", 50);
        // The seed wraps, and would never be unwrapped again: nothing may be written with it.
        cluster.plugin("new").set_error_rate(operation, 1000, kind);
        let report = cluster.migrate("current", &options());
        assert_eq!(stopped(&report).as_str(), "kms", "{kind:?}");
        assert_eq!(report.counts.rewritten, 0);
        assert!(writes(&cluster).values().all(|count| *count == 1));
    }
}

#[test]
fn a_target_that_is_not_there_at_the_beginning_is_an_error() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 1);
    let plugin = cluster.plugin("new");
    plugin.set_error_rate(Operation::Wrap, 1000, ErrorKind::KeyDisabled);
    let ended = cluster.migrate_in(&*cluster.store, "current", &options(), None);
    let error = ended.unwrap_err();
    let cause = error.provider_error().unwrap();
    assert_eq!(cause.kind(), ErrorKind::KeyDisabled);
}

/// The KMS moves on to another key when the tenth object is swapped.
fn rotated_in_the_middle(cluster: &Cluster) -> Hooked {
    let plugin = cluster.shared_plugin("new");
    let clock = cluster.clock.clone();
    let swaps = Mutex::new(0);
    Hooked::new(cluster, move |call| {
        let mut swaps = swaps.lock().unwrap();
        *swaps += u32::from(matches!(call, Call::Swap(_)));
        if *swaps == 10 {
            *swaps += 1;
            plugin.inner().rotate().unwrap();
            // Long enough that somebody asks.
            clock.advance(Duration::from_secs(70));
        }
        Reaction::Pass
    })
}

/// R24, R27: a rotation while the last one is still being migrated is noticed.
#[test]
fn r27_a_key_that_changes_in_the_middle_stops_it() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 100);
    let kept = Kept::default();
    let store = rotated_in_the_middle(&cluster);
    let options = options().with_concurrency(2);
    let report = cluster
        .migrate_in(&store, "current", &options, Some(&kept))
        .unwrap();
    let reason = stopped(&report);
    assert_eq!(reason.as_str(), "key_changed");
    assert!(reason.to_string().contains("new-1"), "{reason}");
    assert!(report.counts.rewritten < 20, "{report:?}");
    // The place it kept is that of a migration to the old key.
    let resumed = options.clone().with_resume(true);
    let ended = cluster.migrate_in(&*cluster.store, "current", &resumed, Some(&kept));
    assert!(ended.unwrap_err().message().contains("another target"));
    assert_complete(&cluster.migrate("current", &options));
}

#[test]
fn a_key_that_changes_in_the_middle_begins_it_again_if_that_is_wanted() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 100);
    let store = rotated_in_the_middle(&cluster);
    let options = options()
        .with_concurrency(2)
        .with_on_key_change(OnKeyChange::Restart);
    let report = cluster
        .migrate_in(&store, "current", &options, None)
        .unwrap();
    assert_complete(&report);
    assert_eq!(report.restarts, 1);
    let ids: std::collections::BTreeSet<_> = (0..100)
        .map(|number| cluster.open(&secret(number)).unwrap().key_id)
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[test]
fn a_store_that_is_away_is_waited_for_and_one_that_refuses_is_not() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 20);
    let state = Mutex::new(7_u64);
    let flaky = Hooked::new(&cluster, move |call| {
        let mut state = state.lock().unwrap();
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // Two of three calls, but for the first, which is what connecting would have shown.
        match *call != Call::Identity && !(*state >> 33).is_multiple_of(3) {
            true => Reaction::Fail(ErrorKind::Unavailable),
            false => Reaction::Pass,
        }
    });
    assert_complete(
        &cluster
            .migrate_in(&flaky, "current", &options(), None)
            .unwrap(),
    );
    assert!(writes(&cluster).values().all(|count| *count == 2));

    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 20);
    let full = Hooked::new(&cluster, |call| match call {
        Call::Swap(_) => Reaction::Fail(ErrorKind::Io),
        _ => Reaction::Pass,
    });
    let report = cluster
        .migrate_in(&full, "current", &options(), None)
        .unwrap();
    assert_eq!(stopped(&report).as_str(), "store");
}
