//! What goes wrong, at any point.

use std::time::Duration;

use kms_core::KeyState;
use kms_envelope::rotation::{
    Activity, Change, Effect, Event, KeyPhase, Observation, Policy, Stop, Writes, step,
};

use super::super::evidence::{self, Stored};
use super::super::hand::Hand;
use super::super::{enabled, id, provider, seconds};

/// R44: the newest version becomes unusable. Writes stop with a remedy, and no older one takes over.
#[test]
fn r44_an_unusable_key_stops_writes_and_nothing_older_takes_over() {
    let cases = [
        (KeyState::Expired, "extend"),
        (KeyState::Disabled, "enable"),
        (KeyState::NotYetValid, "start time"),
        (KeyState::PendingDestruction, "recover"),
        (KeyState::Destroyed, "recover"),
    ];
    for (state, remedy) in cases {
        let mut hand = Hand::on_first_key(Policy::default());
        hand.rotate_to("a2");
        hand.finish_until(Activity::Migrating);
        hand.turn("a2", state);
        let why = Stop::Unusable(state);
        assert_eq!(hand.state.writes(), Writes::Stopped { key: id("a2"), why });
        assert!(why.remedy().contains(remedy), "{}", why.remedy());
        assert_eq!(hand.phase("a2"), KeyPhase::Unusable);
        assert_eq!(hand.phase("a1"), KeyPhase::Previous);
        assert!(hand.alerts().contains(&"writes_stopped"));
        assert_eq!(hand.alerts().contains(&"reads_fail"), !state.can_unwrap());
        // Objects cannot be rewritten either, and nobody is asked to.
        assert_eq!(hand.task(|it| matches!(it, Effect::Migrate { .. })), None);
        hand.wait(seconds(100_000));
        assert_eq!(hand.state.writes(), Writes::Stopped { key: id("a2"), why });

        hand.turn("a2", KeyState::Enabled);
        assert_eq!(hand.state.writes(), Writes::With(id("a2")));
        assert!(
            hand.given
                .iter()
                .any(|it| matches!(it, Effect::Migrate { .. }))
        );
        hand.finish();
        assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    }
}

/// R44: the remedy's other half, a new version, is not refused for the bound on live keys.
#[test]
fn r44_a_new_version_is_the_way_out_even_beyond_the_bound() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish_until(Activity::Migrating);
    hand.turn("a2", KeyState::Expired);
    hand.tell(Event::Change(Change::Rotate));
    // The provider activates it at once, since there is no choice; so do all replicas, each when it
    // sees it.
    let next = enabled("a3").with_active_at(hand.now + seconds(660));
    let seen = Observation::new(provider("a"), vec![next]).with_current(id("a3"));
    hand.tell(Event::Observed(seen.with_complete(false)));
    assert_eq!(hand.state.writes(), Writes::With(id("a3")));
    hand.wait(seconds(60));
    assert_eq!(hand.expectation(), None, "the longer bound");
    hand.finish();
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    assert_eq!(hand.phase("a2"), KeyPhase::Retirable);
}

/// A previous key that cannot decrypt blocks its objects. It is told, and they go on when it can.
#[test]
fn a_previous_key_that_cannot_decrypt_is_waited_for() {
    for state in [
        KeyState::Disabled,
        KeyState::PendingDestruction,
        KeyState::Destroyed,
    ] {
        let mut hand = Hand::on_first_key(Policy::default());
        hand.rotate_to("a2");
        hand.finish_until(Activity::Migrating);
        hand.turn("a1", state);
        assert_eq!(hand.phase("a1"), KeyPhase::Unusable);
        assert_eq!(hand.alerts(), ["reads_fail"]);
        // No pass can do anything about it.
        for _ in 0..40 {
            let objects = hand.objects.clone();
            if !hand.answer_one() {
                break;
            }
            hand.objects = objects;
        }
        assert_eq!(
            hand.state.activity(),
            Activity::Idle,
            "not over and over again"
        );
        assert_eq!(hand.alerts(), ["reads_fail", "still_needed"]);
        assert!(!hand.state.is_settled());
        hand.turn("a1", KeyState::Enabled);
        assert_eq!(hand.state.activity(), Activity::Verifying, "at once");
        hand.finish();
        assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    }
    // Expired, it decrypts.
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.turn("a1", KeyState::Expired);
    assert_eq!(hand.phase("a1"), KeyPhase::Previous);
    hand.finish();
    assert!(hand.state.is_settled());
}

