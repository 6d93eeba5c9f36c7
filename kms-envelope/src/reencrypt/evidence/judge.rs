//! What evidence says about a key.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use kms_core::KeyId;
use ring::digest;

use super::document::Content;
use super::{
    Evidence, EvidenceBuilder, Objection, Reference, ReplicaState, ScannedSource, SourceRole,
    UnknownKey, UnscannedKind,
};
use crate::Error;

pub(super) fn objections(content: &Content, key_ids: &[KeyId]) -> Vec<Objection> {
    let judge = Judge { content, key_ids };
    let mut found = judge.clusters();
    for source in &content.sources {
        judge.source(source, &mut found);
    }
    judge.replicas(&mut found);
    judge.not_scanned(&mut found);
    found
}

/// Why evidence is too old, or of the future. Its age is that of its oldest part that can grow
/// old: a copy does not change any more.
pub(super) fn staleness(
    content: &Content,
    now: SystemTime,
    max_age: Duration,
) -> Option<Objection> {
    let live = content.sources.iter().filter(|source| source.live);
    let times = live
        .map(|source| source.scanned_at)
        .chain(content.replicas.iter().map(|replica| replica.checked_at))
        .chain([content.taken_at]);
    let (mut oldest, mut newest) = (content.taken_at, content.taken_at);
    for time in times {
        oldest = oldest.min(time);
        newest = newest.max(time);
    }
    if newest > now {
        return Some(Objection::NotYet);
    }
    let age = now.duration_since(oldest).unwrap_or_default();
    (age > max_age).then(|| Objection::too_old(age, max_age))
}

/// Whether a key id, or its hash, is the one that is asked for, or the one whose hash is.
pub(super) fn is_same(stored: &str, asked: &str) -> bool {
    stored == asked || is_hash_of(asked, stored) || is_hash_of(stored, asked)
}

/// As the API server's metrics show a key id.
fn is_hash_of(text: &str, key_id: &str) -> bool {
    let Some(hex) = text.strip_prefix("sha256:") else {
        return false;
    };
    let digest = digest::digest(&digest::SHA256, key_id.as_bytes());
    let digits = digest.as_ref().iter().flat_map(|byte| {
        [byte >> 4, byte & 0xf].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'))
    });
    hex.chars()
        .map(|digit| digit.to_ascii_lowercase())
        .eq(digits)
}

struct Judge<'a> {
    content: &'a Content,
    key_ids: &'a [KeyId],
}

