//! What evidence says about a key.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use kms_core::KeyId;

use super::document::Content;
use super::names::Names;
use super::reference::{FoundReference, Reference, UnknownKey, group_name};
use super::{Objection, ScannedSource, SourceRole, UnscannedKind};

pub(super) fn objections(content: &Content, key_id: &KeyId) -> Vec<Objection> {
    let judge = Judge {
        content,
        asked: Names::of(key_id.as_str()),
    };
    let mut found = judge.clusters();
    for source in &content.sources {
        judge.source(source, &mut found);
    }
    judge.current(&mut found);
    judge.replicas(&mut found);
    judge.not_scanned(&mut found);
    found
}

/// What needs a key, or may need it.
pub(super) fn references(
    content: &Content,
    asked: Names,
) -> impl Iterator<Item = FoundReference<'_>> {
    let each = content.sources.iter();
    each.flat_map(move |source| of_source(content, source, &asked).collect::<Vec<_>>())
}

fn of_source<'a>(
    content: &'a Content,
    source: &'a ScannedSource,
    asked: &Names,
) -> impl Iterator<Item = FoundReference<'a>> {
    let is_given_up = content.gives_up(source);
    source.references.iter().filter_map(move |reference| {
        let unknown = content.unknown(reference);
        let is_waived = match unknown {
            Some(reason) => content.is_waived(&group_name(reason, &reference.prefix)),
            None if content.needs(reference, asked) => false,
            None => return None,
        };
        Some(FoundReference {
            source,
            reference,
            unknown,
            is_waived: is_waived || is_given_up,
        })
    })
}

/// How far the clocks of two machines may be apart.
const MAX_SKEW: Duration = Duration::from_secs(60);

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
    if newest.duration_since(now).unwrap_or_default() > MAX_SKEW {
        return Some(Objection::NotYet);
    }
    let age = now.duration_since(oldest).unwrap_or_default();
    (age > max_age).then(|| Objection::too_old(age, max_age))
}

struct Judge<'a> {
    content: &'a Content,
    asked: Names,
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
        if self.content.gives_up(source) {
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
        for found in of_source(self.content, source, &self.asked) {
            let needing = found.reference;
            if let Some(reason) = found.unknown {
                let counts = unknown.entry((reason, &needing.prefix)).or_default();
                counts.0 = counts.0.saturating_add(needing.live);
                counts.1 = counts.1.saturating_add(needing.history);
            } else {
                let count = live.entry(&needing.resource).or_default();
                *count = count.saturating_add(needing.live);
                history = history.saturating_add(needing.history);
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
            let waive_as = group_name(reason, prefix);
            if (live > 0 || history > 0) && !self.content.is_waived(&waive_as) {
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

    fn current(&self, found: &mut Vec<Objection>) {
        for known in self.content.known_keys.iter().filter(|it| it.current) {
            if self.asked.is_same(&Names::of(&known.key_id)) {
                found.push(Objection::CurrentKey {
                    source: known.source.clone(),
                });
            }
        }
    }

    fn replicas(&self, found: &mut Vec<Objection>) {
        for replica in &self.content.replicas {
            if self.asked.is_same(&Names::of(&replica.writes_with)) {
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
        if !self.content.is_waived(name) {
            found.push(Objection::NotScanned {
                name: name.to_owned(),
                kind,
            });
        }
    }
}

impl Content {
    /// Why it cannot be known which key these values need, if nobody said so.
    pub(super) fn unknown(&self, reference: &Reference) -> Option<UnknownKey> {
        reference
            .unknown
            .filter(|_| self.said_of(reference).next().is_none())
    }

    /// The keys that somebody said a KMS v1 provider uses.
    fn said_of<'a>(&'a self, reference: &'a Reference) -> impl Iterator<Item = &'a str> {
        let provider = reference.kms_v1_provider();
        let keys = self.kms_v1_keys.iter();
        keys.filter(move |said| Some(said.provider.as_str()) == provider)
            .map(|said| said.key_id.as_str())
    }

    /// Whether values need a key, by what they say or by what was said of their KMS v1 provider.
    fn needs(&self, reference: &Reference, asked: &Names) -> bool {
        let is_asked = |key_id: &str| asked.is_same(&Names::of(key_id));
        match &reference.key_id {
            Some(key_id) => is_asked(key_id),
            None => self.said_of(reference).any(is_asked),
        }
    }

    /// Whether nobody will want this backup any more.
    fn gives_up(&self, source: &ScannedSource) -> bool {
        source.role == SourceRole::Backup && !source.live && self.is_waived(&source.name)
    }

    pub(super) fn is_waived(&self, name: &str) -> bool {
        self.waivers.iter().any(|waiver| waiver.name == name)
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
