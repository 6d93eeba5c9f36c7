//! Evidence that is taken again, and what has changed since.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::document::Content;
use super::reference::group_name;
use super::{Evidence, EvidenceBuilder, KnownKey, Objection, ReplicaState, ScannedSource};
use crate::Error;

impl Evidence {
    /// The same with keys that somebody knows by now.
    pub(super) fn with_known_keys(&self, known_keys: &[KnownKey]) -> Result<Self, Error> {
        let mut content = self.content.clone();
        let is_newer = |old: &KnownKey| known_keys.iter().any(|it| it.source == old.source);
        content.known_keys.retain(|old| !is_newer(old));
        content.known_keys.extend_from_slice(known_keys);
        EvidenceBuilder::from_content(content).finish()
    }

    /// The same with the live cluster as it was found now, and with what replicas said since.
    pub(super) fn renewed(
        &self,
        found: ScannedSource,
        replicas: &[ReplicaState],
        now: SystemTime,
    ) -> Result<Self, Error> {
        let mut content = self.content.clone();
        content.taken_at = now;
        content.sources.retain(|source| !source.is_live_cluster());
        content.sources.push(found);
        let is_newer = |known: &ReplicaState| replicas.iter().any(|it| it.name == known.name);
        content.replicas.retain(|known| !is_newer(known));
        content.replicas.extend_from_slice(replicas);
        EvidenceBuilder::from_content(content).finish()
    }

    /// What cannot be if this was taken after `plan`, and what nobody had in mind when it was
    /// waived then.
    pub(super) fn changes_since(&self, plan: &Self) -> Vec<Objection> {
        let mut changes = Vec::new();
        if self.revision() < plan.revision() {
            changes.push(Objection::WentBack {
                planned: plan.revision().get(),
                found: self.revision().get(),
            });
        }
        let planned = plan.content.waived_unknowns();
        for (name, found) in self.content.waived_unknowns() {
            let planned = planned.get(&name).copied().unwrap_or(0);
            if found > planned {
                changes.push(Objection::MoreUnknown {
                    name,
                    planned,
                    found,
                });
            }
        }
        changes
    }
}

impl Content {
    /// How many values of the live cluster were waived because their key cannot be known, by the
    /// name of their group.
    fn waived_unknowns(&self) -> BTreeMap<String, u64> {
        let mut groups = BTreeMap::new();
        let sources = self.sources.iter().filter(|it| it.is_live_cluster());
        for needing in sources.flat_map(|source| &source.references) {
            let Some(unknown) = self.unknown(needing) else {
                continue;
            };
            let name = group_name(unknown, &needing.prefix);
            if self.is_waived(&name) {
                let count: &mut u64 = groups.entry(name).or_default();
                let values = needing.live.saturating_add(needing.history);
                *count = count.saturating_add(values);
            }
        }
        groups
    }
}