/// What is missing from a complete list is gone; from a partial one it is not.
#[test]
fn a_version_that_is_missing_is_destroyed() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    let partial = Observation::new(provider("a"), vec![enabled("a2")]).with_complete(false);
    hand.tell(Event::Observed(partial));
    assert_eq!(hand.phase("a1"), KeyPhase::Previous);
    hand.tell(Event::Observed(Observation::new(
        provider("a"),
        vec![enabled("a2")],
    )));
    assert_eq!(hand.phase("a1"), KeyPhase::Unusable);
    assert_eq!(
        hand.state.key(&id("a1")).unwrap().health(),
        KeyState::Destroyed
    );
}

/// A driver that restarts is told all that is under way, wherever it was.
#[test]
fn a_restart_gives_everything_out_again() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.tell(Event::Change(Change::Replace {
        provider: provider("b"),
        key: enabled("b1").with_active_at(hand.now),
    }));
    for _ in 0..100 {
        let before = hand.state.clone();
        let taken = hand.step(&Event::Restarted);
        assert_eq!(hand.state, before, "it changes nothing by itself");
        assert_eq!(taken.effects, before.outstanding());
        let loaded = step(&before, &Event::Restarted, hand.now);
        assert_eq!(loaded.effects, taken.effects);
        if !hand.answer_one() {
            return;
        }
    }
    panic!("it does not come to an end");
}

/// An effect that nobody answers is given out again.
#[test]
fn a_lost_effect_is_given_out_again() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    for activity in [
        Activity::Converging,
        Activity::Migrating,
        Activity::Verifying,
    ] {
        hand.finish_until(activity);
        while hand.task(|it| it.task().is_some()).is_none() {
            hand.wait(seconds(60));
        }
        let task = hand.task(|it| it.task().is_some());
        hand.wait(seconds(599));
        assert!(hand.given.iter().all(|it| it.task().is_none()), "not yet");
        hand.wait(seconds(1));
        assert!(
            hand.given.iter().any(|it| it.task() == task),
            "{activity:?}"
        );
        hand.answer_one();
    }
}

/// A failure is tried again, later each time, and an operator hears of it.
#[test]
fn a_failed_effect_is_tried_again_later_and_later() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish_until(Activity::Migrating);
    for wait in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
        let task = hand
            .task(|it| matches!(it, Effect::Migrate { .. }))
            .unwrap();
        hand.tell(Event::Failed { task });
        assert_eq!(hand.task(|it| matches!(it, Effect::Migrate { .. })), None);
        hand.wait(seconds(wait) - Duration::from_millis(1));
        assert_eq!(
            hand.task(|it| matches!(it, Effect::Migrate { .. })),
            None,
            "{wait}"
        );
        hand.wait(Duration::from_millis(1));
    }
    assert_eq!(hand.alerts(), ["task_fails"]);
    hand.finish();
    assert!(hand.alerts().is_empty());
}

/// Work that waited for its key is given out when the key is back, and not a second time at the next
/// tick because it was first given out so long ago.
#[test]
fn work_that_was_held_has_its_whole_time_again() {
    let is_given_out = |hand: &Hand| {
        let mut given = hand.given.iter();
        given.any(|it| matches!(it, Effect::Migrate { .. }))
    };
    let policy = Policy::default();
    let mut hand = Hand::on_first_key(policy);
    hand.rotate_to("a2");
    hand.finish_until(Activity::Migrating);
    hand.turn("a2", KeyState::Disabled);
    hand.wait(policy.reissue_after * 2);
    assert!(!is_given_out(&hand));
    hand.turn("a2", KeyState::Enabled);
    assert!(is_given_out(&hand));
    hand.wait(policy.reissue_after - Duration::from_millis(1));
    assert!(!is_given_out(&hand));
    hand.wait(Duration::from_millis(1));
    assert!(is_given_out(&hand), "nobody has answered");
}

/// One answer, told twice, is one failure, also while a provider is dropped.
#[test]
fn a_replica_that_lags_is_waited_for_once_however_often_it_is_told() {
    let dropping = |it: &Effect| matches!(it, Effect::DropReader { .. });
    let mut hand = Hand::on_first_key(Policy::default());
    hand.tell(Event::Change(Change::Disable));
    while hand.task(dropping).is_none() {
        assert!(hand.answer_one(), "no provider is dropped");
    }
    let task = hand.task(dropping).unwrap();
    for _ in 0..3 {
        hand.tell(Event::Lagging { task, replicas: 1 });
    }
    hand.wait(Policy::default().first_retry);
    assert_eq!(hand.task(dropping), Some(task), "waited for once");
}

