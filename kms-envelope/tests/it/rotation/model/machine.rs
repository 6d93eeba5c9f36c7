//! The code under test, with its states numbered.
//!
//! Every different (state, event) is given to the real `step` once. States are compared as their
//! text, after what decides nothing was taken out of it: absolute times, task numbers and revisions
//! are replaced by their order, which is all that is ever compared, and `laws.rs` checks that this
//! is true.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use kms_core::KeyState;
use kms_core::object::Revision;
use kms_envelope::reencrypt::Evidence;
use kms_envelope::rotation::{
    Activity, Change, Effect, Event, Expectation, Observation, ObservedKey, Policy, Remaining,
    Stage, State, Target, TaskId, Writes, step,
};
use serde_json::Value;

use super::super::evidence::{Stored, evidence};
use super::super::{id, provider, start};
use super::world::{Health, KEYS, Role, Under};
use super::{Fault, Scenario};

/// One unit of the checker's time.
pub(in super::super) const TICK: Duration = Duration::from_secs(60);
/// Times further in the past than this are all alike.
const OLDEST: i64 = 2;

pub(super) const PROVIDERS: [&str; 2] = ["a", "b"];
pub(super) const V1: &str = "v1";

/// Every wait is a tick or two.
pub(in super::super) fn policy() -> Policy {
    Policy::default()
        .with_skew(TICK)
        .with_activation_delay(TICK * 2)
        .with_write_lease(TICK)
        .with_evidence_max_age(TICK)
        .with_permit_life(TICK)
        .with_retry(TICK, TICK)
        .with_reissue_after(TICK * 2)
        .with_verify_again_after(TICK * 2)
}

/// A state as the search has it, moved to another time.
pub(in super::super) fn normalized_at(state: &State, now: SystemTime, to: SystemTime) -> State {
    let mut value = to_value(state);
    let by = since_1970(start()) - since_1970(now);
    each_time(&mut value, &mut |ms| *ms += by);
    normalize(&mut value);
    let by = since_1970(to) - since_1970(start());
    each_time(&mut value, &mut |ms| *ms += by);
    State::from_json(&value.to_string()).unwrap()
}

pub(super) fn name(key: usize) -> String {
    format!("k{key}")
}

pub(super) fn number(name: &str) -> usize {
    name[1..].parse().unwrap()
}

/// What is told to the machine.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Ask {
    /// By a clock that is right, or a tick ahead.
    Tick {
        ahead: bool,
    },
    Restarted,
    Observed {
        provider: u8,
        made: u8,
        health: [u8; KEYS],
        instant: [i8; KEYS],
        late: u8,
        rule: u8,
    },
    Converged {
        role: u8,
        revision: u8,
    },
    Lagging {
        role: u8,
    },
    Migrated,
    Verified {
        found: u8,
        revision: u8,
        age: u8,
    },
    Failed {
        role: u8,
    },
    VerifyNow,
    Retire {
        key: u8,
        found: u8,
        revision: u8,
        age: u8,
    },
    Compromised {
        key: u8,
    },
    Enable {
        key: u8,
    },
    Replace {
        key: u8,
    },
    Disable,
    Abandon,
}

/// What one step came to, before revisions are put in order.
pub(super) struct Outcome {
    raw: usize,
    /// Tasks that are still the same, by bit of [`Role`].
    pub(super) kept: u8,
    /// Tasks whose effects were given out, by bit of [`Role`].
    pub(super) given: u8,
    /// Keys that leave was given for, with how long it holds.
    pub(super) leave: [u8; KEYS],
}

/// What the rest of the checker has to know of a state.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) stage: [Option<Stage>; KEYS],
    pub(super) compromised: u8,
    /// What writers are to use.
    pub(super) target: Under,
    pub(super) writes: Writes,
    pub(super) activity: Activity,
    pub(super) is_settled: bool,
    /// Writers have to be switched by somebody.
    pub(super) reconfigures: bool,
    /// What has to be readable everywhere.
    pub(super) prepares: Under,
    /// The provider that is to be dropped.
    pub(super) drops: Option<u8>,
    /// Which roles have a convergence check to be done.
    pub(super) checks: u8,
    /// Providers that it knows replicas to have.
    pub(super) providers: u8,
}

