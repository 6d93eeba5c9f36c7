//! What is true of every step, whatever happens in whatever order.

use std::time::{Duration, SystemTime};

use kms_core::object::Revision;
use kms_core::{KeyId, KeyState};
use kms_envelope::rotation::{
    Change, Effect, Event, Observation, ObservedKey, Policy, Refusal, Remaining, Retention,
    Rewrite, Stage, Start, State, Step, TaskId, Writes, step,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::evidence::{Stored, evidence};
use super::model::machine;
use super::{CLUSTER, id, provider, start};

const KEYS: [&str; 6] = ["a1", "a2", "a3", "b1", "b2", "c1"];
const STATES: [KeyState; 6] = [
    KeyState::Enabled,
    KeyState::Disabled,
    KeyState::NotYetValid,
    KeyState::Expired,
    KeyState::PendingDestruction,
    KeyState::Destroyed,
];

/// Something that happens, as far as it does not depend on the state.
#[derive(Clone, Debug)]
enum Happening {
    Seen {
        of: usize,
        keys: Vec<(usize, KeyState, Option<i64>, Option<usize>)>,
        current: Option<usize>,
        complete: bool,
    },
    Late {
        key: usize,
        state: KeyState,
        at: i64,
    },
    Asked(usize, usize),
    Answered {
        stale: u64,
        kind: usize,
        replicas: u32,
    },
    Counted {
        stale: u64,
        found: Vec<usize>,
        age: u64,
        back: u64,
        left: (u64, u64, u64),
    },
    Retired {
        key: usize,
        found: Vec<usize>,
        age: u64,
        back: u64,
    },
    Other(usize, usize),
}

fn key() -> std::ops::Range<usize> {
    0..KEYS.len()
}

fn found() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0_usize..KEYS.len() + 3, 0..3)
}

fn seen_key() -> impl Strategy<Value = (usize, KeyState, Option<i64>, Option<usize>)> {
    let at = proptest::option::of(-2_000_i64..2_000);
    let state = prop_oneof![3 => Just(KeyState::Enabled), 1 => select(STATES.to_vec())];
    (key(), state, at, proptest::option::weighted(0.1, key()))
}

fn happening() -> impl Strategy<Value = Happening> {
    let keys = proptest::collection::vec(seen_key(), 0..4);
    let seen = (0_usize..3, keys, proptest::option::of(key()), any::<bool>());
    let seen = seen.prop_map(|(of, keys, current, complete)| Happening::Seen {
        of,
        keys,
        current,
        complete,
    });
    let late = (key(), select(STATES.to_vec()), -2_000_i64..2_000);
    let late = late.prop_map(|(key, state, at)| Happening::Late { key, state, at });
    let stale = || prop_oneof![9 => Just(0_u64), 1 => 1_u64..4];
    let answered = (stale(), 0_usize..4, 0_u32..3);
    let answered = answered.prop_map(|(stale, kind, replicas)| Happening::Answered {
        stale,
        kind,
        replicas,
    });
    let left = (0_u64..3, 0_u64..2, 0_u64..2);
    let counted = (stale(), found(), 0_u64..700, 0_u64..3, left);
    let counted = counted.prop_map(|(stale, found, age, back, left)| Happening::Counted {
        stale,
        found,
        age,
        back,
        left,
    });
    let retired = (key(), found(), 0_u64..700, 0_u64..3);
    let retired = retired.prop_map(|(key, found, age, back)| Happening::Retired {
        key,
        found,
        age,
        back,
    });
    prop_oneof![
        4 => seen,
        1 => late,
        2 => (0_usize..5, key()).prop_map(|(kind, key)| Happening::Asked(kind, key)),
        6 => answered,
        4 => counted,
        2 => retired,
        2 => (0_usize..6, key()).prop_map(|(kind, key)| Happening::Other(kind, key)),
    ]
}