/// A clock that ran ahead and was set right does not leave anything waiting for years.
#[test]
fn a_clock_that_was_ahead_wedges_nothing() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    let right = hand.now;
    hand.now += seconds(5 * 365 * 24 * 3600);
    hand.tell(Event::Tick);
    let task = hand
        .task(|it| matches!(it, Effect::CheckConvergence { .. }))
        .unwrap();
    hand.tell(Event::Lagging { task, replicas: 1 });
    hand.now = right;
    hand.tell(Event::Tick);
    let longest = hand
        .state
        .outstanding()
        .into_iter()
        .find_map(|it| match it {
            Effect::WakeAt(at) => Some(at),
            _ => None,
        });
    assert!(
        longest.unwrap() <= right + seconds(660 + 2 * 60),
        "{longest:?}"
    );
    hand.finish();
    assert!(hand.state.is_settled());
}

/// Time that goes back undoes nothing.
/// The search found this: a wait that a clock ahead by the skew has set was cut by a clock that was
/// right, and ended by the one that was ahead.
#[test]
fn clocks_that_differ_no_more_than_allowed_cut_no_wait_short() {
    let mut hand = Hand::on_first_key(Policy::default());
    let policy = *hand.state.policy();
    let instant = hand.now + policy.activation_delay;
    hand.tell(Event::SeenLate {
        provider: provider("a"),
        key: enabled("a2").with_active_at(instant),
    });
    let wakes_at = |hand: &Hand| {
        let effects = hand.state.outstanding();
        let mut times = effects.iter().filter_map(|effect| match effect {
            Effect::WakeAt(at) => Some(*at),
            _ => None,
        });
        times.next().expect("something is waited for")
    };
    hand.now = instant;
    hand.tell(Event::Tick);
    assert_eq!(hand.phase("a2"), KeyPhase::Active);
    let until = instant + policy.activation_delay + policy.skew;
    assert_eq!(wakes_at(&hand), until);
    hand.now = instant - policy.skew;
    hand.tell(Event::Tick);
    assert_eq!(wakes_at(&hand), until);
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.now -= seconds(50_000);
    hand.tell(Event::Tick);
    assert_eq!(hand.state.writes(), Writes::With(id("a2")));
}

/// An object that nobody can read counts as a reference to every key, and stops nothing else.
#[test]
fn an_unreadable_object_keeps_every_key_and_wedges_nothing() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.objects[2] = Stored::Damaged;
    hand.rotate_to("a2");
    hand.finish();
    assert_eq!(hand.state.activity(), Activity::Idle);
    assert_eq!(hand.phase("a1"), KeyPhase::Previous);
    assert_eq!(hand.alerts(), ["still_needed", "unreadable_objects"]);
    assert!(!hand.state.is_settled());
    // An operator restores it and says so.
    hand.objects[2] = Stored::Under("a1".into());
    hand.tell(Event::VerifyNow);
    hand.finish();
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    assert!(hand.state.is_settled());
}

/// If nobody says so, it looks again by itself after a while.
#[test]
fn it_looks_again_by_itself() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.objects[2] = Stored::Damaged;
    hand.rotate_to("a2");
    hand.finish();
    hand.objects.pop();
    hand.wait(seconds(6 * 3600));
    assert_eq!(hand.state.activity(), Activity::Verifying);
    hand.finish();
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    assert_eq!(hand.state.outstanding(), []);
}

/// A census that saw a replica write with a key that all had left: not believed, and waited for again.
#[test]
fn a_replica_that_goes_back_is_waited_for_again() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish_until(Activity::Verifying);
    let task = hand.task(|it| matches!(it, Effect::Verify { .. })).unwrap();
    let old = evidence::replica("one", "a1", hand.now);
    let seen = evidence::builder(&hand.objects, hand.revision, hand.now).replica(old);
    let target = hand.state.key(&id("a2")).unwrap().id().clone();
    assert_eq!(hand.state.writes(), Writes::With(target));
    hand.tell(Event::Verified {
        task,
        evidence: seen.finish().unwrap(),
        remaining: kms_envelope::rotation::Remaining::NONE,
    });
    assert_eq!(hand.state.activity(), Activity::Converging);
    assert_eq!(hand.phase("a1"), KeyPhase::Previous);
    hand.finish();
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
}

/// Two drivers, one state: who comes second loads what the first has stored and steps again.
#[test]
fn a_lost_swap_is_stepped_again() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish_until(Activity::Migrating);
    let task = hand
        .task(|it| matches!(it, Effect::Migrate { .. }))
        .unwrap();
    let mine = hand.state.clone();
    // The other one reports the pass, and has stored that.
    hand.objects = vec![Stored::Under("a2".into()); 3];
    hand.tell(Event::Migrated { task });
    let again = step(&hand.state, &Event::Migrated { task }, hand.now);
    assert_eq!(again.state, hand.state);
    assert_eq!(again.effects, []);
    assert_ne!(step(&mine, &Event::Migrated { task }, hand.now).state, mine);
}
