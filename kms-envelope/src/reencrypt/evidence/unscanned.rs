//! What was not scanned, and who answers for that.

use std::time::SystemTime;

use kms_core::KeyId;
use serde::{Deserialize, Serialize};

use super::moment;

/// Something that may hold references and was not scanned.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UnscannedSource {
    pub(super) name: String,
    pub(super) kind: UnscannedKind,
}

impl UnscannedSource {
    /// Its name, by which it can be waived.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> UnscannedKind {
        self.kind
    }
}

/// What was not scanned.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnscannedKind {
    /// A copy of a cluster.
    Backup,
    /// Another cluster, or another program, whose data is under the same key.
    Cluster,
    /// An API server or plugin, which goes on writing with the key that it holds in memory.
    Replica,
    /// The past of a live cluster: what was superseded and is not compacted yet.
    History,
    /// Anything else.
    Other,
}

impl UnscannedKind {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Cluster => "cluster",
            Self::Replica => "replica",
            Self::History => "history",
            Self::Other => "other",
        }
    }
}

/// Somebody's word that something which was not scanned, or cannot be known, does not count.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    pub(super) name: String,
    pub(super) reason: String,
}

impl Waiver {
    /// What it is about: [`Objection::waivable_as`](super::Objection::waivable_as).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Which key an API server or a plugin writes with.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaState {
    pub(super) name: String,
    pub(super) writes_with: String,
    #[serde(with = "moment")]
    pub(super) checked_at: SystemTime,
}

impl ReplicaState {
    /// What a replica said at a time. `writes_with` is a key id, or `sha256:` and its hash as in
    /// the API server's metrics.
    #[must_use]
    pub fn new(name: impl Into<String>, writes_with: &KeyId, checked_at: SystemTime) -> Self {
        Self {
            name: name.into(),
            writes_with: writes_with.as_str().to_owned(),
            checked_at,
        }
    }

    /// Which one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id that it writes with, or its hash.
    #[must_use]
    pub fn writes_with(&self) -> &str {
        &self.writes_with
    }

    /// When it said so.
    #[must_use]
    pub const fn checked_at(&self) -> SystemTime {
        self.checked_at
    }
}

/// Somebody's word that a KMS v1 provider uses one key and has always used it.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attribution {
    pub(super) provider: String,
    pub(super) key_id: String,
}
