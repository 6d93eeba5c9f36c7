//! One key and where it is in its life.

use std::time::SystemTime;

use kms_core::object::Revision;
use kms_core::{KeyId, KeyState};
use serde::{Deserialize, Serialize};

use super::ProviderName;
use super::moment::Moment;
use super::text::{digest, key_id, key_state, maybe_key_id, nullable};

/// How far a key has come. It only ever goes forward, except that evidence which finds a reference
/// takes [`Retirable`](Self::Retirable) back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// It is known, and nobody writes with it yet.
    Pending,
    /// Replicas write with it, or are about to.
    Active,
    /// Replicas have left it, or are about to. Objects may need it.
    Previous,
    /// Evidence says that nothing needs it.
    Retirable,
    /// Leave was given to delete it. It is remembered, so that its id is never used again.
    Retired,
}

impl Stage {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Previous => "previous",
            Self::Retirable => "retirable",
            Self::Retired => "retired",
        }
    }
}

/// What a key is to an operator: its stage, unless something is wrong with it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum KeyPhase {
    /// As [`Stage::Pending`].
    Pending,
    /// As [`Stage::Active`].
    Active,
    /// As [`Stage::Previous`].
    Previous,
    /// As [`Stage::Retirable`], whatever else is wrong with it.
    Retirable,
    /// As [`Stage::Retired`].
    Retired,
    /// In wrong hands: it decrypts, encrypts nothing any more, and what is under it has to be
    /// encrypted again now.
    Compromised,
    /// Active and cannot encrypt, or previous and cannot decrypt: expired, disabled, deleted.
    Unusable,
}

impl KeyPhase {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Active,
        Self::Previous,
        Self::Retirable,
        Self::Retired,
        Self::Compromised,
        Self::Unusable,
    ];

    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Previous => "previous",
            Self::Retirable => "retirable",
            Self::Retired => "retired",
            Self::Compromised => "compromised",
            Self::Unusable => "unusable",
        }
    }
}

/// The evidence that a stage rests on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    #[serde(with = "digest")]
    pub(super) digest: [u8; 32],
    pub(super) revision: u64,
    pub(super) taken_at: Moment,
}

impl Proof {
    /// The digest of the evidence, in hexadecimal.
    #[must_use]
    pub fn digest_hex(&self) -> String {
        kms_core::text::hex(&self.digest)
    }

    /// The revision that was scanned.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        Revision::new(self.revision)
    }

    /// When it was taken.
    #[must_use]
    pub fn taken_at(&self) -> SystemTime {
        self.taken_at.time()
    }
}

/// Leave to delete a key. It ends by itself: what was true of the cluster grows old.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Permit {
    pub(super) proof: Proof,
    pub(super) until: Moment,
}

impl Permit {
    /// The evidence.
    #[must_use]
    pub const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// When it ends. Afterwards [`Retire`](super::Event::Retire) with fresh evidence gives another.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        self.until.time()
    }
}

/// One key and what is known of it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    #[serde(with = "key_id")]
    pub(super) id: KeyId,
    pub(super) provider: ProviderName,
    pub(super) stage: Stage,
    /// Since when it is in this stage.
    pub(super) since: Moment,
    #[serde(with = "key_state")]
    pub(super) health: KeyState,
    pub(super) compromised: bool,
    /// When replicas change over to it.
    #[serde(deserialize_with = "nullable")]
    pub(super) active_at: Option<Moment>,
    /// Seen after that instant.
    pub(super) late: bool,
    /// Which change of the writer made it active, counted from one.
    #[serde(deserialize_with = "nullable")]
    pub(super) epoch: Option<u64>,
    /// The first id of the same material, if that is another.
    #[serde(with = "maybe_key_id")]
    pub(super) material: Option<KeyId>,
    pub(super) generation: u32,
    /// DEKs that it had wrapped may live on under later keys.
    pub(super) rewrapped: bool,
    /// The latest evidence by which no live object needs it.
    #[serde(deserialize_with = "nullable")]
    pub(super) drained: Option<Proof>,
    /// What stood in the way of its deletion at the latest census.
    #[serde(deserialize_with = "nullable")]
    pub(super) objections: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    pub(super) permit: Option<Permit>,
}

