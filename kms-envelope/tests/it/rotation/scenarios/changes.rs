//! Changes that an operator asks for.

use kms_core::KeyState;
use kms_core::object::Revision;
use kms_envelope::rotation::{
    Activity, Change, Effect, Event, Expectation, KeyPhase, Observation, ObservedKey, Policy,
    Refusal, Retention, Start, Target, Writes,
};

use super::super::evidence::Stored;
use super::super::hand::Hand;
use super::super::{enabled, id, provider, seconds, start};

fn enable(key: &str) -> Event {
    Event::Change(Change::Enable {
        provider: provider("a"),
        key: enabled(key).with_active_at(start() - seconds(9_000)),
    })
}

fn replace(with: &str, key: &str) -> Event {
    Event::Change(Change::Replace {
        provider: provider(with),
        key: enabled(key).with_active_at(start() - seconds(9_000)),
    })
}

fn reader(hand: &Hand) -> Option<Target> {
    hand.state
        .outstanding()
        .into_iter()
        .find_map(|it| match it {
            Effect::AddReader { target, .. } => Some(target),
            _ => None,
        })
}

fn writer(hand: &Hand) -> Option<Target> {
    hand.state
        .outstanding()
        .into_iter()
        .find_map(|it| match it {
            Effect::SwitchWriter { target, .. } => Some(target),
            _ => None,
        })
}

fn dropped(hand: &Hand) -> Option<String> {
    hand.state
        .outstanding()
        .into_iter()
        .find_map(|it| match it {
            Effect::DropReader { provider, .. } => Some(provider.to_string()),
            _ => None,
        })
}

/// R22, R23: after encryption was switched on objects are plain until they are rewritten.
#[test]
fn r23_enabling_migrates_plain_objects() {
    let mut hand = Hand::plain();
    hand.tell(enable("a1"));
    let target = Target::Key {
        provider: provider("a"),
        id: id("a1"),
    };
    assert_eq!(reader(&hand), Some(target.clone()));
    assert_eq!(
        writer(&hand),
        None,
        "nobody writes what another cannot read"
    );
    assert_eq!(hand.expectation(), Some(Expectation::Reads(target.clone())));
    assert_eq!(
        (hand.state.writes(), hand.phase("a1")),
        (Writes::Plain, KeyPhase::Pending)
    );
    hand.answer_one();
    assert_eq!(writer(&hand), Some(target.clone()));
    assert_eq!(hand.expectation(), Some(Expectation::Writes(target)));
    assert_eq!(hand.state.writes(), Writes::With(id("a1")));
    hand.finish();
    assert_eq!(hand.objects, vec![Stored::Under("a1".into()); 3]);
    assert!(hand.state.is_settled());
    assert_eq!(hand.refused(enable("a2")), Refusal::AlreadyEncrypted);
}

/// R12, R24, R34: another key name, another vault, another mode: readers first, then the writer, then
/// objects; only then is the old provider dropped, and only then may its key go.
#[test]
fn r24_r34_another_provider_is_read_everywhere_before_it_is_written_anywhere() {
    let mut hand = Hand::on_first_key(Policy::default());
    assert_eq!(
        hand.refused(replace("a", "a2")),
        Refusal::SameProvider {
            provider: provider("a")
        }
    );
    hand.tell(replace("b", "b1"));
    assert_eq!(hand.refused(replace("c", "c1")), Refusal::ChangeUnderWay);
    let check = hand
        .task(|it| matches!(it, Effect::CheckConvergence { .. }))
        .unwrap();
    hand.tell(Event::Lagging {
        task: check,
        replicas: 2,
    });
    assert_eq!(hand.alerts(), ["lagging_replicas"]);
    assert_eq!(writer(&hand), None);
    hand.wait(seconds(5));
    hand.answer_one();
    assert_eq!(hand.state.writes(), Writes::With(id("b1")));
    assert_eq!(hand.phase("a1"), KeyPhase::Previous);
    assert_eq!(dropped(&hand), None, "objects are under it");
    hand.finish_until(Activity::Idle);
    assert_eq!(hand.objects, vec![Stored::Under("b1".into()); 3]);
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    assert_eq!(dropped(&hand), Some("a".into()));
    let still = Refusal::StillConfigured {
        provider: provider("a"),
    };
    assert_eq!(hand.refused(hand.retire("a1")), still);
    hand.answer_one();
    assert_eq!(dropped(&hand), None);
    assert!(hand.state.providers().eq([&provider("b")]));
    hand.tell(hand.retire("a1"));
}

