//! Writing down in a rotation that a key was retired.

use kms_core::state::{StateStore, StateSwap};
use kms_core::{CallOptions, Clock, KeyId};
use kms_envelope::reencrypt::{Evidence, names_one_key};
use kms_envelope::rotation::{Event, State, step};

use super::RotationRecord;
use crate::Failure;

/// How often somebody else may write first.
const ATTEMPTS: u32 = 16;

/// What is asked of a stored rotation about a key that is to be retired.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecordedRetirement<'r> {
    /// Where the rotation is stored.
    pub store: &'r dyn StateStore,
    /// The key, by any of its names.
    pub key: &'r KeyId,
    /// What the last look found.
    pub evidence: &'r Evidence,
}

impl<'r> RecordedRetirement<'r> {
    /// This key, on this evidence.
    #[must_use]
    pub const fn new(store: &'r dyn StateStore, key: &'r KeyId, evidence: &'r Evidence) -> Self {
        Self {
            store,
            key,
            evidence,
        }
    }

    /// Asks whether the rotation would let the key go. Writes nothing.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: there is no rotation, it cannot be read, or it refuses.
    pub async fn check(&self, clock: &dyn Clock) -> Result<(), Failure> {
        self.attempt(clock).await.map(|_| ())
    }

    /// Writes down that the key was retired, and on what evidence. A driver that is at work sees it
    /// with its next sign of life.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check); and if it could not be written.
    pub async fn record(&self, clock: &dyn Clock) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            let (version, record) = self.attempt(clock).await?;
            let bytes = record.to_bytes()?;
            let call = CallOptions::default();
            match self.store.swap(Some(version), &bytes, &call).await? {
                StateSwap::Swapped { .. } => return Ok(()),
                StateSwap::Changed { .. } => {}
            }
        }
        Err(Failure::new(
            "conflict",
            "somebody else writes the state of the rotation all the time",
            "try again",
        ))
    }

    /// What the record would be.
    async fn attempt(
        &self,
        clock: &dyn Clock,
    ) -> Result<(kms_core::state::StateVersion, RotationRecord), Failure> {
        let found = self.store.load(&CallOptions::default()).await?;
        let found = found.ok_or_else(|| {
            Failure::new(
                "no_state",
                format!("there is no rotation at {}", self.store),
                "look whether --state is right, or leave it away",
            )
        })?;
        let record =
            RotationRecord::from_bytes(&found.bytes).map_err(|failure| failure.at(self.store))?;
        let event = Event::Retire {
            key: self.own_id(&record.state),
            evidence: self.evidence.clone(),
        };
        let taken = step(&record.state, &event, clock.wall_time());
        if let Some(refusal) = taken.refusal {
            let message = format!("the rotation does not let the key go: {refusal}");
            return Err(Failure::new(refusal.code(), message, refusal.remedy()));
        }
        Ok((
            found.version,
            RotationRecord::new(record.driver, taken.state),
        ))
    }

    /// The id under which the rotation knows the key.
    fn own_id(&self, state: &State) -> KeyId {
        let keys = state.keys().iter().map(|key| key.id());
        let mut known = keys.filter(|id| names_one_key(id.as_str(), self.key.as_str()));
        known.next().unwrap_or(self.key).clone()
    }
}