#[derive(Default)]
pub(super) struct Machines {
    states: Vec<State>,
    pub(super) facts: Vec<Facts>,
    numbers: HashMap<String, u32>,
    /// Task ids of each state by role.
    tasks: Vec<[Option<u64>; 3]>,
    raws: Vec<(Value, Vec<u64>)>,
    raw_numbers: HashMap<String, usize>,
    memo: HashMap<(u32, Ask), std::rc::Rc<Outcome>>,
    aged: HashMap<u32, usize>,
    own_raws: HashMap<u32, usize>,
    ordered: HashMap<(usize, [u8; 3]), (u32, [u8; 3])>,
    evidence: HashMap<(u8, u8, u8), Evidence>,
    pub(super) steps: usize,
}

impl Machines {
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn facts(&self, machine: u32) -> &Facts {
        &self.facts[machine as usize]
    }

    /// The number of a state as it was begun with.
    pub(super) fn begin(&mut self, state: &State) -> u32 {
        let raw = self.raw(state);
        self.order(raw, [0; 3]).0
    }

    /// Gives the machine an event; what comes out has its revisions still to be put in order.
    pub(super) fn ask(
        &mut self,
        machine: u32,
        ask: Ask,
        scenario: &Scenario,
    ) -> std::rc::Rc<Outcome> {
        if let Some(known) = self.memo.get(&(machine, ask)) {
            return std::rc::Rc::clone(known);
        }
        let outcome = std::rc::Rc::new(self.step(machine, ask, scenario));
        self.memo
            .insert((machine, ask), std::rc::Rc::clone(&outcome));
        outcome
    }

    fn step(&mut self, machine: u32, ask: Ask, scenario: &Scenario) -> Outcome {
        self.steps += 1;
        let before = self.states[machine as usize].clone();
        let tasks = self.tasks[machine as usize];
        let now = match ask {
            Ask::Tick { ahead: true } => start() + TICK,
            _ => start(),
        };
        let mut state = before;
        let mut effects = Vec::new();
        let target = self.facts[machine as usize].target;
        for event in self.events(ask, tasks, target, scenario) {
            let taken = step(&state, &event, now);
            state = taken.state;
            effects.extend(taken.effects);
        }
        if scenario.fault == Some(Fault::FallsBack) {
            state = fall_back(&state);
        }
        let after = task_ids(&to_value(&state));
        let mut outcome = Outcome {
            raw: self.raw(&state),
            kept: 0,
            given: 0,
            leave: [0; KEYS],
        };
        for role in Role::ALL {
            let bit = 1 << role as u8;
            let task = after[role as usize];
            let is_kept = task.is_some() && task == tasks[role as usize];
            outcome.kept |= u8::from(is_kept) * bit;
            let is_given = |effect: &Effect| effect.task().map(TaskId::get) == task;
            let is_given = task.is_some() && effects.iter().any(is_given);
            outcome.given |= u8::from(is_given) * bit;
        }
        for effect in &effects {
            if let Effect::PermitDeletion { key, permit } = effect {
                let ticks =
                    permit.until().duration_since(start()).unwrap().as_secs() / TICK.as_secs();
                outcome.leave[number(key.as_str())] = u8::try_from(ticks).unwrap();
            }
        }
        outcome
    }

    fn events(
        &mut self,
        ask: Ask,
        tasks: [Option<u64>; 3],
        target: Under,
        scenario: &Scenario,
    ) -> Vec<Event> {
        let task = |role: u8| TaskId::new(tasks[usize::from(role)].unwrap_or(0));
        let work = task(Role::Work as u8);
        let made = |key: u8| {
            ObservedKey::new(id(&name(key.into())), KeyState::Enabled)
                .with_active_at(start() - TICK * 9)
        };
        let of = |key: u8| provider(PROVIDERS[usize::from(scenario.provider_of(key.into()))]);
        let event = match ask {
            Ask::Tick { .. } => Event::Tick,
            Ask::Restarted => Event::Restarted,
            Ask::Observed {
                provider,
                made,
                health,
                instant,
                late,
                rule,
            } => return observed(provider, made, health, instant, late, rule, scenario),
            Ask::Converged { role, revision } => Event::Converged {
                task: task(role),
                revision: Revision::new(revision.into()),
            },
            Ask::Lagging { role } => Event::Lagging {
                task: task(role),
                replicas: 1,
            },
            Ask::Migrated => Event::Migrated { task: work },
            Ask::Verified {
                found,
                revision,
                age,
            } => Event::Verified {
                task: work,
                evidence: self.evidence(found, revision, age, scenario),
                remaining: remaining(found, target),
            },
            Ask::Failed { role } => Event::Failed { task: task(role) },
            Ask::VerifyNow => Event::VerifyNow,
            Ask::Retire {
                key,
                found,
                revision,
                age,
            } => Event::Retire {
                key: id(&name(key.into())),
                evidence: self.evidence(found, revision, age, scenario),
            },
            Ask::Compromised { key } => Event::Compromised {
                key: id(&name(key.into())),
            },
            Ask::Enable { key } => Event::Change(Change::Enable {
                provider: of(key),
                key: made(key),
            }),
            Ask::Replace { key } => Event::Change(Change::Replace {
                provider: of(key),
                key: made(key),
            }),
            Ask::Disable => Event::Change(Change::Disable),
            Ask::Abandon => Event::Abandon,
        };
        vec![event]
    }

