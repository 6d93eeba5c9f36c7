//! Bringing together what is known of each key.

use std::time::SystemTime;

use kms_core::{KeyId, KeyInfo, KeyState};
use kms_envelope::rotation::{KeyRecord, Stage, State};

use kms_envelope::reencrypt::names_one_key;

use super::counts::Counts;
use super::deletion::{Deletion, permitted_until};
use super::reasons::{notes, reasons};
use super::{KeyRole, Registry, RegistryKey, RegistrySources, RotationStatus, waiting};

pub(super) fn join(sources: RegistrySources, now: SystemTime) -> Registry {
    let ids = ids(&sources);
    let state = sources.record.as_ref().map(|(_, record)| &record.state);
    let current = sources.current_key();
    let active = ids.iter().position(|id| Some(id) == current.as_ref());
    let previous = previous(&sources, &ids, active);
    let keys: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(at, id)| {
            let role = role_of(&sources, id, at, active, previous.as_ref());
            key(&sources, id, role, now)
        })
        .rev()
        .collect();
    let counted = sources.cluster.iter().chain(&sources.backups);
    let facts: Vec<_> = counted.map(|outcome| outcome.source.clone()).collect();
    Registry {
        schema_version: 1,
        taken_at: now,
        cluster_id: state
            .map(|state| state.cluster_id().to_owned())
            .or_else(|| facts.iter().find_map(|facts| facts.cluster_id.clone())),
        current: current.map(|id| id.to_string()),
        previous: previous.map(|id| id.to_string()),
        notes: notes(&sources),
        rotation: sources.record.map(|(version, record)| RotationStatus {
            version: version.get(),
            activity: record.state.activity().as_str(),
            settled: record.state.is_settled(),
            remaining: record.state.remaining(),
            waiting_for: waiting::for_what(&record.state, now),
            driver: record.driver,
        }),
        sources: facts,
        keys,
    }
}

/// Every key that anybody names, under one name: oldest first, as far as their order is known. Those
/// of the state and of the provider in their order, then those that only objects and replicas name.
fn ids(sources: &RegistrySources) -> Vec<KeyId> {
    let listed = sources.keys.iter().flatten().map(|key| &key.id);
    let record = sources.record.as_ref().map(|(_, record)| &record.state);
    let recorded = record
        .iter()
        .flat_map(|state| state.keys())
        .map(KeyRecord::id);
    let mut known: Vec<KeyId> = Vec::new();
    for id in listed.chain(recorded).chain(&sources.current) {
        if !known.contains(id) {
            known.push(id.clone());
        }
    }
    let counted = sources.cluster.iter().chain(&sources.backups);
    let counted = counted.flat_map(|outcome| &outcome.report.key_ids);
    let counted = counted.filter_map(|used| used.key_id.as_deref());
    let writers = sources.writers.iter().flat_map(|writers| &writers.known);
    let named = counted.chain(writers.map(|replica| replica.writes_with()));
    let mut ids: Vec<KeyId> = Vec::new();
    for id in named.filter_map(|name| KeyId::new(name).ok()) {
        let is_it = |other: &KeyId| names_one_key(id.as_str(), other.as_str());
        if !known.iter().any(is_it) && !ids.iter().any(is_it) {
            ids.push(id);
        }
    }
    ids.extend(known);
    ids
}

/// The key of before: of a stored rotation the newest that writers left, else the one before the
/// current in the provider's list.
fn previous(sources: &RegistrySources, ids: &[KeyId], active: Option<usize>) -> Option<KeyId> {
    if let Some((_, record)) = &sources.record {
        let left = record.state.keys().iter().rev();
        let mut left = left.filter(|key| key.was_active() && key.stage() != Stage::Active);
        if let Some(key) = left.next() {
            return Some(key.id().clone());
        }
    }
    let before = ids.get(..active?)?;
    let listed = sources.keys.as_deref().unwrap_or_default();
    let is_listed = |id: &&KeyId| listed.iter().any(|key| key.id == **id);
    before.iter().rev().find(is_listed).cloned()
}

fn role_of(
    sources: &RegistrySources,
    id: &KeyId,
    at: usize,
    active: Option<usize>,
    previous: Option<&KeyId>,
) -> KeyRole {
    let recorded = recorded(sources, id);
    if active == Some(at) {
        return KeyRole::Current;
    }
    if previous == Some(id) {
        return KeyRole::Previous;
    }
    match (recorded, listed(sources, id)) {
        (Some(key), _) if key.stage() == Stage::Pending => KeyRole::Pending,
        (Some(_), _) => KeyRole::Older,
        (None, Some(_)) if active.is_some_and(|active| at > active) => KeyRole::Pending,
        (None, Some(_)) => KeyRole::Older,
        (None, None) => KeyRole::Unknown,
    }
}

fn recorded<'s>(sources: &'s RegistrySources, id: &KeyId) -> Option<&'s KeyRecord> {
    let state: &State = &sources.record.as_ref()?.1.state;
    state.key(id)
}

fn listed<'s>(sources: &'s RegistrySources, id: &KeyId) -> Option<&'s KeyInfo> {
    sources.keys.as_ref()?.iter().find(|key| key.id == *id)
}

fn key(sources: &RegistrySources, id: &KeyId, role: KeyRole, now: SystemTime) -> RegistryKey {
    let recorded = recorded(sources, id);
    let listed = listed(sources, id);
    let counts = Counts::of(sources, id);
    let deletion = Deletion::of(sources, recorded, counts, now);
    let safe_to_delete = deletion == Deletion::Yes;
    RegistryKey {
        key_id: id.to_string(),
        version: listed.and_then(|key| key.version.clone()),
        role,
        phase: recorded.map(KeyRecord::phase),
        state: listed
            .map(|key| key.state)
            .or_else(|| recorded.map(KeyRecord::health))
            .map(KeyState::as_str),
        since: recorded
            .map(KeyRecord::since)
            .or_else(|| listed.and_then(|key| key.created)),
        live_objects: counts.live,
        history: counts.history,
        backups: counts.backups,
        replicas: counts.replicas,
        deletion,
        safe_to_delete,
        safe_until: recorded.and_then(|key| permitted_until(key, now)),
        safe_since: recorded.filter(|_| safe_to_delete).map(KeyRecord::since),
        reasons: reasons(sources, role, recorded, counts, now),
    }
}
