//! Versions of one key that follow each other.

use std::time::Duration;

use kms_core::KeyState;
use kms_core::object::Revision;
use kms_envelope::rotation::{
    Activity, Change, Effect, Event, Expectation, KeyPhase, Observation, Policy, Refusal,
    Retention, Scope, Stage, Target, Writes,
};

use super::super::evidence::Stored;
use super::super::hand::Hand;
use super::super::{enabled, id, provider, seconds, start};

/// R24, R58: a version appears, becomes active at its instant, and objects follow without anybody
/// doing anything (R59).
#[test]
fn r24_r58_r59_a_new_version_is_followed_to_the_end() {
    let mut hand = Hand::on_first_key(Policy::default());
    let due = hand.now + seconds(660);
    let seen = vec![
        enabled("a1").with_active_at(start() - seconds(90_000)),
        enabled("a2").with_active_at(due),
    ];
    hand.observe(seen);
    assert_eq!(hand.phase("a2"), KeyPhase::Pending);
    assert!(hand.given.contains(&Effect::WakeAt(due)));
    assert_eq!(hand.state.writes(), Writes::With(id("a1")));
    hand.now = due - Duration::from_millis(1);
    hand.tell(Event::Tick);
    assert_eq!(
        hand.phase("a2"),
        KeyPhase::Pending,
        "not before its instant"
    );
    hand.now = due;
    hand.tell(Event::Tick);
    assert_eq!(hand.state.writes(), Writes::With(id("a2")));
    assert_eq!(
        (hand.phase("a1"), hand.phase("a2")),
        (KeyPhase::Previous, KeyPhase::Active)
    );

    // Replicas may differ by their clocks; they are asked after that, and again after the lease.
    let target = Target::Key {
        provider: provider("a"),
        id: id("a2"),
    };
    assert_eq!(hand.expectation(), None);
    hand.wait(seconds(60));
    assert_eq!(hand.expectation(), Some(Expectation::Writes(target)));
    hand.answer_one();
    assert_eq!(hand.expectation(), None);
    assert_eq!(hand.state.activity(), Activity::Converging);
    hand.wait(seconds(360));
    hand.answer_one();
    assert_eq!(hand.state.activity(), Activity::Migrating);
    hand.answer_one();
    assert_eq!(hand.state.activity(), Activity::Verifying);
    hand.answer_one();
    assert!(hand.state.is_settled());
    assert_eq!(hand.objects, vec![Stored::Under("a2".into()); 3]);
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    hand.tell(hand.retire("a1"));
    assert_eq!(hand.phase("a1"), KeyPhase::Retired);
    assert_eq!(hand.permits(), [id("a1")]);
}

/// R26: while objects need two keys no third is asked for; Azure/kubernetes-kms#291.
#[test]
fn r26_a_second_rotation_is_refused_until_the_first_is_migrated() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.tell(Event::Change(Change::Rotate));
    let make = hand
        .given
        .iter()
        .find(|it| matches!(it, Effect::MakeVersion { .. }));
    assert!(make.is_some(), "{:?}", hand.given);
    hand.rotate_to("a2");
    assert_eq!(hand.state.change_activity(), Activity::Idle, "it was made");

    let refusal = hand.refused(Event::Change(Change::Rotate));
    let expected = Refusal::NotMigrated {
        oldest: id("a1"),
        live: 2,
        max: 2,
    };
    assert_eq!(refusal, expected);
    let other = Change::Replace {
        provider: provider("b"),
        key: enabled("b1"),
    };
    assert_eq!(hand.refused(Event::Change(other)), expected);

    hand.finish();
    hand.tell(Event::Change(Change::Rotate));
}

/// R26: a provider that rotates by itself cannot be refused. It is reported before it happens, every
/// key stays until evidence frees it, and objects go straight to the newest.
#[test]
fn r26_a_third_key_of_the_provider_itself_is_reported_and_migrated_past() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    let due = hand.now + seconds(660);
    let next = enabled("a3").with_active_at(due);
    hand.tell(Event::Observed(
        Observation::new(provider("a"), vec![next]).with_complete(false),
    ));
    assert_eq!(hand.alerts(), ["too_many_live_keys"]);
    hand.wait(seconds(660));
    assert_eq!(hand.state.writes(), Writes::With(id("a3")));
    assert_eq!(
        (hand.phase("a1"), hand.phase("a2")),
        (KeyPhase::Previous, KeyPhase::Previous)
    );
    hand.finish();
    assert_eq!(hand.objects, vec![Stored::Under("a3".into()); 3]);
    assert_eq!(
        (hand.phase("a1"), hand.phase("a2")),
        (KeyPhase::Retirable, KeyPhase::Retirable)
    );
    assert!(hand.alerts().is_empty());
}