    /// Evidence that a census found these.
    fn evidence(&mut self, found: u8, revision: u8, age: u8, scenario: &Scenario) -> Evidence {
        let known = self.evidence.entry((found, revision, age));
        let made = known.or_insert_with(|| {
            let all = (0..7).filter(|code| found & (1 << code) != 0);
            let objects: Vec<Stored> = all
                .filter_map(|code| match Under::from_code(code) {
                    Under::Plain => Some(Stored::Plain),
                    Under::KmsV1 | Under::Damaged
                        if scenario.fault == Some(Fault::OverlooksUnknown) =>
                    {
                        None
                    }
                    Under::KmsV1 => Some(Stored::KmsV1),
                    Under::Damaged => Some(Stored::Damaged),
                    Under::Key(key) => Some(Stored::Under(name(key.into()))),
                    Under::Nothing => None,
                })
                .collect();
            evidence(&objects, revision.into(), start() - TICK * age.into())
        });
        made.clone()
    }

    /// Lets a tick pass for a state.
    pub(super) fn age(&mut self, machine: u32) -> usize {
        if let Some(aged) = self.aged.get(&machine) {
            return *aged;
        }
        let mut value = to_value(&self.states[machine as usize]);
        each_time(&mut value, &mut |ms| *ms -= TICK.as_millis() as i64);
        let raw = self.intern_raw(value);
        self.aged.insert(machine, raw);
        raw
    }

    fn raw(&mut self, state: &State) -> usize {
        self.intern_raw(to_value(state))
    }

    fn intern_raw(&mut self, mut value: Value) -> usize {
        normalize(&mut value);
        let text = value.to_string();
        if let Some(known) = self.raw_numbers.get(&text) {
            return *known;
        }
        let mut revisions = Vec::new();
        each_revision(&mut value, &mut |revision| revisions.push(*revision));
        let number = self.raws.len();
        self.raws.push((value, revisions));
        self.raw_numbers.insert(text, number);
        number
    }

    /// The same state, among other revisions.
    pub(super) fn reorder(&mut self, machine: u32, revisions: [u8; 3]) -> (u32, [u8; 3]) {
        let raw = match self.own_raws.get(&machine) {
            Some(raw) => *raw,
            None => {
                let raw = self.raw(&self.states[machine as usize].clone());
                self.own_raws.insert(machine, raw);
                raw
            }
        };
        self.order(raw, revisions)
    }

    pub(super) fn outcome(&mut self, outcome: &Outcome, revisions: [u8; 3]) -> (u32, [u8; 3]) {
        self.order(outcome.raw, revisions)
    }