fn beginning() -> impl Strategy<Value = Start> {
    let key = ObservedKey::new(id("a1"), KeyState::Enabled);
    select(vec![
        Start::Plain,
        Start::Unnamed {
            provider: provider("c"),
        },
        Start::Key {
            provider: provider("a"),
            key: key.with_active_at(start() - Duration::from_secs(9_000)),
        },
    ])
}

fn policy() -> impl Strategy<Value = Policy> {
    let retention = select(vec![Retention::WhileNeeded, Retention::UntilNextChange]);
    let rewrite = select(vec![Rewrite::FreshDeks, Rewrite::Rewrap]);
    (retention, rewrite, 2_u32..4, 0_u64..400).prop_map(|(retention, rewrite, keys, lease)| {
        Policy::default()
            .with_retention(retention)
            .with_rewrite(rewrite)
            .with_max_live_keys(keys)
            .with_write_lease(Duration::from_secs(lease))
    })
}

fn moved(time: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time - by } else { time + by }
}

fn observed(of: &(usize, KeyState, Option<i64>, Option<usize>), now: SystemTime) -> ObservedKey {
    let (key, state, at, material) = of;
    ObservedKey::new(id(KEYS[*key]), *state)
        .with_active_at(at.map(|at| moved(now, at)))
        .with_material(material.map(|key| id(KEYS[key])))
}

fn proof(
    found: &[usize],
    revision: u64,
    age: u64,
    now: SystemTime,
) -> kms_envelope::reencrypt::Evidence {
    let objects: Vec<Stored> = found
        .iter()
        .map(|found| match found.checked_sub(KEYS.len()) {
            None => Stored::Under(KEYS[*found].to_owned()),
            Some(0) => Stored::Plain,
            Some(1) => Stored::KmsV1,
            Some(_) => Stored::Damaged,
        })
        .collect();
    evidence(&objects, revision, now - Duration::from_secs(age))
}

impl Happening {
    /// Numbers of tasks are put in order there, so an old one might be a new one's.
    fn with_stale_as_never_given(mut self) -> Self {
        if let Self::Answered { stale, .. } | Self::Counted { stale, .. } = &mut self
            && *stale > 0
        {
            *stale = u64::MAX;
        }
        self
    }

    /// The event, for a state.
    fn event(&self, state: &State, revision: u64, now: SystemTime) -> Event {
        let tasks = state.outstanding();
        let task = |is_meant: &dyn Fn(&Effect) -> bool, stale: u64| {
            let task = tasks
                .iter()
                .filter(|it| is_meant(it))
                .find_map(Effect::task);
            TaskId::new(task.map_or(0, TaskId::get).saturating_sub(stale))
        };
        let any = |effect: &Effect| effect.task().is_some();
        match self {
            Self::Seen {
                of,
                keys,
                current,
                complete,
            } => {
                let keys = keys.iter().map(|key| observed(key, now)).collect();
                let of = provider(["a", "b", "c"][*of]);
                let current = current.map(|key| id(KEYS[key]));
                let seen = Observation::new(of, keys).with_current(current);
                Event::Observed(seen.with_complete(*complete))
            }
            Self::Late { key, state, at } => Event::SeenLate {
                provider: provider(&KEYS[*key][..1]),
                key: observed(&(*key, *state, Some(*at), None), now),
            },
            Self::Asked(kind, key) => {
                let key = KEYS[*key];
                let seen = ObservedKey::new(id(key), KeyState::Enabled).with_active_at(now);
                let of = provider(&key[..1]);
                Event::Change(match kind {
                    0 => Change::Enable {
                        provider: of,
                        key: seen,
                    },
                    1 => Change::Replace {
                        provider: of,
                        key: seen,
                    },
                    2 => Change::Rotate,
                    3 => Change::Rollback { to: id(key) },
                    _ => Change::Disable,
                })
            }
            Self::Answered {
                stale,
                kind,
                replicas,
            } => {
                let check = |it: &Effect| matches!(it, Effect::CheckConvergence { .. });
                match kind {
                    0 => Event::Lagging {
                        task: task(&check, *stale),
                        replicas: *replicas,
                    },
                    1 => Event::Migrated {
                        task: task(&|it| matches!(it, Effect::Migrate { .. }), *stale),
                    },
                    2 => Event::Failed {
                        task: task(&any, *stale),
                    },
                    _ => Event::Converged {
                        task: task(&check, *stale),
                        revision: Revision::new(revision),
                    },
                }
            }
            Self::Counted {
                stale,
                found,
                age,
                back,
                left,
            } => Event::Verified {
                task: task(&|it| matches!(it, Effect::Verify { .. }), *stale),
                evidence: proof(found, revision.saturating_sub(*back), *age, now),
                remaining: Remaining::new(left.0, left.1, left.2),
            },
            Self::Retired {
                key,
                found,
                age,
                back,
            } => Event::Retire {
                key: id(KEYS[*key]),
                evidence: proof(found, revision.saturating_sub(*back), *age, now),
            },
            Self::Other(kind, key) => match kind {
                0 => Event::Abandon,
                1 => Event::VerifyNow,
                2 => Event::Compromised {
                    key: id(KEYS[*key]),
                },
                3 => Event::Restarted,
                _ => Event::Tick,
            },
        }
    }
}