/// R26, R27: a control plane that holds two keys keeps the first until the second change is through.
#[test]
fn r27_rotate_twice_to_be_rid_of_the_first_key_at_once() {
    let mut hand = Hand::on_first_key(Policy::default().with_retention(Retention::UntilNextChange));
    hand.rotate_to("a2");
    hand.finish();
    assert_eq!(hand.phase("a1"), KeyPhase::Previous);
    assert_eq!(
        hand.refused(hand.retire("a1")),
        Refusal::KeptUntilNextChange { key: id("a1") }
    );

    // It is migrated, so the second change is not refused.
    hand.tell(Event::Change(Change::Rotate));
    hand.rotate_to("a3");
    assert_eq!(
        hand.phase("a1"),
        KeyPhase::Previous,
        "the change is not through"
    );
    hand.finish();
    assert_eq!(
        (hand.phase("a1"), hand.phase("a2")),
        (KeyPhase::Retirable, KeyPhase::Previous)
    );
    hand.tell(hand.retire("a1"));
    assert_eq!(
        hand.refused(hand.retire("a2")),
        Refusal::KeptUntilNextChange { key: id("a2") }
    );
}

/// R25: what was not rewritten keeps its key.
#[test]
fn r25_a_key_that_objects_are_under_does_not_go() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    assert_eq!(
        hand.refused(hand.retire("a1")),
        Refusal::NotVerified { key: id("a1") }
    );
    assert_eq!(
        hand.refused(hand.retire("a2")),
        Refusal::IsActive { key: id("a2") }
    );
    hand.finish();
    // Somebody restores an old value behind our back.
    hand.objects[0] = Stored::Under("a1".into());
    hand.revision += 1;
    let refusal = hand.refused(hand.retire("a1"));
    assert!(
        matches!(refusal, Refusal::StillReferenced { .. }),
        "{refusal}"
    );
    assert_eq!(hand.stage("a1"), Stage::Previous, "it is taken back");
    hand.finish();
    hand.tell(hand.retire("a1"));
}

/// A second rotation before the first is through: the answers to the first count no more.
#[test]
fn answers_about_the_version_before_count_no_more() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish_until(Activity::Migrating);
    let stale = hand
        .task(|it| matches!(it, Effect::Migrate { .. }))
        .unwrap();
    hand.rotate_to("a3");
    let before = hand.state.clone();
    hand.tell(Event::Migrated { task: stale });
    assert_eq!(hand.state, before);
    hand.finish();
    assert_eq!(hand.objects, vec![Stored::Under("a3".into()); 3]);
}

/// A replica that lags holds everything back, and the count starts again when it has caught up.
#[test]
fn nothing_is_migrated_while_a_replica_lags() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.wait(seconds(60));
    let check = |hand: &Hand| hand.task(|it| matches!(it, Effect::CheckConvergence { .. }));
    let first = check(&hand).unwrap();
    hand.tell(Event::Lagging {
        task: first,
        replicas: 1,
    });
    assert_eq!(hand.alerts(), ["lagging_replicas"]);
    // A late word that all is well is an answer to the question before.
    hand.tell(Event::Converged {
        task: first,
        revision: Revision::new(500),
    });
    assert_eq!(hand.state.activity(), Activity::Converging);
    hand.wait(seconds(5));
    hand.answer_one();
    hand.wait(seconds(360));
    let second = check(&hand).unwrap();
    hand.tell(Event::Lagging {
        task: second,
        replicas: 1,
    });
    hand.wait(seconds(10));
    hand.answer_one();
    assert_eq!(
        hand.state.activity(),
        Activity::Converging,
        "once more, and the lease again"
    );
    assert_eq!(check(&hand), None);
    hand.finish();
    assert!(hand.state.is_settled());
}

