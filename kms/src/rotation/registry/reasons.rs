//! Why a key may be deleted, or not, and what is not known.

use std::time::SystemTime;

use kms_envelope::rotation::{KeyRecord, Stage};

use super::counts::{Counts, names_no_key};
use super::deletion::permitted_until;
use super::{KeyRole, RegistrySources, shown};

/// How to have leave that lasts.
const AGAIN: &str = "`kms key plan-retire KEY --etcd URL --out evidence.json`, and then `kms key \
                     retire KEY --evidence evidence.json --etcd URL --state PLACE --yes`, looks again \
                     and gives leave for a while";

/// Why a key may be deleted, or not.
pub(super) fn reasons(
    sources: &RegistrySources,
    role: KeyRole,
    recorded: Option<&KeyRecord>,
    counts: Counts,
    now: SystemTime,
) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut say = |reason: String| reasons.push(reason);
    match role {
        KeyRole::Current => say("new objects are under it".to_owned()),
        KeyRole::Pending => say("new objects will be under it".to_owned()),
        _ => {}
    }
    for (count, what) in [
        (counts.live, "live objects are under it"),
        (counts.history, "values of history are under it"),
        (counts.backups, "values of backups are under it"),
        (counts.replicas, "API servers or plugins write with it"),
    ] {
        if let Some(count) = count.filter(|count| *count > 0) {
            say(format!("{count} {what}"));
        }
    }
    if names_no_key(sources) && !matches!(role, KeyRole::Current | KeyRole::Pending) {
        say(
            "there are values that name no key, of KMS v1 or damaged: they may be under it"
                .to_owned(),
        );
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
                    "at revision {}, {}, nothing needed it: {AGAIN}",
                    proof.revision(),
                    shown(proof.taken_at())
                ));
            }
        }
        Stage::Retired => match permitted_until(key, now) {
            Some(until) => {
                let until = shown(until);
                say(format!("leave to delete it was given until {until}"));
                if counts.live.is_none() {
                    say("nothing was counted now: give --etcd before it is deleted".to_owned());
                }
            }
            None => say(format!("leave to delete it has ended: {AGAIN}")),
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

pub(super) fn notes(sources: &RegistrySources) -> Vec<String> {
    let mut notes = sources.notes.clone();
    if sources.record.is_none() {
        notes.push("no rotation is stored here: which keys may be deleted is not known".to_owned());
    }
    if sources.cluster.is_none() {
        notes.push("no objects were counted: give --etcd or --snapshot".to_owned());
    }
    match &sources.writers {
        None => notes.push(
            "no API server was asked which key it writes with: give --replica or --metrics"
                .to_owned(),
        ),
        Some(writers) => notes.extend(
            writers
                .unknown
                .iter()
                .map(|name| format!("{name} did not say which key it writes with")),
        ),
    }
    if sources.backups.is_empty() {
        notes.push("no backup was scanned: give --backup for each that may be restored".to_owned());
    }
    if sources.cluster.as_ref().is_some_and(|it| !it.source.live) {
        notes.push("a copy was counted, which does not say what the cluster holds now".to_owned());
    }
    notes
}
