//! What a census found.

use super::Turn;
use crate::reencrypt::{Evidence, Objection};
use crate::rotation::moment::Moment;
use crate::rotation::state::{State, Work};
use crate::rotation::{Alert, KeyRecord, Proof, Remaining, Stage, TaskId};

/// Passes that may change nothing before it is left to an operator, or to a later look.
const FRUITLESS_PASSES: u32 = 3;

impl State {
    /// Judges the keys that were left, and goes on with what is left to do.
    pub(super) fn verified(
        &mut self,
        answered: TaskId,
        evidence: &Evidence,
        remaining: Remaining,
        turn: &mut Turn,
    ) {
        let Work::Verifying {
            task,
            floor,
            passes,
        } = &self.work
        else {
            return;
        };
        if task.id != answered {
            return;
        }
        let (floor, passes) = (*floor, *passes);
        if !self.is_usable(evidence, floor, turn) {
            self.failed(answered, turn);
            return;
        }
        let went_back = self.judge(evidence, turn);
        let is_better = remaining.off_target < self.remaining.off_target;
        let passes = if is_better { 0 } else { passes };
        self.remaining = remaining;
        if went_back {
            self.settle(turn.now, true, true);
        } else if remaining.off_target > 0 && passes <= FRUITLESS_PASSES {
            self.start_migrating(turn.now, floor, passes);
        } else {
            let needs_another_look =
                remaining != Remaining::NONE || self.keys.iter().any(KeyRecord::is_still_needed);
            let verify_at = turn.now.after(self.policy.verify_again_after);
            self.work = Work::Resting {
                floor,
                verify_at: needs_another_look.then_some(verify_at),
            };
        }
    }

    /// Whether evidence says anything about keys that were left by this revision.
    fn is_usable(&self, evidence: &Evidence, floor: u64, turn: &mut Turn) -> bool {
        if evidence.cluster_id() != Some(&self.cluster_id) {
            turn.alerts.push(Alert::OtherCluster {
                found: evidence.cluster_id().map(str::to_owned),
            });
            return false;
        }
        let max_age = self.policy.evidence_max_age;
        evidence.revision().get() >= floor && evidence.staleness(turn.now.time(), max_age).is_none()
    }

    /// Says whether a replica writes with a key that all had left.
    fn judge(&mut self, evidence: &Evidence, turn: &mut Turn) -> bool {
        let proof = Proof::of(evidence);
        let mut went_back = false;
        let mut unread = Vec::new();
        for key in self.keys.iter_mut().filter(|key| key.is_judged()) {
            let objections = evidence.objections(&key.id);
            if objections.iter().any(is_replica) {
                went_back = true;
                turn.alerts.push(Alert::ReplicaWentBack {
                    key: key.id.clone(),
                });
            }
            key.take_note(proof, &objections, turn.now);
            if key.is_live() {
                unread.push(key.provider.clone());
            }
        }
        for provider in unread {
            if !self.providers.iter().any(|of| of.name == provider) {
                turn.alerts.push(Alert::ReaderNeeded { provider });
            }
        }
        went_back
    }
}

impl Proof {
    pub(super) fn of(evidence: &Evidence) -> Self {
        Self {
            digest: *evidence.digest().as_bytes(),
            revision: evidence.revision().get(),
            taken_at: Moment::floor(evidence.taken_at()),
        }
    }
}

impl KeyRecord {
    /// Whether the latest census found that it has to stay.
    const fn is_still_needed(&self) -> bool {
        matches!(self.stage, Stage::Previous) && !matches!(self.objections, Some(0))
    }

    /// Remembers what evidence says of this key. Takes it back if something needs it after all.
    pub(super) fn take_note(&mut self, proof: Proof, objections: &[Objection], now: Moment) {
        self.objections = Some(u32::try_from(objections.len()).unwrap_or(u32::MAX));
        let is_needed = objections.iter().any(is_about_live_objects);
        self.drained = (!is_needed).then_some(proof);
        if !objections.is_empty() && self.stage == Stage::Retirable {
            self.enter(Stage::Previous, now);
        }
    }
}

/// Whether live objects need the key, or may; or the evidence does not say.
///
/// What is left out are copies, history and what was not scanned: these keep a key from being
/// deleted, and do not keep the cluster from changing to the next one.
const fn is_about_live_objects(objection: &Objection) -> bool {
    match objection {
        Objection::History { .. } | Objection::Backup { .. } | Objection::NotScanned { .. } => {
            false
        }
        Objection::UnknownKey { live, .. } => *live > 0,
        _ => true,
    }
}

const fn is_replica(objection: &Objection) -> bool {
    matches!(objection, Objection::ReplicaWrites { .. })
}