/// A version that was seen late: replicas may differ by the activation delay, not only by clocks.
#[test]
fn a_late_version_is_given_the_longer_bound() {
    let late = |hand: &mut Hand| hand.wait(seconds(60));
    // The provider says so.
    let mut hand = Hand::on_first_key(Policy::default());
    let key = enabled("a2").with_active_at(hand.now + seconds(660));
    hand.tell(Event::SeenLate {
        provider: provider("a"),
        key,
    });
    let codes: Vec<_> = hand
        .given
        .iter()
        .filter_map(|it| match it {
            Effect::Alert(alert) => Some(alert.code()),
            _ => None,
        })
        .collect();
    assert_eq!(codes, ["seen_late"]);
    hand.wait(seconds(660));
    assert_eq!(hand.phase("a2"), KeyPhase::Active);
    late(&mut hand);
    assert_eq!(hand.expectation(), None);
    hand.wait(seconds(660));
    assert!(hand.expectation().is_some());

    // It follows from its instant being past.
    let mut hand = Hand::on_first_key(Policy::default());
    let key = enabled("a2").with_active_at(hand.now - seconds(1));
    hand.tell(Event::Observed(
        Observation::new(provider("a"), vec![key]).with_complete(false),
    ));
    assert_eq!(hand.phase("a2"), KeyPhase::Active);
    assert!(hand.state.key(&id("a2")).unwrap().was_seen_late());
    late(&mut hand);
    assert_eq!(hand.expectation(), None);
    hand.wait(seconds(660));
    assert!(hand.expectation().is_some());
    hand.finish();
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
}

/// Older versions that turn up are not taken for newer ones, and are not forgotten.
#[test]
fn an_older_version_is_never_active_again() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish();
    let long_ago = start() - seconds(99_999);
    let seen = vec![
        enabled("a0").with_active_at(long_ago),
        enabled("a1").with_active_at(start() - seconds(90_000)),
        enabled("a1b").with_active_at(long_ago),
        enabled("a2").with_active_at(long_ago),
    ];
    let observation = Observation::new(provider("a"), seen).with_current(id("a1b"));
    hand.tell(Event::Observed(observation));
    assert_eq!(hand.state.writes(), Writes::With(id("a2")));
    assert!(hand.given.iter().any(|it| matches!(it,
        Effect::Alert(alert) if alert.code() == "provider_went_back")));
    let order: Vec<_> = hand
        .state
        .keys()
        .iter()
        .map(|key| key.id().as_str())
        .collect();
    assert_eq!(order, ["a0", "a1", "a1b", "a2"]);
    // A census says whether anything needs them.
    assert_eq!(hand.phase("a0"), KeyPhase::Previous);
    assert_eq!(hand.state.activity(), Activity::Verifying);
    hand.finish();
    assert_eq!(
        (hand.phase("a0"), hand.phase("a1b")),
        (KeyPhase::Retirable, KeyPhase::Retirable)
    );
}

/// Of two that become due together only the newer one is written with. The other may have been, by
/// some replica, so it is not forgotten.
#[test]
fn a_version_that_is_overtaken_counts_as_used() {
    let mut hand = Hand::on_first_key(Policy::default());
    let due = hand.now + seconds(660);
    let seen = vec![
        enabled("a1").with_active_at(start() - seconds(90_000)),
        enabled("a2").with_active_at(due),
        enabled("a3").with_active_at(due),
    ];
    hand.observe(seen);
    hand.wait(seconds(700));
    assert_eq!(hand.state.writes(), Writes::With(id("a3")));
    assert_eq!(hand.phase("a2"), KeyPhase::Previous);
    assert!(!hand.state.key(&id("a2")).unwrap().was_active());
}

/// A version that is switched off before its instant is passed over.
#[test]
fn a_version_that_cannot_encrypt_is_passed_over() {
    let mut hand = Hand::on_first_key(Policy::default());
    let due = hand.now + seconds(660);
    let key = enabled("a2").with_active_at(due);
    hand.tell(Event::Observed(
        Observation::new(provider("a"), vec![key]).with_complete(false),
    ));
    hand.turn("a2", KeyState::Disabled);
    hand.wait(seconds(700));
    assert_eq!(hand.state.writes(), Writes::With(id("a1")));
    assert_eq!(hand.phase("a2"), KeyPhase::Pending);
}

/// Adopting a cluster begins with a count, not with a migration.
#[test]
fn a_cluster_that_is_adopted_is_counted_first() {
    let mut hand = Hand::on_first_key(Policy::default());
    let first = hand.state.clone();
    hand.objects[1] = Stored::Plain;
    hand.tell(Event::VerifyNow);
    assert_eq!(hand.state.activity(), Activity::Verifying);
    hand.answer_one();
    assert_eq!(hand.state.activity(), Activity::Migrating);
    let scope = hand.given.iter().find_map(|it| match it {
        Effect::Migrate { scope, .. } => Some(*scope),
        _ => None,
    });
    assert_eq!(scope, Some(Scope::OffTarget));
    hand.finish();
    assert!(hand.state.is_settled());
    assert_eq!(first.keys().len(), hand.state.keys().len());
}