/// Where each key is.
fn stages(state: &State) -> Vec<(KeyId, Stage)> {
    let all = state.keys().iter();
    all.map(|key| (key.id().clone(), key.stage())).collect()
}

fn check_step(
    before: &State,
    event: &Event,
    now: SystemTime,
    taken: &Step,
) -> Result<(), TestCaseError> {
    let after = &taken.state;
    // It can be kept, and goes on the same.
    let text = after.to_json().unwrap();
    let read = State::from_json(&text).unwrap();
    prop_assert_eq!(&read, after, "{}", text);
    prop_assert_eq!(read.to_json().unwrap(), text);

    // What is to be done follows from the state.
    let due = after.outstanding();
    for effect in &taken.effects {
        let is_due = due.contains(effect) || matches!(effect, Effect::Persist | Effect::Alert(_));
        prop_assert!(is_due, "{effect:?}");
    }
    let known = before.outstanding();
    for effect in &due {
        prop_assert!(
            known.contains(effect) || taken.effects.contains(effect),
            "{effect:?}"
        );
    }
    prop_assert_eq!(
        taken.effects.first() == Some(&Effect::Persist),
        before != after
    );

    // One key at most is written with, and never one that was left.
    let active = after
        .keys()
        .iter()
        .filter(|key| key.stage() == Stage::Active);
    prop_assert!(active.count() <= 1);
    prop_assert!(after.epoch() >= before.epoch());
    for (key, was) in stages(before) {
        let Some(now) = after.key(&key) else {
            return Err(TestCaseError::fail(format!("{key} was forgotten")));
        };
        let comes_back = now.stage() == Stage::Active && was > Stage::Active;
        prop_assert!(!comes_back, "{key} became active again");
        prop_assert!(was != Stage::Retired || now.stage() == Stage::Retired);
        if now.stage() == Stage::Retired && was != Stage::Retired {
            let Event::Retire {
                key: asked,
                evidence,
            } = event
            else {
                return Err(TestCaseError::fail(format!("{key} went by itself")));
            };
            prop_assert_eq!(asked, &key);
            prop_assert_eq!(was, Stage::Retirable);
            prop_assert!(evidence.objections(&key).is_empty());
            prop_assert_eq!(&taken.refusal, &None);
        }
        if now.stage() == Stage::Retirable && was != Stage::Retirable {
            prop_assert_eq!(now.objections(), Some(0));
        }
    }
    if let Writes::With(key) = after.writes() {
        let key = after.key(&key).unwrap();
        prop_assert!(key.health().can_wrap() && !key.is_compromised());
    }

    // A refused request changes nothing but what time does, except that it may take a key back.
    match &taken.refusal {
        Some(Refusal::StillReferenced { .. }) | None => {}
        Some(_) => {
            let waited = step(before, &Event::Tick, now);
            prop_assert_eq!(&waited.state, after);
        }
    }
    // Facts may be told twice.
    let again = step(after, event, now);
    if !matches!(
        event,
        Event::Change(_) | Event::Abandon | Event::Retire { .. }
    ) {
        prop_assert_eq!(&again.state, after, "{:?}", event);
    }
    Ok(())
}

