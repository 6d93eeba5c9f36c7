//! The rotation machine: a stored state of unknown origin is read or refused; from any state that
//! can be, whatever is told in whatever order leads to one that can be stored, read again and gone on
//! from, and that gives out again all that it has given out.
#![no_main]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arbitrary::Arbitrary;
use kms_core::KeyId;
use kms_core::object::{Revision, StoreIdentity};
use kms_envelope::reencrypt::{Census, CensusOptions, Evidence, ScannedSource};
use kms_envelope::rotation::{
    Change, Effect, Event, Observation, ObservedKey, Policy, ProviderName, Remaining, Start, State,
    TaskId, step,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    document: &'a str,
    policy: Policy,
    start: Start,
    events: Vec<(Told, i16)>,
    patch: Option<(u32, u8)>,
}

#[derive(Arbitrary, Debug)]
enum Told {
    Observed(Observation),
    SeenLate(ProviderName, ObservedKey),
    Change(Change),
    Abandon,
    Converged(u8, u8),
    Lagging(u8, u32),
    Migrated(u8),
    Verified(u8, Found, Remaining),
    Failed(u8),
    VerifyNow,
    Retire(u8, Found),
    Compromised(u8),
    Restarted,
    Tick,
    Unasked(TaskId),
}

/// What a census found, and at which revision.
#[derive(Arbitrary, Debug)]
struct Found {
    under: u8,
    revision: u8,
    age: u8,
}

const CLUSTER: &str = "cdf818194e3a8c32";

impl Found {
    fn evidence(&self, state: &State, now: SystemTime) -> Option<Evidence> {
        let mut census = Census::new(CensusOptions::default());
        census.reads_history(None);
        let value = match key(state, self.under) {
            Some(id) => {
                let mut value = b"k8s:enc:kms:v2:kms:\x0a\x04data\x12".to_vec();
                value.push(
                    u8::try_from(id.as_str().len())
                        .ok()
                        .filter(|it| *it < 128)?,
                );
                value.extend(id.as_str().as_bytes());
                value.extend(b"\x1a\x01w");
                value
            }
            None => b"plain".to_vec(),
        };
        let at = Revision::new(u64::from(self.revision));
        census.live(b"/registry/secrets/a/b", &value, false).ok()?;
        census
            .change(b"/registry/secrets/a/b", Some(&value), at, true)
            .ok()?;
        let taken_at = now.checked_sub(Duration::from_secs(u64::from(self.age)))?;
        let identity = StoreIdentity::new("etcd", "fuzz", at, true).with_cluster_id(CLUSTER);
        let source = ScannedSource::cluster(&identity, &census.report(), at, taken_at);
        [
            Evidence::BACKUPS,
            Evidence::REPLICAS,
            Evidence::OTHER_CLUSTERS,
        ]
        .into_iter()
        .fold(Evidence::builder(taken_at), |made, name| {
            made.waive(name, "there are none")
        })
        .scanned(source)
        .finish()
        .ok()
    }
}

fn key(state: &State, number: u8) -> Option<KeyId> {
    let key = state.keys().get(usize::from(number))?;
    Some(key.id().clone())
}

fn task(state: &State, number: u8) -> TaskId {
    let tasks: Vec<_> = state
        .outstanding()
        .iter()
        .filter_map(Effect::task)
        .collect();
    match tasks.len() {
        0 => TaskId::new(number.into()),
        count => tasks[usize::from(number) % count],
    }
}

fn event(told: Told, state: &State, now: SystemTime) -> Option<Event> {
    Some(match told {
        Told::Observed(seen) => Event::Observed(seen),
        Told::SeenLate(provider, key) => Event::SeenLate { provider, key },
        Told::Change(change) => Event::Change(change),
        Told::Abandon => Event::Abandon,
        Told::Converged(of, revision) => Event::Converged {
            task: task(state, of),
            revision: Revision::new(revision.into()),
        },
        Told::Lagging(of, replicas) => Event::Lagging {
            task: task(state, of),
            replicas,
        },
        Told::Migrated(of) => Event::Migrated {
            task: task(state, of),
        },
        Told::Verified(of, found, remaining) => Event::Verified {
            task: task(state, of),
            evidence: found.evidence(state, now)?,
            remaining,
        },
        Told::Failed(of) => Event::Failed {
            task: task(state, of),
        },
        Told::VerifyNow => Event::VerifyNow,
        Told::Retire(of, found) => Event::Retire {
            key: key(state, of)?,
            evidence: found.evidence(state, now)?,
        },
        Told::Compromised(of) => Event::Compromised {
            key: key(state, of)?,
        },
        Told::Restarted => Event::Restarted,
        Told::Tick => Event::Tick,
        Told::Unasked(task) => Event::Failed { task },
    })
}

/// What was stored is read as it was.
fn survives(state: &State) -> String {
    let text = state.to_json().expect("a state can be written");
    let read = State::from_json(&text).expect("what was written is read");
    assert_eq!(read, *state);
    text
}

fuzz_target!(|input: Input<'_>| {
    let mut now = UNIX_EPOCH + Duration::from_secs(1_798_800_000);
    let mut state = match State::from_json(input.document) {
        Ok(read) => read,
        Err(_) => State::new(CLUSTER, input.start, input.policy, now).expect("a policy that is"),
    };
    let mut text = survives(&state);
    for (told, later) in input.events {
        // Clocks go back as well.
        let by = Duration::from_secs(u64::from(later.unsigned_abs()));
        now = if later < 0 { now - by } else { now + by };
        let Some(event) = event(told, &state, now) else {
            continue;
        };
        let taken = step(&state, &event, now);
        let has_changed = taken.state != state;
        assert_eq!(taken.effects.first() == Some(&Effect::Persist), has_changed);
        if let Some(refusal) = &taken.refusal {
            assert!(!refusal.to_string().is_empty() && !refusal.remedy().is_empty());
        }
        state = taken.state;
        text = survives(&state);
        let again = step(&state, &Event::Restarted, now);
        for effect in state.outstanding() {
            let is_same = again.state != state || again.effects.contains(&effect);
            assert!(is_same, "{effect:?} is lost by a restart");
        }
    }
    let Some((at, byte)) = input.patch else {
        return;
    };
    let mut bytes = text.into_bytes();
    let at = at as usize % bytes.len();
    bytes[at] = byte;
    if let Some(read) = String::from_utf8(bytes)
        .ok()
        .and_then(|text| State::from_json(&text).ok())
    {
        survives(&read);
        survives(&step(&read, &Event::Tick, now).state);
    }
});