    /// Replaces revisions by their order among all that are remembered anywhere.
    pub(super) fn order(&mut self, raw: usize, others: [u8; 3]) -> (u32, [u8; 3]) {
        if let Some(known) = self.ordered.get(&(raw, others)) {
            return *known;
        }
        let (value, own) = &self.raws[raw];
        let mut all = own.clone();
        all.extend(others.map(u64::from));
        all.sort_unstable();
        all.dedup();
        let rank = |revision: u64| all.binary_search(&revision).unwrap() as u64;
        let mut value = value.clone();
        each_revision(&mut value, &mut |revision| *revision = rank(*revision));
        let text = value.to_string();
        let machine = match self.numbers.get(&text) {
            Some(known) => *known,
            None => {
                let state =
                    State::from_json(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                let number = u32::try_from(self.states.len()).unwrap();
                self.tasks.push(task_ids(&value));
                self.facts.push(facts(&state));
                self.states.push(state);
                self.numbers.insert(text, number);
                number
            }
        };
        let ordered = (machine, others.map(|revision| rank(revision.into()) as u8));
        self.ordered.insert((raw, others), ordered);
        ordered
    }
}

fn observed(
    of: u8,
    made: u8,
    health: [u8; KEYS],
    instant: [i8; KEYS],
    late: u8,
    rule: u8,
    scenario: &Scenario,
) -> Vec<Event> {
    let whose = provider(PROVIDERS[usize::from(of)]);
    let mine = (0..KEYS).filter(|key| made & (1 << key) != 0 && scenario.provider_of(*key) == of);
    let seen: Vec<(usize, ObservedKey)> = mine
        .map(|key| {
            let state = match Health::ALL[usize::from(health[key])] {
                Health::Fine => KeyState::Enabled,
                Health::Disabled => KeyState::Disabled,
                Health::Expired => KeyState::Expired,
                Health::Deleted | Health::Gone => KeyState::Destroyed,
            };
            let ticks = instant[key];
            let at = if ticks < 0 {
                start() - TICK * u32::from(ticks.unsigned_abs())
            } else {
                start() + TICK * u32::from(ticks.unsigned_abs())
            };
            (
                key,
                ObservedKey::new(id(&name(key)), state).with_active_at(at),
            )
        })
        .collect();
    let late = seen.iter().filter(|(key, _)| late & (1 << key) != 0);
    let late = late.map(|(_, key)| Event::SeenLate {
        provider: whose.clone(),
        key: key.clone(),
    });
    let mut events: Vec<Event> = match scenario.fault {
        Some(Fault::TakesLateForOnTime) => Vec::new(),
        _ => late.collect(),
    };
    let current = (of == 0 && made != 0).then(|| id(&name(rule.into())));
    let all = seen.into_iter().map(|(_, key)| key).collect();
    let look = Observation::new(whose, all).with_current(current);
    events.push(Event::Observed(look));
    events
}

/// The seeded fault of taking an older key when the newest cannot encrypt.
fn fall_back(state: &State) -> State {
    let Writes::Stopped { key, .. } = state.writes() else {
        return state.clone();
    };
    let older = state.keys().iter().rfind(|older| {
        older.stage() == Stage::Previous && older.health().can_wrap() && !older.is_compromised()
    });
    let Some(older) = older else {
        return state.clone();
    };
    let mut value = to_value(state);
    let epoch = value["state"]["epoch"].clone();
    for record in value["state"]["keys"].as_array_mut().unwrap() {
        if record["id"] == key.as_str() {
            record["stage"] = "previous".into();
            record["epoch"] = Value::Null;
        } else if record["id"] == older.id().as_str() {
            record["stage"] = "active".into();
            record["epoch"] = epoch.clone();
        }
    }
    value["state"]["writer"]["key"] = older.id().as_str().into();
    State::from_json(&value.to_string()).unwrap()
}

pub(super) fn to_value(state: &State) -> Value {
    serde_json::from_str(&state.to_json().unwrap()).unwrap()
}

/// Takes out what decides nothing.
pub(super) fn normalize(value: &mut Value) {
    let base = since_1970(start());
    let tick = TICK.as_millis() as i64;
    each_time(value, &mut |ms| *ms = (*ms).max(base - OLDEST * tick));
    let mut ids = Vec::new();
    each_task(value, &mut |task| ids.push(task["id"].as_u64().unwrap()));
    ids.sort_unstable();
    each_task(value, &mut |task| {
        let id = task["id"].as_u64().unwrap();
        task["id"] = (ids.binary_search(&id).unwrap() + 1).into();
        // The first wait is the longest here, so the number of failures decides nothing more.
        task["failures"] = task["failures"].as_u64().unwrap().min(1).into();
    });
    value["state"]["next_task"] = (ids.len() + 1).into();
    // Without an end there is no telling when it began.
    if value["state"]["policy"]["reissue_after_ms"].as_u64() > Some(1 << 30) {
        each_task(value, &mut |task| task["issued"] = base.into());
    }
    for key in value["state"]["keys"].as_array_mut().unwrap() {
        normalize_key(key, base, tick);
    }
}

fn normalize_key(key: &mut Value, base: i64, tick: i64) {
    key["since"] = base.into();
    // What is past by more than the skew is past.
    if let Some(at) = key["active_at"].as_i64() {
        key["active_at"] = at.max(base - tick).into();
    }
    if let Some(objections) = key["objections"].as_u64() {
        key["objections"] = objections.min(1).into();
    }
    let is_left = !matches!(key["stage"].as_str(), Some("pending" | "active"));
    if is_left {
        key["active_at"] = Value::Null;
        key["late"] = false.into();
    }
    // A census is compared with where its key is free, or will be once nothing holds it back.
    let is_free = matches!(key["stage"].as_str(), Some("retirable" | "retired"));
    let is_compared = is_free || key["objections"].as_u64() == Some(0);
    for proof in ["/drained", "/permit/proof"] {
        if let Some(proof) = key.pointer_mut(proof).filter(|proof| !proof.is_null()) {
            proof["taken_at"] = base.into();
            proof["digest"] = "0".repeat(64).into();
            if !is_compared {
                proof["revision"] = 0.into();
            }
        }
    }
}

fn since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

const TIMES: [&str; 6] = [
    "active_at",
    "issued",
    "wait_until",
    "verify_at",
    "until",
    "since",
];

pub(super) fn each_time(value: &mut Value, change: &mut dyn FnMut(&mut i64)) {
    each_field(value, &mut |name, field| {
        if TIMES.contains(&name)
            && let Some(ms) = field.as_i64()
        {
            let mut ms = ms;
            change(&mut ms);
            *field = ms.into();
        }
    });
}

pub(super) fn each_revision(value: &mut Value, change: &mut dyn FnMut(&mut u64)) {
    each_field(value, &mut |name, field| {
        if ["revision", "floor"].contains(&name)
            && let Some(revision) = field.as_u64()
        {
            let mut revision = revision;
            change(&mut revision);
            *field = revision.into();
        }
    });
}

pub(super) fn each_task(value: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    each_field(value, &mut |name, field| {
        if ["task", "release"].contains(&name) && field.is_object() {
            change(field);
        }
    });
}

fn each_field(value: &mut Value, visit: &mut dyn FnMut(&str, &mut Value)) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                visit(name, field);
                each_field(field, visit);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_field(item, visit)),
        _ => {}
    }
}

