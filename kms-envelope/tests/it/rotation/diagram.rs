//! The diagram in `ROTATION.md` has the transitions that the machine makes, and no others.
//!
//! They are found by enumeration: from every kind of state that can be reached with two keys, of one
//! provider or of two, every kind of event is given to `step`, also such as no honest driver would
//! tell. A kind of state is what decides how its keys go on; one state stands for each. At most one key
//! at a time is disabled, expired or compromised.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::SystemTime;

use kms_core::KeyState;
use kms_core::object::Revision;
use kms_envelope::reencrypt::Evidence;
use kms_envelope::rotation::{
    Activity, Change, Event, KeyPhase, Observation, ObservedKey, Policy, Remaining, Start, State,
    TaskId, step,
};

use super::evidence::{Stored, evidence};
use super::model::machine::TICK;
use super::{CLUSTER, id, provider, start};

/// A key of the provider `a`, and the next version of it or a key of `b`.
const PAIRS: [[&str; 2]; 2] = [["a1", "a2"], ["a1", "b1"]];
/// How far time may go on from one event to the next, in ticks.
const LATEST: u32 = 60;

/// From which phase to which; no phase is outside of the diagram, where a key comes from.
type Edge = (Option<KeyPhase>, Option<KeyPhase>);

fn of(key: &str) -> &'static str {
    if key.starts_with('a') { "a" } else { "b" }
}

/// What evidence may have found.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum FoundUnder {
    Nothing,
    Damaged,
    Key(&'static str),
}

