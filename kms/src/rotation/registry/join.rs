//! Bringing together what is known of each key.

use std::time::SystemTime;

use kms_core::{KeyId, KeyInfo};
use kms_envelope::rotation::{KeyRecord, Stage, State};

use super::{KeyRole, Registry, RegistryKey, RegistrySources, RotationStatus, shown, waiting};
use crate::cluster::CensusOutcome;

pub(super) fn join(sources: RegistrySources, now: SystemTime) -> Registry {
    let ids = ids(&sources);
    let state = sources.record.as_ref().map(|(_, record)| &record.state);
    let current = current(&sources);
    let active = ids.iter().position(|id| Some(id) == current.as_ref());
    let previous = previous(&sources, &ids, active);
    let keys: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(at, id)| {
            let role = role_of(&sources, id, at, active, previous.as_ref());
            key(&sources, id, role)
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

/// Every key that anybody names: oldest first, as far as their order is known. Those of the state
/// and of the provider in their order, then those that only objects name.
fn ids(sources: &RegistrySources) -> Vec<KeyId> {
    let mut ids: Vec<KeyId> = Vec::new();
    let mut add = |id: &KeyId| {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    };
    let counted = sources.cluster.iter().chain(&sources.backups);
    let named: Vec<KeyId> = counted
        .flat_map(|outcome| &outcome.report.key_ids)
        .filter_map(|used| KeyId::new(used.key_id.as_deref()?).ok())
        .collect();
    let listed = sources.keys.as_deref().unwrap_or_default();
    let is_known = |id: &KeyId| {
        let state = sources.record.as_ref().map(|(_, record)| &record.state);
        listed.iter().any(|key| key.id == *id) || state.is_some_and(|it| it.key(id).is_some())
    };
    named.iter().filter(|id| !is_known(id)).for_each(&mut add);
    listed.iter().for_each(|key| add(&key.id));
    if let Some((_, record)) = &sources.record {
        record.state.keys().iter().for_each(|key| add(key.id()));
    }
    if let Some(current) = &sources.current {
        add(current);
    }
    ids
}

fn current(sources: &RegistrySources) -> Option<KeyId> {
    let Some((_, record)) = &sources.record else {
        return sources.current.clone();
    };
    let keys = record.state.keys().iter();
    let active = keys.filter(|key| key.stage() == Stage::Active).next_back();
    active.map(|key| key.id().clone())
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

fn key(sources: &RegistrySources, id: &KeyId, role: KeyRole) -> RegistryKey {
    let recorded = recorded(sources, id);
    let listed = listed(sources, id);
    let live_objects = sources.cluster.as_ref().map(|it| live_under(it, id));
    let history = sources
        .cluster
        .as_ref()
        .and_then(|it| history_under(it, id));
    let scanned = sources.backups.iter().map(|backup| {
        let history = history_under(backup, id).unwrap_or_default();
        live_under(backup, id).saturating_add(history)
    });
    let backups = (!sources.backups.is_empty()).then(|| scanned.fold(0_u64, u64::saturating_add));
    let counted = [live_objects, history, backups];
    let in_use = counted.into_iter().flatten().any(|count| count > 0);
    let is_retirable = recorded.is_some_and(|key| key.stage() == Stage::Retirable);
    let safe_to_delete = is_retirable && !in_use && !names_no_key(sources);
    RegistryKey {
        key_id: id.to_string(),
        version: listed.and_then(|key| key.version.clone()),
        role,
        phase: recorded.map(KeyRecord::phase),
        state: listed
            .map(|key| key.state)
            .or_else(|| recorded.map(KeyRecord::health))
            .map(kms_core::KeyState::as_str),
        since: recorded
            .map(KeyRecord::since)
            .or_else(|| listed.and_then(|key| key.created)),
        live_objects,
        history,
        backups,
        safe_to_delete,
        safe_since: recorded.filter(|_| safe_to_delete).map(KeyRecord::since),
        reasons: reasons(sources, role, recorded, counted),
    }
}

fn live_under(outcome: &CensusOutcome, id: &KeyId) -> u64 {
    let used = outcome.report.key_ids.iter();
    used.filter(|used| used.key_id.as_deref() == Some(id.as_str()))
        .fold(0, |sum, used| sum.saturating_add(used.live_objects))
}

fn history_under(outcome: &CensusOutcome, id: &KeyId) -> Option<u64> {
    outcome.report.history.as_ref()?;
    let used = outcome.report.key_ids.iter();
    let counts = used
        .filter(|used| used.key_id.as_deref() == Some(id.as_str()))
        .filter_map(|used| used.records_not_live);
    Some(counts.fold(0, u64::saturating_add))
}

/// Whether something was counted of which nobody knows which key it needs.
fn names_no_key(sources: &RegistrySources) -> bool {
    let counted = sources.cluster.iter().chain(&sources.backups);
    counted
        .flat_map(|outcome| &outcome.report.key_ids)
        .any(|used| {
            used.key_id.is_none()
                && (used.live_objects > 0 || used.records.is_some_and(|records| records > 0))
        })
}

/// Why a key may be deleted, or not.
fn reasons(
    sources: &RegistrySources,
    role: KeyRole,
    recorded: Option<&KeyRecord>,
    [live, history, backups]: [Option<u64>; 3],
) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut say = |reason: String| reasons.push(reason);
    match role {
        KeyRole::Current => say("new objects are under it".to_owned()),
        KeyRole::Pending => say("new objects will be under it".to_owned()),
        _ => {}
    }
    for (count, what) in [
        (live, "live objects are under it"),
        (history, "values of history are under it"),
        (backups, "values of backups are under it"),
    ] {
        if let Some(count) = count.filter(|count| *count > 0) {
            say(format!("{count} {what}"));
        }
    }
    if names_no_key(sources) && !matches!(role, KeyRole::Current | KeyRole::Pending) {
        say("values of KMS v1 name no key, and may be under it".to_owned());
    }
    let Some(key) = recorded else {
        if !matches!(role, KeyRole::Current | KeyRole::Pending) {
            say("that nothing needs it is not proven: see `kms key plan-retire`".to_owned());
        }
        return reasons;
    };
    match key.stage() {
        Stage::Retirable => {
            if let Some(proof) = key.drained() {
                say(format!(
                    "at revision {}, {}, nothing needed it",
                    proof.revision(),
                    shown(proof.taken_at())
                ));
            }
        }
        Stage::Retired => match key.permit() {
            Some(permit) => say(format!(
                "leave to delete it was given until {}",
                shown(permit.until())
            )),
            None => say("leave to delete it has ended: `kms key retire` looks again".to_owned()),
        },
        Stage::Previous => match key.objections() {
            None => say("no census has been taken since it was left".to_owned()),
            Some(0) => say("nothing needed it at the latest census; it is kept for now".to_owned()),
            Some(count) => say(format!(
                "the latest census raised {count} objections: see `kms key plan-retire`"
            )),
        },
        _ => {}
    }
    reasons
}

fn notes(sources: &RegistrySources) -> Vec<String> {
    let mut notes = sources.notes.clone();
    if sources.record.is_none() {
        notes.push("no rotation is stored here: which keys may be deleted is not known".to_owned());
    }
    if sources.cluster.is_none() {
        notes.push("no objects were counted: give --etcd or --snapshot".to_owned());
    }
    if sources.backups.is_empty() {
        notes.push("no backup was scanned: give --backup for each that may be restored".to_owned());
    }
    if sources.cluster.as_ref().is_some_and(|it| !it.source.live) {
        notes.push("a copy was counted, which does not say what the cluster holds now".to_owned());
    }
    notes
}
