//! A key in wrong hands: another verb than a rotation.

use kms_envelope::rotation::{
    Activity, Change, Effect, Event, KeyPhase, Observation, Policy, Refusal, Rewrite, Scope, Stop,
    Writes,
};

use super::super::evidence::Stored;
use super::super::hand::Hand;
use super::super::{enabled, id, provider, seconds};

fn compromised(key: &str) -> Event {
    Event::Compromised { key: id(key) }
}

fn migration(hand: &Hand) -> Option<(Rewrite, Scope)> {
    hand.state
        .outstanding()
        .into_iter()
        .find_map(|it| match it {
            Effect::Migrate { rewrite, scope, .. } => Some((rewrite, scope)),
            _ => None,
        })
}

/// The active key: nothing is encrypted under it any more, and the next one is let in beyond the bound.
#[test]
fn the_active_key_stops_writes_and_is_migrated_away_from() {
    let mut hand = Hand::on_first_key(Policy::default().with_rewrite(Rewrite::Rewrap));
    hand.rotate_to("a2");
    hand.finish_until(Activity::Migrating);
    hand.tell(compromised("a2"));
    let why = Stop::Compromised;
    assert_eq!(hand.state.writes(), Writes::Stopped { key: id("a2"), why });
    assert!(why.remedy().contains("new version"));
    assert!(hand.given.contains(&Effect::StopWrites { key: id("a2") }));
    assert!(hand.given.contains(&Effect::PurgeDeks { key: id("a2") }));
    assert_eq!(hand.phase("a2"), KeyPhase::Compromised);
    assert_eq!(migration(&hand), None, "nothing more is brought under it");
    assert_eq!(
        hand.refused(hand.retire("a2")),
        Refusal::IsActive { key: id("a2") }
    );

    hand.tell(Event::Change(Change::Rotate));
    hand.rotate_to("a3");
    hand.finish_until(Activity::Migrating);
    assert_eq!(
        migration(&hand),
        Some((Rewrite::FreshDeks, Scope::OffTarget))
    );
    hand.finish();
    assert_eq!(hand.objects, vec![Stored::Under("a3".into()); 3]);
    assert_eq!(hand.phase("a2"), KeyPhase::Retirable);
    assert!(hand.state.is_settled());
}

/// A previous key: what is under it is encrypted again now, whatever was waited for.
#[test]
fn a_previous_key_is_migrated_away_from_at_once() {
    let mut hand = Hand::on_first_key(Policy::default().with_rewrite(Rewrite::Rewrap));
    hand.rotate_to("a2");
    hand.finish_until(Activity::Migrating);
    assert_eq!(migration(&hand), Some((Rewrite::Rewrap, Scope::OffTarget)));
    let task = hand
        .task(|it| matches!(it, Effect::Migrate { .. }))
        .unwrap();
    hand.tell(Event::Failed { task });
    hand.tell(compromised("a1"));
    assert_eq!(hand.phase("a1"), KeyPhase::Compromised);
    // Some DEKs went on to the new key in the pass that was under way.
    assert_eq!(
        migration(&hand),
        Some((Rewrite::FreshDeks, Scope::Everything))
    );
    hand.tell(Event::Migrated { task });
    assert_eq!(
        hand.state.activity(),
        Activity::Migrating,
        "that pass was another"
    );
    hand.finish();
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    assert!(hand.state.is_settled());
}

/// DEKs that were only wrapped again are known to whoever had the key that wrapped them before, also
/// if nothing is under that key any more and even if it is gone.
#[test]
fn deks_that_were_rewrapped_are_replaced_everywhere() {
    for retire in [false, true] {
        let mut hand = Hand::on_first_key(Policy::default().with_rewrite(Rewrite::Rewrap));
        hand.rotate_to("a2");
        hand.finish();
        if retire {
            hand.tell(hand.retire("a1"));
        }
        hand.tell(compromised("a1"));
        assert_eq!(
            migration(&hand),
            Some((Rewrite::FreshDeks, Scope::Everything))
        );
        assert!(!hand.state.is_settled());
        hand.finish();
        assert!(hand.state.is_settled());
        assert_eq!(migration(&hand), None);
        hand.tell(compromised("a1"));
        assert_eq!(migration(&hand), None, "once");
    }
    // With new DEKs each time nothing of it is left.
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish();
    hand.tell(compromised("a1"));
    assert_eq!(migration(&hand), None);
    assert!(hand.state.is_settled());
}

/// A change to a compromised key is given up, and none is begun.
#[test]
fn no_change_goes_to_a_compromised_key() {
    let mut hand = Hand::on_first_key(Policy::default());
    let key = enabled("b1").with_active_at(hand.now);
    let change = Event::Change(Change::Replace {
        provider: provider("b"),
        key,
    });
    hand.tell(change.clone());
    hand.tell(compromised("b1"));
    assert_eq!(hand.state.prepared_target(), None);
    hand.finish();
    assert_eq!(hand.refused(change), Refusal::Compromised { key: id("b1") });
    hand.rotate_to("a2");
    hand.finish();
    hand.tell(compromised("a1"));
    let back = Event::Change(Change::Rollback { to: id("a1") });
    assert_eq!(hand.refused(back), Refusal::Compromised { key: id("a1") });
    assert_eq!(
        hand.refused(compromised("x")),
        Refusal::UnknownKey { key: id("x") }
    );
}

/// All ids of one material are compromised together, those too that come later.
#[test]
fn a_compromise_is_of_the_material() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish();
    hand.tell(compromised("a1"));
    let key = enabled("a1#1")
        .with_material(id("a1"))
        .with_active_at(hand.now + seconds(660));
    hand.tell(Event::Observed(
        Observation::new(provider("a"), vec![key]).with_complete(false),
    ));
    assert_eq!(hand.phase("a1#1"), KeyPhase::Compromised);
    // The provider changes over to it all the same: then nothing may be written.
    hand.wait(seconds(660));
    let why = Stop::Compromised;
    assert_eq!(
        hand.state.writes(),
        Writes::Stopped {
            key: id("a1#1"),
            why
        }
    );

    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish();
    let key = enabled("a1#1")
        .with_material(id("a1"))
        .with_active_at(hand.now);
    hand.tell(Event::Observed(
        Observation::new(provider("a"), vec![key]).with_complete(false),
    ));
    hand.finish();
    hand.tell(compromised("a1"));
    let why = Stop::Compromised;
    assert_eq!(
        hand.state.writes(),
        Writes::Stopped {
            key: id("a1#1"),
            why
        }
    );
}

/// While writers change over to a key that turns out compromised, nobody else is switched to it.
#[test]
fn no_further_replica_is_switched_to_a_compromised_key() {
    let mut hand = Hand::on_first_key(Policy::default());
    let key = enabled("b1").with_active_at(hand.now - seconds(60));
    hand.tell(Event::Change(Change::Replace {
        provider: provider("b"),
        key,
    }));
    hand.answer_one();
    let is_switch = |it: &Effect| matches!(it, Effect::SwitchWriter { .. });
    assert!(hand.task(is_switch).is_some());
    hand.tell(compromised("b1"));
    assert_eq!(hand.task(is_switch), None);
    let key = enabled("c1").with_active_at(hand.now - seconds(60));
    hand.tell(Event::Change(Change::Replace {
        provider: provider("c"),
        key,
    }));
    hand.finish();
    assert_eq!(hand.state.writes(), Writes::With(id("c1")));
    assert!(hand.state.is_settled());
}