struct Enumeration {
    keys: [&'static str; 2],
    kinds: HashSet<String>,
    edges: BTreeSet<Edge>,
    evidence: BTreeMap<(FoundUnder, SystemTime), Evidence>,
    waiting: VecDeque<(State, SystemTime)>,
    steps: usize,
}

impl Enumeration {
    fn new(keys: [&'static str; 2]) -> Self {
        Self {
            keys,
            kinds: HashSet::new(),
            edges: BTreeSet::new(),
            evidence: BTreeMap::new(),
            waiting: VecDeque::new(),
            steps: 0,
        }
    }

    fn begin(&mut self, begin: Start, policy: &Policy) {
        let state = State::new(CLUSTER, begin, *policy, start()).unwrap();
        for key in state.keys() {
            self.edges.insert((None, Some(key.phase())));
        }
        self.meet(state, start());
    }

    fn meet(&mut self, state: State, now: SystemTime) {
        if in_trouble(&state) < 2 && self.kinds.insert(kind(&state, now)) {
            self.waiting.push_back((state, now));
        }
    }

    fn run(&mut self) {
        while let Some((state, now)) = self.waiting.pop_front() {
            for (event, at) in self.events(&state, now) {
                self.steps += 1;
                let next = step(&state, &event, at).state;
                for key in self.keys.map(id) {
                    let phase = |of: &State| of.key(&key).map(|key| key.phase());
                    let (from, to) = (phase(&state), phase(&next));
                    if from != to {
                        self.edges.insert((from, to));
                    }
                }
                self.meet(next, at);
            }
        }
    }

    fn evidence(&mut self, found: FoundUnder, at: SystemTime) -> Evidence {
        let known = self.evidence.entry((found, at));
        let made = known.or_insert_with(|| {
            let objects = match found {
                FoundUnder::Nothing => vec![Stored::Plain],
                FoundUnder::Damaged => vec![Stored::Damaged],
                FoundUnder::Key(key) => vec![Stored::Under(key.to_owned())],
            };
            evidence(&objects, 100, at)
        });
        made.clone()
    }

    fn events(&mut self, state: &State, now: SystemTime) -> Vec<(Event, SystemTime)> {
        let mut events = vec![Event::VerifyNow, Event::Abandon];
        self.add_looks(&mut events, now);
        self.add_requests(&mut events, now);
        let tasks: BTreeSet<TaskId> = state
            .outstanding()
            .iter()
            .filter_map(|it| it.task())
            .collect();
        for task in tasks {
            self.add_answers(&mut events, task, now);
        }
        let mut events: Vec<_> = events.into_iter().map(|event| (event, now)).collect();
        // Longer than anything that is waited for.
        let later = now + TICK * 4;
        if later <= start() + TICK * LATEST {
            events.push((Event::Tick, later));
        }
        events
    }

    /// What a provider may show.
    fn add_looks(&self, events: &mut Vec<Event>, now: SystemTime) {
        for name in self.keys {
            let looks = [
                (KeyState::Enabled, None),
                (KeyState::Enabled, Some(now - TICK * 9)),
                (KeyState::Enabled, Some(now + TICK * 2)),
                (KeyState::Disabled, None),
                (KeyState::Expired, None),
            ];
            for (state, at) in looks {
                let key = ObservedKey::new(id(name), state).with_active_at(at);
                let look = Observation::new(provider(of(name)), vec![key]).with_complete(false);
                events.push(Event::Observed(look.clone()));
                events.push(Event::Observed(look.with_current(id(name))));
            }
        }
        // All at once, and none any more.
        let mine = self.keys.into_iter().filter(|name| of(name) == "a");
        let all = mine.map(|name| ObservedKey::new(id(name), KeyState::Enabled));
        for keys in [all.collect(), Vec::new()] {
            events.push(Event::Observed(Observation::new(provider("a"), keys)));
        }
    }

    /// What an operator may ask for.
    fn add_requests(&mut self, events: &mut Vec<Event>, now: SystemTime) {
        events.extend([Change::Rotate, Change::Disable].map(Event::Change));
        for name in self.keys {
            let key = ObservedKey::new(id(name), KeyState::Enabled).with_active_at(now - TICK * 9);
            let provider = provider(of(name));
            events.extend(
                [
                    Change::Enable {
                        provider: provider.clone(),
                        key: key.clone(),
                    },
                    Change::Replace { provider, key },
                    Change::Rollback { to: id(name) },
                ]
                .map(Event::Change),
            );
            events.push(Event::Compromised { key: id(name) });
            for found in [FoundUnder::Nothing, FoundUnder::Key(name)] {
                events.push(Event::Retire {
                    key: id(name),
                    evidence: self.evidence(found, now),
                });
            }
        }
    }

    /// What may be told of a task.
    fn add_answers(&mut self, events: &mut Vec<Event>, task: TaskId, now: SystemTime) {
        events.extend([
            Event::Converged {
                task,
                revision: Revision::new(100),
            },
            Event::Migrated { task },
        ]);
        let keys = self.keys.map(FoundUnder::Key);
        for found in [FoundUnder::Nothing, FoundUnder::Damaged]
            .into_iter()
            .chain(keys)
        {
            events.push(Event::Verified {
                task,
                evidence: self.evidence(found, now),
                remaining: Remaining::new(0, 0, u64::from(found == FoundUnder::Damaged)),
            });
        }
    }
}

/// How many keys are in other hands, or may not be used.
fn in_trouble(state: &State) -> usize {
    let keys = state.keys().iter();
    keys.filter(|key| key.is_compromised() || key.health() != KeyState::Enabled)
        .count()
}

/// What decides how the keys of a state go on, as text.
fn kind(state: &State, now: SystemTime) -> String {
    let keys: Vec<_> = state
        .keys()
        .iter()
        .map(|key| {
            let is_due = key.active_at().is_some_and(|at| at <= now);
            (
                (key.id().as_str(), key.phase(), key.stage()),
                (key.health().can_wrap(), key.health().can_unwrap()),
                (key.is_compromised(), key.was_active(), is_due),
                key.objections() == Some(0),
            )
        })
        .collect();
    let (activity, change) = (state.activity(), state.change_activity());
    // Replicas are asked twice, and what they have answered once shows nowhere else.
    let is_confirmed =
        activity == Activity::Converging && state.to_json().unwrap().contains("\"confirmed\":true");
    let effects = state.outstanding();
    let is_asked = effects.iter().any(|effect| effect.task().is_some());
    format!("{keys:?} {activity:?} {change:?} {is_confirmed} {is_asked}")
}

/// Every transition that the machine makes.
fn transitions() -> BTreeSet<Edge> {
    let policy = super::model::machine::policy().with_evidence_max_age(TICK * LATEST);
    let mut edges = BTreeSet::new();
    for keys in PAIRS {
        let mut found = Enumeration::new(keys);
        let first = ObservedKey::new(id("a1"), KeyState::Enabled);
        let begun_with = Start::Key {
            provider: provider("a"),
            key: first.with_active_at(start() - TICK * 9),
        };
        found.begin(begun_with, &policy);
        found.run();
        println!(
            "{keys:?}: {} kinds of states, {} steps, {} transitions",
            found.kinds.len(),
            found.steps,
            found.edges.len()
        );
        edges.extend(found.edges);
    }
    edges
}

/// The transitions that the document draws.
fn drawn() -> BTreeSet<Edge> {
    let document = include_str!("../../../ROTATION.md");
    let (_, rest) = document
        .split_once("```mermaid\nstateDiagram-v2\n")
        .unwrap();
    let (diagram, _) = rest.split_once("```").unwrap();
    let phase = |name: &str| match name {
        "[*]" => None,
        name => {
            let known = KeyPhase::ALL
                .into_iter()
                .find(|phase| phase.as_str() == name);
            Some(known.unwrap_or_else(|| panic!("{name} is no phase")))
        }
    };
    let mut edges = BTreeSet::new();
    for line in diagram.lines() {
        let (edge, _) = line.split_once(':').unwrap_or((line, ""));
        let (from, to) = edge.split_once("-->").unwrap_or_else(|| panic!("{line}"));
        let is_new = edges.insert((phase(from.trim()), phase(to.trim())));
        assert!(is_new, "it is drawn twice: {line}");
    }
    edges
}

fn show(edges: &[Edge]) -> Vec<String> {
    let name = |phase: Option<KeyPhase>| phase.map_or("[*]", KeyPhase::as_str);
    let show = |(from, to): &Edge| format!("{} --> {}", name(*from), name(*to));
    edges.iter().map(show).collect()
}

#[test]
fn the_diagram_draws_what_the_machine_does() {
    let (made, drawn) = (transitions(), drawn());
    let missing: Vec<_> = made.difference(&drawn).copied().collect();
    let never: Vec<_> = drawn.difference(&made).copied().collect();
    assert!(
        missing.is_empty() && never.is_empty(),
        "not drawn: {:#?}\nnever made: {:#?}",
        show(&missing),
        show(&never)
    );
}
