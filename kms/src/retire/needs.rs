//! What needs a key, and what may.

use std::collections::BTreeMap;

use kms_core::KeyId;
use kms_envelope::reencrypt::{
    CensusReport, CensusRow, Evidence, FoundReference, SourceRole, UnknownKey,
};
use serde::Serialize;

/// What needs the key, and what may need it.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct NeededBy {
    /// Live objects of the cluster.
    pub live: LiveNeeds,
    /// Values in the cluster's history that are no longer live.
    pub history: HistoryNeeds,
    /// Backups that were scanned and hold something under it.
    pub backups: Vec<BackupNeed>,
    /// Replicas that write with it.
    pub replicas: Vec<ReplicaNeed>,
    /// What cannot be known: it counts as under every key.
    pub unknown: UnknownNeeds,
}

/// Live objects under the key.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct LiveNeeds {
    /// All of them; one that is in two copies of the cluster counts twice.
    pub objects: u64,
    /// By resource.
    pub by_resource: Vec<ResourceNeed>,
}

/// Values under the key that only history holds.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct HistoryNeeds {
    /// All of them.
    pub records: u64,
    /// By resource.
    pub by_resource: Vec<ResourceNeed>,
    /// The revision up to which to compact, to clear them and those whose key cannot be known;
    /// `None` if there are none of either.
    pub compact_to: Option<u64>,
}

/// What a resource needs a key for.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ResourceNeed {
    /// The source that it was found in.
    pub source: String,
    /// The resource.
    pub resource: String,
    /// What the values begin with.
    pub prefix: String,
    /// How many there are: live objects, or values of history.
    pub count: u64,
    /// Some of their etcd keys: the first in byte order.
    pub examples: Vec<String>,
}

/// A backup that needs the key.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct BackupNeed {
    /// Which one.
    pub name: String,
    /// Live objects in it.
    pub live: u64,
    /// Values in its history.
    pub history: u64,
    /// Whether somebody has given it up.
    pub waived: bool,
}

/// A replica that writes with the key.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ReplicaNeed {
    /// Which one.
    pub name: String,
    /// What it says: the key id or its hash.
    pub writes_with: String,
}

/// What cannot be known.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct UnknownNeeds {
    /// Live objects.
    pub objects: u64,
    /// Values of history.
    pub records: u64,
    /// By what they are.
    pub groups: Vec<UnknownGroup>,
}

/// Values of one resource whose key cannot be known.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct UnknownGroup {
    /// The source that they were found in.
    pub source: String,
    /// The resource.
    pub resource: String,
    /// What the values begin with.
    pub prefix: String,
    /// Why it cannot be known.
    pub reason: UnknownKey,
    /// Live objects.
    pub objects: u64,
    /// Values of history.
    pub records: u64,
    /// The name by which they can be waived.
    pub waive_as: String,
    /// Whether they are.
    pub waived: bool,
    /// Some of their etcd keys.
    pub examples: Vec<String>,
}

impl NeededBy {
    /// What evidence says of a key. The reports, by the names of their sources, give examples.
    pub(super) fn new(
        evidence: &Evidence,
        key_id: &KeyId,
        reports: &BTreeMap<String, CensusReport>,
    ) -> Self {
        let mut needed = Self::default();
        let mut backups = BTreeMap::<&str, BackupNeed>::new();
        for found in evidence.references_to(key_id) {
            let report = reports.get(found.source.name());
            needed.note_compaction(&found);
            if let Some(reason) = found.unknown {
                needed.unknown.add(&found, reason, report);
            } else if found.source.role() == SourceRole::Backup {
                let name = found.source.name();
                let backup = backups.entry(name).or_insert_with(|| BackupNeed {
                    name: name.to_owned(),
                    live: 0,
                    history: 0,
                    waived: found.is_waived,
                });
                backup.live = backup.live.saturating_add(found.reference.live());
                backup.history = backup.history.saturating_add(found.reference.history());
            } else {
                needed.add(&found, report);
            }
        }
        needed.backups = backups.into_values().collect();
        needed.replicas = evidence
            .replicas_with(key_id)
            .map(|replica| ReplicaNeed {
                name: replica.name().to_owned(),
                writes_with: replica.writes_with().to_owned(),
            })
            .collect();
        needed
    }

    /// Notes that compaction clears these values, if it does.
    fn note_compaction(&mut self, found: &FoundReference<'_>) {
        let is_cluster = found.source.role() == SourceRole::Cluster;
        if is_cluster && found.reference.history() > 0 && !found.is_waived {
            let to = Some(found.source.revision().get());
            self.history.compact_to = self.history.compact_to.max(to);
        }
    }

    fn add(&mut self, found: &FoundReference<'_>, report: Option<&CensusReport>) {
        let reference = found.reference;
        let need = |count, examples| ResourceNeed {
            source: found.source.name().to_owned(),
            resource: reference.resource().to_owned(),
            prefix: reference.prefix().to_owned(),
            count,
            examples,
        };
        if reference.live() > 0 {
            let (live, count) = (&mut self.live, reference.live());
            live.objects = live.objects.saturating_add(count);
            live.by_resource
                .push(need(count, examples(found, live_rows(report))));
        }
        if reference.history() > 0 {
            let (history, count) = (&mut self.history, reference.history());
            history.records = history.records.saturating_add(count);
            let examples = examples(found, history_rows(report));
            history.by_resource.push(need(count, examples));
        }
    }
}

impl UnknownNeeds {
    fn add(
        &mut self,
        found: &FoundReference<'_>,
        reason: UnknownKey,
        report: Option<&CensusReport>,
    ) {
        let reference = found.reference;
        if !found.is_waived {
            self.objects = self.objects.saturating_add(reference.live());
            self.records = self.records.saturating_add(reference.history());
        }
        let rows = match reference.live() {
            0 => history_rows(report),
            _ => live_rows(report),
        };
        self.groups.push(UnknownGroup {
            source: found.source.name().to_owned(),
            resource: reference.resource().to_owned(),
            prefix: reference.prefix().to_owned(),
            reason,
            objects: reference.live(),
            records: reference.history(),
            waive_as: Evidence::group_of(reference).unwrap_or_default(),
            waived: found.is_waived,
            examples: examples(found, rows),
        });
    }
}

fn live_rows(report: Option<&CensusReport>) -> &[CensusRow] {
    report
        .map(|report| report.live.census.as_slice())
        .unwrap_or_default()
}

fn history_rows(report: Option<&CensusReport>) -> &[CensusRow] {
    report
        .and_then(|report| report.history.as_ref())
        .map(|history| history.census_puts_not_live.as_slice())
        .unwrap_or_default()
}

/// Some of the keys that a reference counts.
fn examples(found: &FoundReference<'_>, rows: &[CensusRow]) -> Vec<String> {
    let reference = found.reference;
    let mut keys: Vec<_> = rows
        .iter()
        .filter(|row| {
            row.resource == reference.resource()
                && row.prefix == reference.prefix()
                && row.key_id.as_deref() == reference.key_id()
        })
        .filter(|row| row.unparsable == is_damaged(reference.unknown()))
        .flat_map(|row| row.examples.iter().cloned())
        .collect();
    keys.sort();
    keys.truncate(super::plan::EXAMPLES);
    keys
}

const fn is_damaged(unknown: Option<UnknownKey>) -> bool {
    matches!(
        unknown,
        Some(UnknownKey::Damaged | UnknownKey::UnknownProvider)
    )
}