impl Judge<'_> {
    fn clusters(&self) -> Vec<Objection> {
        let mut found = Vec::new();
        let live = self
            .content
            .sources
            .iter()
            .filter(|source| source.is_live_cluster());
        let mut ids = BTreeSet::new();
        let mut is_live = false;
        for source in live {
            is_live = true;
            match &source.cluster_id {
                Some(id) => drop(ids.insert(id)),
                None => found.push(Objection::NoClusterId {
                    source: source.name.clone(),
                }),
            }
        }
        if !is_live {
            found.push(Objection::NoLiveSource);
        }
        let mut ids = ids.into_iter();
        if let (Some(first), Some(second)) = (ids.next(), ids.next()) {
            found.push(Objection::SeveralClusters {
                first: first.clone(),
                second: second.clone(),
            });
        }
        found
    }

    fn source(&self, source: &ScannedSource, found: &mut Vec<Objection>) {
        let is_backup = source.role == SourceRole::Backup;
        if is_backup && self.is_waived(&source.name) {
            return;
        }
        if !source.key_prefix.is_empty() {
            found.push(Objection::PartlyScanned {
                source: source.name.clone(),
                key_prefix: source.key_prefix.clone(),
            });
        }
        if !source.with_history {
            self.push_not_scanned(&history_name(source), UnscannedKind::History, found);
        }
        let (mut live, mut history) = (BTreeMap::<&str, u64>::new(), 0_u64);
        let mut unknown = BTreeMap::<(UnknownKey, &str), (u64, u64)>::new();
        for reference in &source.references {
            if self.needs_key(reference) {
                let count = live.entry(&reference.resource).or_default();
                *count = count.saturating_add(reference.live);
                history = history.saturating_add(reference.history);
            } else if let Some(reason) = self.unknown(reference) {
                let counts = unknown.entry((reason, &reference.prefix)).or_default();
                counts.0 = counts.0.saturating_add(reference.live);
                counts.1 = counts.1.saturating_add(reference.history);
            }
        }
        live.retain(|_, objects| *objects > 0);
        if is_backup {
            let live = live.values().copied().fold(0, u64::saturating_add);
            if live > 0 || history > 0 {
                found.push(Objection::Backup {
                    source: source.name.clone(),
                    live,
                    history,
                });
            }
        } else {
            found.extend(
                live.into_iter()
                    .map(|(resource, objects)| Objection::LiveObjects {
                        source: source.name.clone(),
                        resource: resource.to_owned(),
                        objects,
                    }),
            );
            if history > 0 {
                found.push(Objection::history(&source.name, history, source.revision()));
            }
        }
        for ((reason, prefix), (live, history)) in unknown {
            let waive_as = super::reference::group_name(reason, prefix);
            if (live > 0 || history > 0) && !self.is_waived(&waive_as) {
                found.push(Objection::UnknownKey {
                    source: source.name.clone(),
                    reason,
                    prefix: prefix.to_owned(),
                    live,
                    history,
                    waive_as,
                });
            }
        }
    }

    fn replicas(&self, found: &mut Vec<Objection>) {
        for replica in &self.content.replicas {
            if self.is_asked(&replica.writes_with) {
                found.push(Objection::ReplicaWrites {
                    replica: replica.name.clone(),
                });
            }
        }
    }

    fn not_scanned(&self, found: &mut Vec<Objection>) {
        for source in &self.content.not_scanned {
            self.push_not_scanned(&source.name, source.kind, found);
        }
    }

    fn push_not_scanned(&self, name: &str, kind: UnscannedKind, found: &mut Vec<Objection>) {
        if !self.is_waived(name) {
            found.push(Objection::NotScanned {
                name: name.to_owned(),
                kind,
            });
        }
    }

    fn is_waived(&self, name: &str) -> bool {
        self.content
            .waivers
            .iter()
            .any(|waiver| waiver.name == name)
    }

    fn is_asked(&self, stored: &str) -> bool {
        self.key_ids
            .iter()
            .any(|asked| is_same(stored, asked.as_str()))
    }

    /// Whether these values need a key that is asked for, by what they say or by what was said of
    /// their KMS v1 provider.
    fn needs_key(&self, reference: &Reference) -> bool {
        if let Some(key_id) = &reference.key_id {
            return self.is_asked(key_id);
        }
        self.said_of(reference).any(|key_id| self.is_asked(key_id))
    }

    /// Why it cannot be known which key these values need, if nobody said so.
    fn unknown(&self, reference: &Reference) -> Option<UnknownKey> {
        reference
            .unknown
            .filter(|_| self.said_of(reference).next().is_none())
    }

    fn said_of<'a>(&'a self, reference: &'a Reference) -> impl Iterator<Item = &'a str> {
        let provider = reference.kms_v1_provider();
        let keys = self.content.kms_v1_keys.iter();
        keys.filter(move |said| Some(said.provider.as_str()) == provider)
            .map(|said| said.key_id.as_str())
    }
}

/// The name by which the history of a source may be waived.
fn history_name(source: &ScannedSource) -> String {
    if source.live {
        "history".to_owned()
    } else {
        format!("history:{}", source.name)
    }
}

impl Content {
    /// The same with the live cluster scanned anew, and with what replicas said since.
    pub(super) fn renewed(
        &self,
        found: ScannedSource,
        replicas: &[ReplicaState],
        now: SystemTime,
    ) -> Result<Evidence, Error> {
        let mut content = self.clone();
        content.taken_at = now;
        content.sources.retain(|source| !source.is_live_cluster());
        content.sources.push(found);
        content
            .replicas
            .retain(|known| replicas.iter().all(|newer| newer.name != known.name));
        content.replicas.extend_from_slice(replicas);
        EvidenceBuilder::from_content(content).finish()
    }

    /// What is in the way now, and what is not as it was planned.
    pub(super) fn compared_with(&self, plan: &Self, key_ids: &[KeyId]) -> Vec<Objection> {
        let mut found = objections(self, key_ids);
        let revision = |content: &Self| {
            content
                .live_source()
                .map(ScannedSource::revision)
                .unwrap_or_default()
                .get()
        };
        if revision(self) < revision(plan) {
            found.push(Objection::WentBack {
                planned: revision(plan),
                found: revision(self),
            });
        }
        let planned = plan.unknown_groups();
        for (name, count) in self.unknown_groups() {
            let before = planned.get(&name).copied().unwrap_or(0);
            if count > before {
                found.push(Objection::MoreUnknown {
                    name,
                    planned: before,
                    found: count,
                });
            }
        }
        found
    }

    /// How many values there are in the live cluster whose key cannot be known, by the name of
    /// their group.
    fn unknown_groups(&self) -> BTreeMap<String, u64> {
        let mut groups = BTreeMap::new();
        let references = self.live_source().into_iter().flat_map(|it| &it.references);
        for reference in references {
            if let Some(unknown) = reference.unknown {
                let name = super::reference::group_name(unknown, &reference.prefix);
                let count: &mut u64 = groups.entry(name).or_default();
                *count = count
                    .saturating_add(reference.live)
                    .saturating_add(reference.history);
            }
        }
        groups
    }
}
