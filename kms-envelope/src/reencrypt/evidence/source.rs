//! What was scanned.

use std::time::SystemTime;

use kms_core::object::{Revision, StoreIdentity};
use serde::{Deserialize, Serialize};

use super::super::CensusReport;
use super::{Reference, moment, reference};

/// What a source is to the question whether a key may go.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceRole {
    /// The cluster itself, or a copy that is taken for it.
    Cluster,
    /// A copy that somebody may want to restore.
    Backup,
}

/// A source that was scanned to its end, and what it needs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScannedSource {
    pub(super) role: SourceRole,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) cluster_id: Option<String>,
    pub(super) revision: u64,
    pub(super) compact_revision: Option<u64>,
    pub(super) sha256: Option<String>,
    pub(super) live: bool,
    #[serde(with = "moment")]
    pub(super) scanned_at: SystemTime,
    /// Empty if all keys were scanned.
    pub(super) key_prefix: String,
    pub(super) with_history: bool,
    pub(super) objects: u64,
    pub(super) changes: u64,
    pub(super) references: Vec<Reference>,
}

impl ScannedSource {
    /// The cluster itself, as a census found it at a revision.
    ///
    /// The census must be of all keys; see [`with_key_prefix`](Self::with_key_prefix).
    #[must_use]
    pub fn cluster(
        identity: &StoreIdentity,
        report: &CensusReport,
        revision: Revision,
        scanned_at: SystemTime,
    ) -> Self {
        Self::new(SourceRole::Cluster, identity, report, revision, scanned_at)
    }

    /// A copy that somebody may want to restore.
    #[must_use]
    pub fn backup(
        identity: &StoreIdentity,
        report: &CensusReport,
        revision: Revision,
        scanned_at: SystemTime,
    ) -> Self {
        Self::new(SourceRole::Backup, identity, report, revision, scanned_at)
    }

    fn new(
        role: SourceRole,
        identity: &StoreIdentity,
        report: &CensusReport,
        revision: Revision,
        scanned_at: SystemTime,
    ) -> Self {
        let history = report.history.as_ref();
        Self {
            role,
            kind: identity.kind.clone(),
            name: identity.name.clone(),
            cluster_id: identity.cluster_id.clone(),
            revision: revision.get(),
            compact_revision: history.and_then(|it| it.compacted).map(Revision::get),
            sha256: None,
            live: identity.live,
            scanned_at,
            key_prefix: String::new(),
            with_history: history.is_some(),
            objects: report.live.keys,
            changes: history.map_or(0, |history| history.records),
            references: reference::of_report(report),
        }
    }

    /// Sets up to where its history is compacted, where the census does not know it.
    #[must_use]
    pub fn with_compacted(mut self, revision: impl Into<Option<Revision>>) -> Self {
        self.compact_revision = revision.into().map(Revision::get);
        self
    }

    /// Sets the SHA-256 of its content, in hexadecimal.
    #[must_use]
    pub fn with_sha256(mut self, digest: impl Into<Option<String>>) -> Self {
        self.sha256 = digest.into();
        self
    }

    /// Says that only keys with this prefix were scanned. The rest is then in the way.
    #[must_use]
    pub fn with_key_prefix(mut self, prefix: &[u8]) -> Self {
        self.key_prefix = prefix.escape_ascii().to_string();
        self
    }

    /// What it is to the question.
    #[must_use]
    pub const fn role(&self) -> SourceRole {
        self.role
    }

    /// The kind of source, such as `etcd` or `snapshot`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Which one: end points, a path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster's own id, if the source knows it.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The revision that was counted.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        Revision::new(self.revision)
    }

    /// Up to where its history is compacted, if that is known and it was.
    #[must_use]
    pub fn compacted(&self) -> Option<Revision> {
        self.compact_revision.map(Revision::new)
    }

    /// The SHA-256 of its content, in hexadecimal, if it has one.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }

    /// Whether it follows the cluster; a copy does not.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.live
    }

    /// When it was scanned.
    #[must_use]
    pub const fn scanned_at(&self) -> SystemTime {
        self.scanned_at
    }

    /// Whether its history was counted.
    #[must_use]
    pub const fn has_history(&self) -> bool {
        self.with_history
    }

    /// How many live objects were counted, whatever they are under.
    #[must_use]
    pub const fn objects(&self) -> u64 {
        self.objects
    }

    /// How many changes of history were counted.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// What needs a key of a KMS.
    #[must_use]
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    pub(super) const fn is_live_cluster(&self) -> bool {
        self.live && matches!(self.role, SourceRole::Cluster)
    }
}