/// Takes every step a second time, from the state as the search would have it.
fn decides_nothing(
    begin: Start,
    happenings: &[(Happening, u64)],
    shift: u64,
) -> Result<(), TestCaseError> {
    let policy = machine::policy();
    let mut now = start();
    let mut state = State::new(CLUSTER, begin, policy, now).unwrap();
    for (revision, (happening, ticks)) in happenings.iter().enumerate() {
        now += machine::TICK * u32::try_from(*ticks).unwrap();
        let revision = 100 + revision as u64;
        let happening = happening.clone().with_stale_as_never_given();
        // The same state as the search would have it, at another time.
        let later = start() + machine::TICK * u32::try_from(shift).unwrap();
        let plain = machine::normalized_at(&state, now, later);
        let event = happening.event(&state, revision, now);
        let moved = happening.event(&plain, revision, later);
        let taken = step(&state, &event, now);
        let other = step(&plain, &moved, later);
        prop_assert_eq!(
            taken.refusal.as_ref().map(Refusal::code),
            other.refusal.as_ref().map(Refusal::code)
        );
        prop_assert_eq!(
            machine::normalized_at(&taken.state, now, later),
            machine::normalized_at(&other.state, later, later)
        );
        state = taken.state;
    }
    Ok(())
}

#[test]
fn a_census_counts_when_the_change_that_held_its_key_back_is_given_up() {
    let seen = |key| (key, KeyState::Enabled, None, None);
    let history = [
        Happening::Asked(0, 1),
        Happening::Seen {
            of: 0,
            keys: vec![seen(2), seen(1)],
            current: None,
            complete: false,
        },
        Happening::Counted {
            stale: 0,
            found: vec![0],
            age: 0,
            back: 0,
            left: (0, 0, 0),
        },
        Happening::Other(0, 0),
    ];
    decides_nothing(Start::Plain, &history.map(|it| (it, 0)), 0).unwrap();
}

/// Debug builds are slow; the release run of the long searches takes more of the space, and
/// `PROPTEST_CASES` as much of it as one likes.
fn histories() -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config.cases,
        None if cfg!(debug_assertions) => 96,
        None => 20_000,
    };
    ProptestConfig { cases, ..config }
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn whatever_happens(
        begin in beginning(),
        policy in policy(),
        happenings in proptest::collection::vec((happening(), 0_u64..900), 1..40),
    ) {
        let mut now = start();
        let mut state = State::new(CLUSTER, begin, policy, now).unwrap();
        for (revision, (happening, wait)) in happenings.iter().enumerate() {
            now += Duration::from_secs(*wait);
            let event = happening.event(&state, 100 + revision as u64, now);
            let taken = step(&state, &event, now);
            check_step(&state, &event, now, &taken)?;
            state = taken.state;
        }
    }

    /// What the exhaustive search takes out of a state, so as to tell fewer apart, decides nothing:
    /// absolute times, the numbers of tasks, what is long past, digests.
    #[test]
    fn what_the_search_leaves_out_decides_nothing(
        begin in beginning(),
        happenings in proptest::collection::vec((happening(), 0_u64..4), 1..30),
        shift in 0_u64..3,
    ) {
        decides_nothing(begin, &happenings, shift)?;
    }
}