impl KeyRecord {
    pub(super) fn new(id: KeyId, provider: ProviderName, stage: Stage, now: Moment) -> Self {
        Self {
            id,
            provider,
            stage,
            since: now,
            health: KeyState::Enabled,
            compromised: false,
            active_at: None,
            late: false,
            epoch: None,
            material: None,
            generation: 0,
            rewrapped: false,
            drained: None,
            objections: None,
            permit: None,
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &KeyId {
        &self.id
    }

    /// Whose version it is.
    #[must_use]
    pub const fn provider(&self) -> &ProviderName {
        &self.provider
    }

    /// How far it has come.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Since when it is in that stage.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.since.time()
    }

    /// What its provider last said of it.
    #[must_use]
    pub const fn health(&self) -> KeyState {
        self.health
    }

    /// Whether it is in wrong hands.
    #[must_use]
    pub const fn is_compromised(&self) -> bool {
        self.compromised
    }

    /// When replicas change over to it, or did, if that is known.
    #[must_use]
    pub fn active_at(&self) -> Option<SystemTime> {
        self.active_at.map(Moment::time)
    }

    /// Whether it was seen after its instant, so that replicas may have changed over apart.
    #[must_use]
    pub const fn was_seen_late(&self) -> bool {
        self.late
    }

    /// Whether replicas ever wrote with it, as far as is known.
    #[must_use]
    pub const fn was_active(&self) -> bool {
        self.epoch.is_some()
    }

    /// The first id of the same key material, if this id is a rollback to it.
    #[must_use]
    pub const fn material(&self) -> Option<&KeyId> {
        self.material.as_ref()
    }

    /// How many ids the material had before this one.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The latest evidence by which no live object needs it; of a retired key, that by which it was
    /// retired.
    #[must_use]
    pub const fn drained(&self) -> Option<&Proof> {
        self.drained.as_ref()
    }

    /// How many objections to its deletion the latest census raised; `None` if none was taken.
    #[must_use]
    pub const fn objections(&self) -> Option<u32> {
        self.objections
    }

    /// Leave to delete it, if that was given and has not ended.
    #[must_use]
    pub const fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }

    /// What it is to an operator.
    #[must_use]
    pub const fn phase(&self) -> KeyPhase {
        match self.stage {
            Stage::Retired => KeyPhase::Retired,
            Stage::Retirable => KeyPhase::Retirable,
            _ if self.compromised => KeyPhase::Compromised,
            Stage::Pending => KeyPhase::Pending,
            Stage::Active if self.health.can_wrap() => KeyPhase::Active,
            Stage::Previous if self.health.can_unwrap() => KeyPhase::Previous,
            Stage::Active | Stage::Previous => KeyPhase::Unusable,
        }
    }

    /// Whether new data may be encrypted under it.
    pub(super) const fn may_encrypt(&self) -> bool {
        self.health.can_wrap() && !self.compromised
    }

    /// Whether live objects may need it.
    pub(super) const fn is_live(&self) -> bool {
        match self.stage {
            Stage::Active => true,
            Stage::Previous => self.drained.is_none(),
            Stage::Pending | Stage::Retirable | Stage::Retired => false,
        }
    }

    /// The id that stands for its material.
    pub(super) fn root(&self) -> &KeyId {
        self.material.as_ref().unwrap_or(&self.id)
    }

    pub(super) const fn enter(&mut self, stage: Stage, now: Moment) {
        self.stage = stage;
        self.since = now;
    }

    /// Replicas leave it, or may have used it. What was known of its objects counts no more.
    pub(super) const fn leave(&mut self, now: Moment) {
        self.enter(Stage::Previous, now);
        self.drained = None;
        self.objections = None;
        if self.epoch.is_none() {
            self.active_at = None;
            self.late = false;
        }
    }

    /// Replicas are to write with it after all, who never have.
    pub(super) fn take_up(&mut self, active_at: Option<SystemTime>, now: Moment) {
        self.leave(now);
        self.enter(Stage::Pending, now);
        self.active_at = active_at.map(Moment::ceil);
    }
}