/// R26: the old key must stay usable until every object is rewritten; table D, "rewrite pending".
#[test]
fn r26_a_second_change_of_provider_waits_for_the_first() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.tell(replace("b", "b1"));
    hand.answer_one();
    let refusal = hand.refused(replace("c", "c1"));
    assert_eq!(
        refusal,
        Refusal::NotMigrated {
            oldest: id("a1"),
            live: 2,
            max: 2
        }
    );
    // Objects may become plain at any time: that needs no further key.
    hand.tell(Event::Change(Change::Disable));
}

/// R15, R37: until they are rewritten objects need the key; on a managed control plane it then stays.
#[test]
fn r37_r15_disabling_keeps_the_key_until_objects_are_plain_and_aks_keeps_it_for_good() {
    for retention in [Retention::WhileNeeded, Retention::UntilNextChange] {
        let mut hand = Hand::on_first_key(Policy::default().with_retention(retention));
        hand.tell(Event::Change(Change::Disable));
        assert_eq!(reader(&hand), Some(Target::Plain));
        hand.answer_one();
        assert_eq!(
            (writer(&hand), hand.state.writes()),
            (Some(Target::Plain), Writes::Plain)
        );
        let not_yet = Refusal::NotVerified { key: id("a1") };
        assert_eq!(hand.refused(hand.retire("a1")), not_yet);
        hand.finish_until(Activity::Idle);
        assert_eq!(hand.objects, vec![Stored::Plain; 3]);
        match retention {
            Retention::WhileNeeded => {
                assert_eq!(dropped(&hand), Some("a".into()));
                hand.answer_one();
                hand.tell(hand.retire("a1"));
            }
            _ => {
                assert_eq!(dropped(&hand), None);
                let kept = Refusal::KeptUntilNextChange { key: id("a1") };
                assert_eq!(hand.refused(hand.retire("a1")), kept);
            }
        }
        let refusal = hand.refused(Event::Change(Change::Disable));
        assert_eq!(refusal, Refusal::AlreadyPlain);
        assert_eq!(
            hand.refused(Event::Change(Change::Rotate)),
            Refusal::NoKeyInUse
        );
    }
}

/// R34: the same vault in another mode is off, rewritten, and on again. The same key id does not come
/// back; the same key under a new id does.
#[test]
fn r34_after_off_and_on_again_a_key_id_is_not_used_again() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.tell(Event::Change(Change::Disable));
    hand.finish();
    assert_eq!(
        hand.refused(enable("a1")),
        Refusal::KeyIdReused { key: id("a1") }
    );
    let same = enabled("a1#1")
        .with_material(id("a1"))
        .with_active_at(start());
    let key = same;
    hand.tell(Event::Change(Change::Enable {
        provider: provider("a"),
        key,
    }));
    hand.finish();
    assert_eq!(hand.state.writes(), Writes::With(id("a1#1")));
    let record = hand.state.key(&id("a1#1")).unwrap();
    assert_eq!(
        (record.material(), record.generation()),
        (Some(&id("a1")), 1)
    );
    // To delete the one would delete the other.
    let shared = Refusal::MaterialInUse { by: id("a1#1") };
    assert_eq!(hand.refused(hand.retire("a1")), shared);
}

/// R40: objects of KMS v1 go to v2, by way of plain objects, or directly under a new provider name.
#[test]
fn r40_kms_v1_to_v2() {
    let v1 = || {
        let start_with = Start::Unnamed {
            provider: provider("v1"),
        };
        Hand::new(
            start_with,
            Policy::default(),
            &[Stored::KmsV1, Stored::KmsV1, Stored::Plain],
        )
    };
    // Directly.
    let mut hand = v1();
    assert_eq!(hand.state.writes(), Writes::Unnamed(provider("v1")));
    assert_eq!(hand.refused(enable("a1")), Refusal::AlreadyEncrypted);
    assert_eq!(
        hand.refused(Event::Change(Change::Rotate)),
        Refusal::NoKeyInUse
    );
    hand.tell(replace("v2", "k1"));
    hand.answer_one();
    hand.finish_until(Activity::Idle);
    assert_eq!(hand.objects, vec![Stored::Under("k1".into()); 3]);
    assert_eq!(dropped(&hand), Some("v1".into()));
    // As R40 has it.
    let mut hand = v1();
    hand.tell(Event::Change(Change::Disable));
    hand.finish();
    assert_eq!(hand.objects, vec![Stored::Plain; 3]);
    hand.tell(enable("a1"));
    hand.finish();
    assert!(hand.state.is_settled());
}

