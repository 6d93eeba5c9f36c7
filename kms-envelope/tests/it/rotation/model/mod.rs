//! Every way that a small cluster can go, with the real `step` in the middle of it.
//!
//! Two replicas (each an API server behind its plugin), three key versions of one or two providers,
//! up to three objects, a driver whose effects get lost, whose answers come late and whose clock is
//! ahead, operators and vault owners who do what they like. The search is exhaustive within a budget
//! of faults. It looks for a world that must not be ([`safety`]), and for one from which no good end
//! can be reached.

pub(super) mod machine;
mod moves;
mod safety;
mod search;
mod world;

use std::time::Instant;

use kms_core::KeyState;
use kms_envelope::rotation::{ObservedKey, Policy, Start, State};

use super::{CLUSTER, id, provider, start};
use machine::{Machines, PROVIDERS, TICK, V1, name};
use search::{Found, search};
use world::{BY_PLAIN, BY_V1, Check, KEYS, READS_V1, Replica, Under, World};

/// Something that is wrong on purpose, to see that the search finds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    /// The driver says that all writers have changed over without asking them.
    AsksNoWriter,
    /// It says that all replicas can read without asking them.
    AsksNoReader,
    /// It reads the store's revision before it asks replicas, and not after.
    ReadsFloorFirst,
    /// It does not count a migration that is under way as a writer.
    ForgetsMigration,
    /// It stamps an old census as one of now.
    StampsOldEvidence,
    /// Its census overlooks objects that name no key.
    OverlooksUnknown,
    /// An operator deletes what is retirable without asking for leave.
    DeletesWithoutAsking,
    /// The machine takes an older key when the newest cannot encrypt.
    FallsBack,
    /// The driver does not say that a version was seen late.
    TakesLateForOnTime,
    /// The policy does not wait for writers that lag behind their plugin.
    WaitsForNoLease,
    /// The policy takes all clocks for equal.
    TakesClocksForEqual,
    /// The policy never gives an effect out again.
    GivesNothingOutAgain,
}

/// What a search begins with and what may happen in it.
#[derive(Clone, Debug)]
struct Scenario {
    name: &'static str,
    /// The provider of each key.
    providers: [u8; KEYS],
    /// How many keys there may be.
    keys: usize,
    /// What replicas write by at first.
    begins: Under,
    objects: [Under; world::OBJECTS],
    /// Keys that a change may be asked for to, by bit.
    changes_to: u8,
    disables: bool,
    /// Faults that may happen on one way, of all kinds together.
    faults: u8,
    /// Keys that may be compromised on one way.
    thefts: u8,
    kinds: Kinds,
    fault: Option<Fault>,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug)]
struct Kinds {
    /// A replica goes down.
    crashes: bool,
    /// A replica cannot see the provider, and so sees a version late.
    blinds: bool,
    /// An effect is lost or fails, or the driver restarts.
    losses: bool,
    /// The driver's clock is ahead of others.
    skews: bool,
    /// A migration goes on after it was forgotten.
    zombies: bool,
    /// A key is disabled, expires or is deleted.
    hurts: bool,
    /// An old value is restored.
    restores: bool,
}

const NOTHING: Kinds = Kinds {
    crashes: false,
    blinds: false,
    losses: false,
    skews: false,
    zombies: false,
    hurts: false,
    restores: false,
};

const ANYTHING: Kinds = Kinds {
    crashes: true,
    blinds: true,
    losses: true,
    skews: true,
    zombies: true,
    hurts: true,
    restores: true,
};

/// Versions of one key follow each other.
const FOLLOWING: Scenario = Scenario {
    name: "three versions of one key",
    providers: [0; KEYS],
    keys: KEYS,
    begins: Under::Key(0),
    objects: [Under::Key(0), Under::Nothing, Under::Nothing],
    changes_to: 0,
    disables: false,
    faults: 0,
    thefts: 0,
    kinds: NOTHING,
    fault: None,
};

impl Scenario {
    const fn provider_of(&self, key: usize) -> u8 {
        self.providers[key]
    }

