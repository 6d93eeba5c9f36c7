//! Leave to delete a key.

use kms_core::KeyState;
use kms_core::object::{Revision, StoreIdentity};
use kms_envelope::reencrypt::{CensusReport, Evidence, Objection, ScannedSource};
use kms_envelope::rotation::{Effect, Event, KeyPhase, Policy, Refusal, Remaining, Stage};

use super::super::evidence::{self, Stored};
use super::super::hand::Hand;
use super::super::{CLUSTER, id, seconds};

/// One whose first key is retirable.
fn ready() -> Hand {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish();
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    hand
}

fn retire_by(evidence: Evidence) -> Event {
    Event::Retire {
        key: id("a1"),
        evidence,
    }
}

/// Being retirable is not enough: evidence of now is looked at again.
#[test]
fn evidence_is_checked_again_at_the_moment_of_use() {
    let mut hand = ready();
    let early = evidence::evidence(&hand.objects, hand.revision - 1, hand.now);
    let needed = Revision::new(hand.revision);
    let found = Revision::new(hand.revision - 1);
    let refusal = hand.refused(retire_by(early));
    assert_eq!(refusal, Refusal::EvidenceTooEarly { needed, found });

    let old = hand.evidence();
    hand.now += seconds(601);
    let refusal = hand.refused(retire_by(old));
    assert!(
        matches!(refusal, Refusal::EvidenceStale(Objection::TooOld { .. })),
        "{refusal}"
    );
    let ahead = evidence::evidence(&hand.objects, hand.revision, hand.now + seconds(62));
    let refusal = hand.refused(retire_by(ahead));
    assert_eq!(refusal, Refusal::EvidenceStale(Objection::NotYet));

    let report = CensusReport::default();
    let other = StoreIdentity::new("etcd", "x", Revision::new(9999), true).with_cluster_id("beef");
    let source = ScannedSource::cluster(&other, &report, Revision::new(9999), hand.now);
    let other = Evidence::builder(hand.now)
        .scanned(source)
        .finish()
        .unwrap();
    let found = Some("beef".to_owned());
    assert_eq!(
        hand.refused(retire_by(other)),
        Refusal::OtherCluster { found }
    );

    for object in [Stored::Under("a1".into()), Stored::KmsV1, Stored::Damaged] {
        let mut hand = ready();
        hand.objects.push(object);
        let refusal = hand.refused(hand.retire("a1"));
        assert!(
            matches!(refusal, Refusal::StillReferenced { .. }),
            "{refusal}"
        );
        assert_eq!(hand.permits(), []);
        assert_eq!(hand.stage("a1"), Stage::Previous);
    }
    hand.tell(hand.retire("a1"));
}

/// What was not scanned and what history holds keep a key, and do not keep the next rotation.
#[test]
fn history_and_what_was_not_scanned_keep_a_key_but_not_the_next_rotation() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish_until(kms_envelope::rotation::Activity::Verifying);
    let task = hand.task(|it| matches!(it, Effect::Verify { .. })).unwrap();
    let unwaived = Evidence::builder(hand.now)
        .scanned(evidence::source(&hand.objects, hand.revision, hand.now))
        .finish()
        .unwrap();
    let remaining = Remaining::NONE;
    hand.tell(Event::Verified {
        task,
        evidence: unwaived,
        remaining,
    });
    assert_eq!(hand.phase("a1"), KeyPhase::Previous);
    assert_eq!(hand.alerts(), ["still_needed"]);
    assert_eq!(hand.state.key(&id("a1")).unwrap().objections(), Some(3));
    assert!(hand.state.key(&id("a1")).unwrap().drained().is_some());
    assert_eq!(
        hand.refused(hand.retire("a1")),
        Refusal::NotVerified { key: id("a1") }
    );
    hand.tell(Event::Change(kms_envelope::rotation::Change::Rotate));
}

/// Leave ends by itself, and is given again on fresh evidence.
#[test]
fn leave_to_delete_ends() {
    let mut hand = ready();
    hand.tell(hand.retire("a1"));
    let permit = *hand.state.key(&id("a1")).unwrap().permit().unwrap();
    assert_eq!(permit.until(), hand.now + seconds(15 * 60));
    assert_eq!(permit.proof().revision(), Revision::new(hand.revision));
    assert_eq!(
        permit.proof().digest_hex(),
        hand.evidence().digest().to_string()
    );
    assert_eq!(permit.proof().taken_at(), hand.now);
    hand.tell(Event::Restarted);
    assert_eq!(hand.permits(), [id("a1")]);
    hand.wait(seconds(15 * 60));
    assert_eq!(hand.permits(), []);
    assert_eq!(hand.phase("a1"), KeyPhase::Retired);
    // Not by what was known before.
    let early = evidence::evidence(&hand.objects, hand.revision - 1, hand.now);
    assert_eq!(hand.refused(retire_by(early)).code(), "evidence_too_early");
    hand.tell(hand.retire("a1"));
    assert_eq!(hand.permits(), [id("a1")]);
    hand.turn("a1", KeyState::Destroyed);
    assert_eq!(hand.permits(), [], "it is done");
}

/// A census that is not of this cluster, or of before all writers had left the key, proves nothing.
#[test]
fn a_census_of_before_the_change_over_proves_nothing() {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish_until(kms_envelope::rotation::Activity::Verifying);
    let floor = 100;
    for evidence in [
        evidence::evidence(&hand.objects, floor - 1, hand.now),
        evidence::evidence(&hand.objects, hand.revision, hand.now - seconds(601)),
    ] {
        let task = hand.task(|it| matches!(it, Effect::Verify { .. })).unwrap();
        let remaining = Remaining::NONE;
        hand.tell(Event::Verified {
            task,
            evidence,
            remaining,
        });
        assert_eq!(hand.phase("a1"), KeyPhase::Previous);
        assert_eq!(
            hand.state.activity(),
            kms_envelope::rotation::Activity::Verifying
        );
        hand.wait(seconds(20));
    }
    hand.finish();
    assert_eq!(hand.phase("a1"), KeyPhase::Retirable);
    assert!(hand.state.cluster_id() == CLUSTER);
}

/// A retired key stays retired, whatever its provider says.
#[test]
fn a_retired_key_never_comes_back() {
    let mut hand = ready();
    hand.tell(hand.retire("a1"));
    let long_ago = hand.now - seconds(99_999);
    let seen = vec![
        super::super::enabled("a1").with_active_at(long_ago),
        super::super::enabled("a2").with_active_at(long_ago),
    ];
    hand.observe(seen);
    hand.turn("a1", KeyState::Enabled);
    assert_eq!(hand.phase("a1"), KeyPhase::Retired);
    assert_eq!(hand.phase("a2"), KeyPhase::Active);
}
