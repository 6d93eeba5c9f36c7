//! What a rotation is waiting for, in words.

use std::time::SystemTime;

use kms_envelope::rotation::{Activity, Effect, Expectation, Stage, State, Writes};

use super::shown;

/// What it is waiting for; empty if for nothing but a new version.
pub(super) fn for_what(state: &State, now: SystemTime) -> Vec<String> {
    let mut waiting = Vec::new();
    if let Writes::Stopped { key, why } = state.writes() {
        waiting.push(format!(
            "the key {key}, with which nothing can be written: {why}. To do: {}",
            why.remedy()
        ));
    }
    let coming = state.keys().iter();
    for key in coming.filter(|key| key.stage() == Stage::Pending) {
        waiting.push(match key.active_at() {
            Some(at) if at > now => {
                format!("the key {} to become active at {}", key.id(), shown(at))
            }
            _ => format!("the provider to wrap with the key {}", key.id()),
        });
    }
    let outstanding = state.outstanding();
    for effect in &outstanding {
        match effect {
            Effect::CheckConvergence { expectation, .. } => waiting.push(expected(expectation)),
            Effect::Migrate { .. } => waiting.push("objects to be encrypted again".to_owned()),
            Effect::Verify { .. } => waiting.push("a census".to_owned()),
            Effect::MakeVersion { provider, .. } => {
                waiting.push(format!("a new version of {provider}"));
            }
            Effect::Alert(alert) => {
                waiting.push(format!("an operator: {alert}. To do: {}", alert.remedy()));
            }
            _ => {}
        }
    }
    let is_busy = state.activity() != Activity::Idle || state.change_activity() != Activity::Idle;
    let due = outstanding.iter().find_map(|effect| match effect {
        Effect::WakeAt(due) if *due > now => Some(*due),
        _ => None,
    });
    if let (true, Some(due)) = (is_busy && waiting.is_empty(), due) {
        waiting.push(format!(
            "{}, until {}",
            state.activity().as_str(),
            shown(due)
        ));
    }
    waiting
}

fn expected(expectation: &Expectation) -> String {
    let key = |target: &kms_envelope::rotation::Target| match target.key() {
        Some(id) => format!("the key {id}"),
        None => "no key".to_owned(),
    };
    match expectation {
        Expectation::Reads(target) => format!("every API server to read by {}", key(target)),
        Expectation::Writes(target) => format!("every API server to write with {}", key(target)),
        Expectation::Released(provider) => format!("every API server to do without {provider}"),
        _ => "every API server".to_owned(),
    }
}