    fn policy(&self) -> Policy {
        let is = |fault| self.fault == Some(fault);
        let lease = if is(Fault::WaitsForNoLease) { 0 } else { 1 };
        let skew = if is(Fault::TakesClocksForEqual) { 0 } else { 1 };
        // Where no effect is lost it decides nothing.
        let reissue = if is(Fault::GivesNothingOutAgain) || !self.kinds.losses {
            Policy::LONGEST
        } else {
            TICK * 2
        };
        machine::policy()
            .with_skew(TICK * skew)
            .with_write_lease(TICK * lease)
            .with_reissue_after(reissue)
    }

    fn first(&self, machines: &mut Machines) -> World {
        let (begin, writes, reads) = match self.begins {
            Under::Key(key) => {
                let first = ObservedKey::new(id(&name(key.into())), KeyState::Enabled);
                let of = self.provider_of(key.into());
                let begin = Start::Key {
                    provider: provider(PROVIDERS[usize::from(of)]),
                    key: first.with_active_at(start() - TICK * 9),
                };
                (begin, of, 1 << of)
            }
            Under::KmsV1 => {
                let begin = Start::Unnamed {
                    provider: provider(V1),
                };
                (begin, BY_V1, READS_V1)
            }
            _ => (Start::Plain, BY_PLAIN, 0),
        };
        let state = State::new(CLUSTER, begin, self.policy(), start()).unwrap();
        // Objects of KMS v1 are read by whatever wrote them.
        let has_v1 = self.objects.contains(&Under::KmsV1);
        let reads = if has_v1 { reads | READS_V1 } else { reads };
        let replica = Replica {
            up: true,
            server: self.begins,
            reads,
            writes,
            ..Replica::default()
        };
        World {
            machine: machines.begin(&state),
            made: 1,
            instant: [-3; KEYS],
            replicas: [replica; world::REPLICAS],
            objects: self.objects,
            given: 0b111,
            check: Check {
                idle: true,
                ..Check::default()
            },
            faults: self.faults,
            thefts: self.thefts,
            ..World::default()
        }
    }

    fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }
}

fn report(scenario: &Scenario) -> Found {
    let begun = Instant::now();
    let found = search(scenario);
    println!(
        "{}{}: {} worlds ({} good), {} transitions, {} machine states, {} steps, {:.1} s",
        scenario.name,
        scenario
            .fault
            .map_or(String::new(), |it| format!(", {it:?}")),
        found.worlds,
        found.good,
        found.transitions,
        found.machine_states,
        found.steps,
        begun.elapsed().as_secs_f64(),
    );
    found
}

fn holds(scenario: &Scenario) {
    let found = report(scenario);
    if let Some((wrong, story)) = &found.fault {
        panic!("{wrong}:\n{}", story.join("\n"));
    }
    assert!(found.good > 0);
}

/// One scenario out of the environment, for measuring.
#[test]
fn measured() {
    let Ok(wanted) = std::env::var("MODEL") else {
        return;
    };
    let mut scenario = FOLLOWING;
    for part in wanted.split(',') {
        let (name, value) = part.split_once('=').unwrap_or((part, "1"));
        let on = value == "1";
        match name {
            "keys" => scenario.keys = value.parse().unwrap(),
            "faults" => scenario.faults = value.parse().unwrap(),
            "thefts" => scenario.thefts = value.parse().unwrap(),
            "crashes" => scenario.kinds.crashes = on,
            "blinds" => scenario.kinds.blinds = on,
            "losses" => scenario.kinds.losses = on,
            "skews" => scenario.kinds.skews = on,
            "zombies" => scenario.kinds.zombies = on,
            "hurts" => scenario.kinds.hurts = on,
            "restores" => scenario.kinds.restores = on,
            "all" => scenario.kinds = ANYTHING,
            "second" => {
                scenario.objects[1] = match value {
                    "plain" => Under::Plain,
                    "damaged" => Under::Damaged,
                    "v1" => Under::KmsV1,
                    _ => Under::Key(0),
                }
            }
            "plain" => {
                scenario.begins = Under::Plain;
                scenario.objects[0] = Under::Plain;
                scenario.changes_to = 1;
                scenario.disables = true;
            }
            "other" => {
                scenario.providers = [0, 1, 0];
                scenario.changes_to = 2;
            }
            _ => panic!("{name}"),
        }
    }
    holds(&scenario);
}