/// The ids of the tasks of a state, by role.
fn task_ids(value: &Value) -> [Option<u64>; 3] {
    let of = |part: &Value| {
        let variant = part.as_object()?.values().next()?;
        variant["task"]["id"].as_u64()
    };
    let state = &value["state"];
    let mut releases = state["providers"].as_array().unwrap().iter();
    [
        of(&state["work"]),
        of(&state["changing"]),
        releases.find_map(|provider| provider["release"]["id"].as_u64()),
    ]
}

fn under(target: &Target) -> Under {
    target
        .key()
        .map_or(Under::Plain, |key| Under::Key(number(key.as_str()) as u8))
}

fn facts(state: &State) -> Facts {
    let value = to_value(state);
    let tasks = task_ids(&value);
    let mut facts = Facts {
        stage: [None; KEYS],
        compromised: 0,
        target: Under::Nothing,
        writes: state.writes(),
        activity: state.activity(),
        is_settled: state.is_settled(),
        reconfigures: false,
        prepares: Under::Nothing,
        drops: None,
        checks: 0,
        providers: 0,
    };
    for key in state.keys() {
        let number = number(key.id().as_str());
        facts.stage[number] = Some(key.stage());
        facts.compromised |= u8::from(key.is_compromised()) << number;
    }
    facts.target = match &facts.writes {
        Writes::Plain => Under::Plain,
        Writes::With(key) | Writes::Stopped { key, .. } => Under::Key(number(key.as_str()) as u8),
        _ => Under::KmsV1,
    };
    for (bit, name) in PROVIDERS.into_iter().chain([V1]).enumerate() {
        let is_known = state.providers().any(|provider| provider.as_str() == name);
        facts.providers |= u8::from(is_known) << bit;
    }
    for effect in state.outstanding() {
        match &effect {
            Effect::SwitchWriter { .. } => facts.reconfigures = true,
            Effect::AddReader { target, .. } => facts.prepares = under(target),
            Effect::DropReader { provider, .. } => {
                let names = PROVIDERS.into_iter().chain([V1]);
                let place = names
                    .enumerate()
                    .find(|(_, name)| provider.as_str() == *name);
                facts.drops = place.map(|(bit, _)| bit as u8);
            }
            Effect::CheckConvergence { task, expectation } => {
                let role = tasks.iter().position(|id| *id == Some(task.get())).unwrap();
                let expected = match expectation {
                    Expectation::Reads(_) => Role::Change,
                    Expectation::Released(_) => Role::Release,
                    _ => Role::Work,
                };
                assert_eq!(role, expected as usize);
                facts.checks |= 1 << role;
            }
            _ => {}
        }
    }
    facts
}

/// What a census counts that is not as it should be: some, or none.
fn remaining(found: u8, target: Under) -> Remaining {
    let has = |under: Under| u64::from(found & (1 << under.code()) != 0);
    let known = 1 << Under::Damaged.code() | 1 << target.code();
    Remaining::new(
        u64::from(found & !known != 0),
        has(Under::KmsV1),
        has(Under::Damaged),
    )
}