/// R40: the key behind KMS v1 is not known from its objects, so it stays as long as there are any.
#[test]
fn r40_the_key_of_kms_v1_stays_while_there_are_objects_of_v1() {
    let start_with = Start::Unnamed {
        provider: provider("v1"),
    };
    let mut hand = Hand::new(start_with, Policy::default(), &[Stored::KmsV1]);
    let seen = Observation::new(provider("v1"), vec![enabled("old")]);
    hand.tell(Event::Observed(seen));
    assert_eq!(hand.phase("old"), KeyPhase::Previous);
    hand.tell(replace("v2", "k1"));
    hand.finish_until(Activity::Verifying);
    hand.objects.push(Stored::KmsV1);
    hand.answer_one();
    assert_eq!(hand.phase("old"), KeyPhase::Previous);
    hand.finish();
    assert_eq!(hand.phase("old"), KeyPhase::Retirable);
}

/// D8: back to an older version under a new key id, made by the provider, with a generation.
#[test]
fn a_rollback_is_a_new_key_id() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish();
    let roll_back = |to| Event::Change(Change::Rollback { to: id(to) });
    assert_eq!(
        hand.refused(roll_back("a2")),
        Refusal::IsActive { key: id("a2") }
    );
    assert_eq!(
        hand.refused(roll_back("a9")),
        Refusal::UnknownKey { key: id("a9") }
    );
    hand.tell(roll_back("a1"));
    let made = hand.given.iter().find_map(|it| match it {
        Effect::MakeVersion {
            material,
            generation,
            ..
        } => Some((material.clone(), *generation)),
        _ => None,
    });
    assert_eq!(made, Some((Some(id("a1")), 1)));
    let due = hand.now + seconds(660);
    let key = enabled("a1#1").with_material(id("a1")).with_active_at(due);
    hand.tell(Event::Observed(
        Observation::new(provider("a"), vec![key]).with_complete(false),
    ));
    hand.wait(seconds(660));
    hand.finish();
    assert_eq!(hand.state.writes(), Writes::With(id("a1#1")));
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    let shared = Refusal::MaterialInUse { by: id("a1#1") };
    assert_eq!(hand.refused(hand.retire("a1")), shared);
    hand.tell(hand.retire("a2"));
    // The next generation of the same material, asked for by its second id.
    hand.rotate_to("a3");
    hand.finish();
    hand.tell(roll_back("a1#1"));
    let made = hand.given.iter().find_map(|it| match it {
        Effect::MakeVersion {
            material,
            generation,
            ..
        } => Some((material.clone(), *generation)),
        _ => None,
    });
    assert_eq!(made, Some((Some(id("a1")), 2)));
    assert_eq!(hand.refused(roll_back("a2")), Refusal::ChangeUnderWay);
}

#[test]
fn all_ids_of_one_material_are_retired_together() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish();
    hand.tell(Event::Change(Change::Rollback { to: id("a1") }));
    let key = enabled("a1#1")
        .with_material(id("a1"))
        .with_active_at(hand.now);
    hand.tell(Event::Observed(
        Observation::new(provider("a"), vec![key]).with_complete(false),
    ));
    hand.finish();
    hand.rotate_to("a3");
    hand.finish();
    hand.objects.push(Stored::Under("a1#1".into()));
    let refusal = hand.refused(hand.retire("a1"));
    assert_eq!(refusal, Refusal::MaterialInUse { by: id("a1#1") });
    hand.objects.pop();
    hand.tell(hand.retire("a1"));
    hand.tell(hand.retire("a1#1"));
    let gone = Event::Change(Change::Rollback { to: id("a1") });
    assert_eq!(hand.refused(gone), Refusal::Gone { key: id("a1") });
}

