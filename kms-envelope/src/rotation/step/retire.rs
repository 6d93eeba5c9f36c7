//! A key is to be deleted.

use kms_core::KeyId;
use kms_core::object::Revision;

use super::Turn;
use crate::reencrypt::{Evidence, Objection};
use crate::rotation::state::{State, Writer};
use crate::rotation::{KeyRecord, Permit, Proof, Refusal, Stage};

impl State {
    /// Gives leave to delete a key, or says what is in the way.
    ///
    /// That it was found not to be needed once is not enough; this looks at evidence of now.
    pub(super) fn retire(
        &mut self,
        id: &KeyId,
        evidence: &Evidence,
        turn: &Turn,
    ) -> Result<(), Refusal> {
        let at = self.position(id);
        let Some(key) = at.and_then(|at| self.keys.get(at)) else {
            return Err(Refusal::UnknownKey { key: id.clone() });
        };
        self.refuse_in_use(key)?;
        self.refuse_unusable(evidence, key.drained, turn)?;
        let objections = evidence.objections(id);
        if !objections.is_empty() {
            self.take_back(id, evidence, &objections, turn);
            return Err(Refusal::StillReferenced {
                key: id.clone(),
                objections,
            });
        }
        self.refuse_shared_material(id, evidence)?;
        let until = turn.now.after(self.policy.permit_life);
        if let Some(key) = at.and_then(|at| self.keys.get_mut(at)) {
            let proof = Proof::of(evidence);
            key.drained = Some(proof);
            key.permit = Some(Permit { proof, until });
            if key.stage != Stage::Retired {
                key.enter(Stage::Retired, turn.now);
            }
        }
        Ok(())
    }

    /// Refuses a key that replicas use, or have not been seen to do without.
    fn refuse_in_use(&self, key: &KeyRecord) -> Result<(), Refusal> {
        let id = key.id.clone();
        match key.stage {
            Stage::Active => return Err(Refusal::IsActive { key: id }),
            Stage::Pending => return Err(Refusal::IsPending { key: id }),
            Stage::Previous if key.objections == Some(0) && self.is_kept(key) => {
                return Err(Refusal::KeptUntilNextChange { key: id });
            }
            Stage::Previous => return Err(Refusal::NotVerified { key: id }),
            Stage::Retirable | Stage::Retired => {}
        }
        if self.is_prepared(&key.provider) {
            return Err(Refusal::IsPending { key: id });
        }
        let is_listed = self.providers.iter().any(|of| of.name == key.provider);
        if is_listed && self.writer_provider() != Some(&key.provider) {
            return Err(Refusal::StillConfigured {
                provider: key.provider.clone(),
            });
        }
        if self.writer == Writer::Unnamed(key.provider.clone()) {
            return Err(Refusal::ProviderWrites {
                provider: key.provider.clone(),
            });
        }
        Ok(())
    }

    /// Refuses evidence that is of another cluster, too old, or older than what is known already.
    fn refuse_unusable(
        &self,
        evidence: &Evidence,
        since: Option<Proof>,
        turn: &Turn,
    ) -> Result<(), Refusal> {
        if evidence.cluster_id() != Some(&self.cluster_id) {
            return Err(Refusal::OtherCluster {
                found: evidence.cluster_id().map(str::to_owned),
            });
        }
        let needed = Revision::new(since.map_or(u64::MAX, |proof| proof.revision));
        if evidence.revision() < needed {
            return Err(Refusal::EvidenceTooEarly {
                needed,
                found: evidence.revision(),
            });
        }
        match evidence.staleness(turn.now.time(), self.policy.evidence_max_age) {
            Some(stale) => Err(Refusal::EvidenceStale(stale)),
            None => Ok(()),
        }
    }

    /// A key that was thought not to be needed is.
    fn take_back(
        &mut self,
        id: &KeyId,
        evidence: &Evidence,
        objections: &[Objection],
        turn: &Turn,
    ) {
        let at = self.position(id);
        let key = at.and_then(|at| self.keys.get_mut(at));
        if let Some(key) = key.filter(|key| key.stage == Stage::Retirable) {
            key.take_note(Proof::of(evidence), objections, turn.now);
            self.hurry(turn);
        }
    }

    /// To delete one id is to delete its material, and with it every other id of that.
    fn refuse_shared_material(&self, id: &KeyId, evidence: &Evidence) -> Result<(), Refusal> {
        let Some(root) = self.key(id).map(KeyRecord::root) else {
            return Ok(());
        };
        let others = self
            .keys
            .iter()
            .filter(|key| key.id != *id && key.root() == root);
        for other in others {
            let is_free = matches!(other.stage, Stage::Retirable | Stage::Retired);
            if !is_free || !evidence.objections(&other.id).is_empty() {
                return Err(Refusal::MaterialInUse {
                    by: other.id.clone(),
                });
            }
        }
        Ok(())
    }
}
