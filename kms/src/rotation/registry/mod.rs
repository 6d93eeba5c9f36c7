//! Which keys there are, who needs them, and which may go.

mod counts;
mod deletion;
mod join;
mod reasons;
mod text;
mod waiting;

use std::time::{SystemTime, UNIX_EPOCH};

use kms_core::state::StateVersion;
use kms_core::{KeyId, KeyInfo};
use kms_envelope::rotation::{KeyPhase, Remaining, Stage};
use serde::{Serialize, Serializer};

pub use deletion::Deletion;

use super::{DriverNote, RotationRecord, WriterStates};
use crate::cluster::{CensusOutcome, SourceFacts};

/// What a registry is joined from. All of it is optional; what is not given is not claimed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RegistrySources {
    /// What is stored of the rotation, and at which version.
    pub record: Option<(StateVersion, RotationRecord)>,
    /// The versions that the provider lists, oldest first.
    pub keys: Option<Vec<KeyInfo>>,
    /// The version that the provider wraps with.
    pub current: Option<KeyId>,
    /// A census of the cluster.
    pub cluster: Option<CensusOutcome>,
    /// One of each copy that somebody may want to restore.
    pub backups: Vec<CensusOutcome>,
    /// What API servers and plugins write with.
    pub writers: Option<WriterStates>,
    /// What could not be asked, and why.
    pub notes: Vec<String>,
}

impl RegistrySources {
    /// The key that new objects are under, as far as is known: by what is stored, else by the
    /// provider.
    #[must_use]
    pub fn current_key(&self) -> Option<KeyId> {
        let Some((_, record)) = &self.record else {
            return self.current.clone();
        };
        let mut keys = record.state.keys().iter().rev();
        let active = keys.find(|key| key.stage() == Stage::Active);
        active.map(|key| key.id().clone())
    }
}

/// Which keys there are, who needs them, and which may go. Serializes to the JSON of
/// `kms rotation status --json`; `Display` is a table.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Registry {
    /// The version of this form of JSON: 1.
    pub schema_version: u32,
    /// When it was made.
    #[serde(serialize_with = "time")]
    pub taken_at: SystemTime,
    /// The cluster, by its own id, if anything says which it is.
    pub cluster_id: Option<String>,
    /// The key that new objects are under.
    pub current: Option<String>,
    /// The key that they were under before.
    pub previous: Option<String>,
    /// Each key: newest first.
    pub keys: Vec<RegistryKey>,
    /// What the rotation is at, if it is stored.
    pub rotation: Option<RotationStatus>,
    /// What was counted.
    pub sources: Vec<SourceFacts>,
    /// What could not be asked, and what follows from that.
    pub notes: Vec<String>,
}

/// One key and who needs it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RegistryKey {
    /// Its id, as it stands in stored values.
    pub key_id: String,
    /// The provider's name for it.
    pub version: Option<String>,
    /// What it is to the others.
    pub role: KeyRole,
    /// Where it is in its life, if the rotation is stored.
    #[serde(serialize_with = "phase")]
    pub phase: Option<KeyPhase>,
    /// What its provider says of it.
    pub state: Option<&'static str>,
    /// Since when it is where it is.
    #[serde(serialize_with = "maybe_time")]
    pub since: Option<SystemTime>,
    /// Live objects under it; `None` if they were not counted.
    pub live_objects: Option<u64>,
    /// Values in history under it that are not live; `None` if they were not counted.
    pub history: Option<u64>,
    /// Values of backups under it, live in the backup or in its history; `None` if none was
    /// scanned.
    pub backups: Option<u64>,
    /// API servers and plugins that write with it; `None` if none was asked.
    pub replicas: Option<u64>,
    /// Whether it may be deleted now, as far as is known.
    pub deletion: Deletion,
    /// Whether that is [`Deletion::Yes`].
    pub safe_to_delete: bool,
    /// Until when the leave to delete it lasts; `None` if it does not.
    #[serde(serialize_with = "maybe_time")]
    pub safe_until: Option<SystemTime>,
    /// Since when it may be deleted, if it may now.
    #[serde(serialize_with = "maybe_time")]
    pub safe_since: Option<SystemTime>,
    /// Why it may, or may not.
    pub reasons: Vec<String>,
}

/// What a key is to the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyRole {
    /// New objects are under it.
    Current,
    /// New objects will be.
    Pending,
    /// New objects were, until the current one came.
    Previous,
    /// New objects were, before that.
    Older,
    /// Objects name it and no provider that was asked knows it.
    Unknown,
}

impl KeyRole {
    /// A stable lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Pending => "pending",
            Self::Previous => "previous",
            Self::Older => "older",
            Self::Unknown => "unknown",
        }
    }
}

/// What a stored rotation is at.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RotationStatus {
    /// The version of the state in its store.
    pub version: u64,
    /// Who drives it; nobody if it was left in order.
    pub driver: Option<DriverNote>,
    /// What is done for objects to be under the current key.
    pub activity: &'static str,
    /// Whether all that was begun is done.
    pub settled: bool,
    /// What the latest census counted that is not as it should be.
    pub remaining: Remaining,
    /// What it is waiting for, in sentences.
    pub waiting_for: Vec<String>,
}

impl Registry {
    /// Joins what is known.
    #[must_use]
    pub fn new(sources: RegistrySources, now: SystemTime) -> Self {
        join::join(sources, now)
    }

    /// The keys that may be deleted now, as far as is known.
    pub fn safe_to_delete(&self) -> impl Iterator<Item = &RegistryKey> {
        self.keys.iter().filter(|key| key.safe_to_delete)
    }
}

/// A time as people and programs read it: RFC 3339, to the second.
pub(super) fn shown(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

fn time<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&shown(*time))
}

#[expect(clippy::ref_option, reason = "the signature that serde wants")]
fn maybe_time<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    time.map(shown).serialize(to)
}

#[expect(clippy::ref_option, reason = "the signature that serde wants")]
fn phase<S: Serializer>(phase: &Option<KeyPhase>, to: S) -> Result<S::Ok, S::Error> {
    phase.map(KeyPhase::as_str).serialize(to)
}