/// A change can be given up until writers were switched.
#[test]
fn a_change_is_abandoned_while_it_is_prepared() {
    let mut hand = Hand::on_first_key(Policy::default());
    assert_eq!(hand.refused(Event::Abandon), Refusal::NothingToAbandon);
    hand.tell(replace("b", "b1"));
    hand.tell(Event::Abandon);
    assert_eq!(hand.state.writes(), Writes::With(id("a1")));
    assert_eq!(
        (reader(&hand), hand.phase("b1")),
        (None, KeyPhase::Previous)
    );
    hand.finish_until(Activity::Idle);
    assert_eq!(hand.phase("b1"), KeyPhase::Retirable);
    assert_eq!(dropped(&hand), Some("b".into()));
    // Nobody has written with it, so it may be taken up again.
    hand.tell(replace("b", "b1"));
    assert_eq!(
        (dropped(&hand), hand.phase("b1")),
        (None, KeyPhase::Pending)
    );
    hand.answer_one();
    assert_eq!(hand.refused(Event::Abandon), Refusal::NothingToAbandon);
    hand.finish();
    assert_eq!(
        hand.refused(replace("a", "a1")),
        Refusal::KeyIdReused { key: id("a1") }
    );
}

/// While a change is prepared its provider may rotate: what replicas will write with counts.
#[test]
fn a_provider_that_rotates_while_it_is_prepared() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.tell(replace("b", "b1"));
    let check = hand
        .task(|it| matches!(it, Effect::CheckConvergence { .. }))
        .unwrap();
    let seen = vec![
        enabled("b1").with_active_at(start() - seconds(9_000)),
        enabled("b2").with_active_at(hand.now),
    ];
    hand.tell(Event::Observed(Observation::new(provider("b"), seen)));
    let target = Target::Key {
        provider: provider("b"),
        id: id("b2"),
    };
    assert_eq!(hand.state.prepared_target(), Some(&target));
    // The answer was about the version before.
    hand.tell(Event::Converged {
        task: check,
        revision: Revision::new(900),
    });
    assert_eq!(hand.state.writes(), Writes::With(id("a1")));
    hand.finish();
    assert_eq!(hand.state.writes(), Writes::With(id("b2")));
    assert_eq!(hand.phase("b1"), KeyPhase::Retirable);
}

/// A key that cannot encrypt is not changed to; one that fails while it is prepared is waited for.
#[test]
fn a_change_waits_for_its_key() {
    let mut hand = Hand::on_first_key(Policy::default());
    for (state, code) in [
        (KeyState::Disabled, "target_unusable"),
        (KeyState::Expired, "target_unusable"),
        (KeyState::Destroyed, "gone"),
    ] {
        let key = ObservedKey::new(id("b1"), state);
        let change = Change::Replace {
            provider: provider("b"),
            key,
        };
        assert_eq!(hand.refused(Event::Change(change)).code(), code);
    }
    hand.tell(replace("b", "b1"));
    let look = |hand: &mut Hand, state| {
        let key = ObservedKey::new(id("b1"), state);
        hand.tell(Event::Observed(Observation::new(provider("b"), vec![key])));
    };
    look(&mut hand, KeyState::Disabled);
    assert_eq!(hand.alerts(), ["target_unusable"]);
    hand.answer_one();
    assert_eq!(
        hand.state.writes(),
        Writes::With(id("a1")),
        "nobody is switched to it"
    );
    look(&mut hand, KeyState::Enabled);
    assert_eq!(hand.state.writes(), Writes::With(id("b1")));
    hand.finish();
}

#[test]
fn a_rollback_needs_a_key_of_the_provider_in_use_that_can_encrypt() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish();
    let roll_back = |to| Event::Change(Change::Rollback { to: id(to) });
    hand.turn("a1", KeyState::Expired);
    assert_eq!(hand.refused(roll_back("a1")).code(), "target_unusable");
    hand.turn("a1", KeyState::Destroyed);
    assert_eq!(
        hand.refused(roll_back("a1")),
        Refusal::Gone { key: id("a1") }
    );
    let due = hand.now + seconds(9_999);
    let key = enabled("a3").with_active_at(due);
    hand.tell(Event::Observed(
        Observation::new(provider("a"), vec![key]).with_complete(false),
    ));
    assert_eq!(
        hand.refused(roll_back("a3")),
        Refusal::IsPending { key: id("a3") }
    );
    // Two at a time: one is on its way already.
    let pending = Refusal::IsPending { key: id("a3") };
    assert_eq!(hand.refused(Event::Change(Change::Rotate)), pending);
    assert_eq!(hand.refused(replace("b", "b1")), pending);

    let mut hand = Hand::on_first_key(Policy::default());
    hand.tell(replace("b", "b1"));
    hand.finish();
    let other = Refusal::OtherProvider {
        provider: provider("a"),
    };
    assert_eq!(hand.refused(roll_back("a1")), other);
}
