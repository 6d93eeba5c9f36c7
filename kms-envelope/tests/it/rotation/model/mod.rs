//! Every way that a small cluster can go, with the real `step` in the middle of it.
//!
//! Two replicas (each an API server behind its plugin), three key versions of one or two providers,
//! up to three objects, a driver whose effects get lost, whose answers come late and whose clock is
//! ahead, operators and vault owners who do what they like. The search is exhaustive within a budget
//! of faults, which each scenario states. It looks for a world that must not be ([`safety`]), and for
//! one from which no good end can be reached.

// Debug assertions make these searches ten times slower. CI runs them in a release build.
#[cfg(not(debug_assertions))]
mod long;
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
use search::{Found, STUCK, search};
use world::{BY_PLAIN, BY_V1, Check, KEYS, READS_V1, Replica, Slip, Under, World};

/// Something that is wrong on purpose, to see that the search finds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    /// The driver says that all writers have changed over without asking them.
    AsksNoWriter,
    /// It says that all replicas can read without asking them.
    AsksNoReader,
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
    #[cfg_attr(
        debug_assertions,
        expect(dead_code, reason = "it takes a long search to find it")
    )]
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
    /// Each kind of them happens at most once.
    once: bool,
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
    /// A version is enabled later than it is made. That is no fault of anybody.
    late: bool,
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

impl Kinds {
    const fn allows(&self, slip: Slip) -> bool {
        match slip {
            Slip::Crash => self.crashes,
            Slip::Blind => self.blinds,
            Slip::Loss | Slip::Restart => self.losses,
            Slip::Hurt => self.hurts,
            Slip::Restore => self.restores,
        }
    }
}

const NOTHING: Kinds = Kinds {
    crashes: false,
    blinds: false,
    late: false,
    losses: false,
    skews: false,
    zombies: false,
    hurts: false,
    restores: false,
};

/// Two versions of one key follow each other, and nothing goes wrong.
const TWO: Scenario = Scenario {
    name: "two versions",
    providers: [0; KEYS],
    keys: 2,
    begins: Under::Key(0),
    objects: [Under::Key(0), Under::Nothing, Under::Nothing],
    changes_to: 0,
    disables: false,
    faults: 0,
    once: false,
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

#[test]
fn three_versions_follow_each_other() {
    holds(&Scenario {
        name: "three versions",
        keys: 3,
        ..TWO
    });
}

#[test]
fn replicas_crash_start_and_see_a_version_late() {
    holds(&CRASHING);
}

#[test]
fn versions_are_enabled_late() {
    holds(&LATE);
}

#[test]
fn effects_are_lost_and_clocks_differ() {
    holds(&LOSING);
}

#[test]
fn keys_are_disabled_expire_and_are_deleted() {
    holds(&HURTING);
}

#[test]
fn a_key_is_compromised() {
    holds(&Scenario {
        name: "compromised",
        thefts: 1,
        ..TWO
    });
}

#[test]
fn some_objects_are_plain_damaged_or_of_kms_v1() {
    for second in [Under::Plain, Under::Damaged, Under::KmsV1] {
        holds(&with_second(second));
    }
}

#[test]
fn an_old_value_is_restored() {
    holds(&RESTORING);
}

#[test]
fn another_provider_takes_over() {
    holds(&REPLACING);
}

#[test]
fn encryption_is_switched_on_and_off() {
    holds(&Scenario {
        name: "on and off",
        keys: 1,
        begins: Under::Plain,
        objects: [Under::Plain, Under::Nothing, Under::Nothing],
        changes_to: 1,
        disables: true,
        ..TWO
    });
}

const CRASHING: Scenario = Scenario {
    name: "crashes and late sightings",
    faults: 1,
    kinds: Kinds {
        crashes: true,
        blinds: true,
        ..NOTHING
    },
    ..TWO
};

const LATE: Scenario = Scenario {
    name: "versions that are enabled late, and crashes",
    faults: 1,
    kinds: Kinds {
        crashes: true,
        late: true,
        ..NOTHING
    },
    ..TWO
};

const LOSING: Scenario = Scenario {
    name: "lost effects, clock skew, forgotten migrations",
    faults: 1,
    kinds: Kinds {
        losses: true,
        skews: true,
        zombies: true,
        ..NOTHING
    },
    ..TWO
};

const HURTING: Scenario = Scenario {
    name: "unusable keys",
    faults: 1,
    kinds: Kinds {
        hurts: true,
        ..NOTHING
    },
    ..TWO
};

const RESTORING: Scenario = Scenario {
    name: "restored values",
    faults: 1,
    kinds: Kinds {
        restores: true,
        ..NOTHING
    },
    ..TWO
};

const REPLACING: Scenario = Scenario {
    name: "another provider",
    providers: [0, 1, 0],
    changes_to: 0b10,
    ..TWO
};

const fn with_second(second: Under) -> Scenario {
    Scenario {
        name: "another object",
        objects: [Under::Key(0), second, Under::Nothing],
        ..TWO
    }
}

/// The search finds what is wrong on purpose.
fn finds(scenario: Scenario, fault: Fault, expected: &str) {
    let found = report(&scenario.with_fault(fault));
    let (wrong, _) = found.fault.expect("it is found");
    assert_eq!(wrong, expected, "{fault:?}");
}

const NEEDED: &str = "a key that is needed became retirable";

#[test]
fn it_finds_a_convergence_check_that_is_skipped() {
    finds(CRASHING, Fault::AsksNoWriter, NEEDED);
    let unread = "a replica writes what another cannot read";
    finds(REPLACING, Fault::AsksNoReader, unread);
}

#[test]
fn it_finds_writers_that_lag_and_are_not_waited_for() {
    finds(CRASHING, Fault::WaitsForNoLease, NEEDED);
}

#[test]
fn it_finds_evidence_that_is_stamped_anew() {
    finds(RESTORING, Fault::StampsOldEvidence, NEEDED);
}

#[test]
fn it_finds_a_migration_that_is_forgotten() {
    let scenario = Scenario {
        keys: 3,
        kinds: Kinds {
            zombies: true,
            ..NOTHING
        },
        ..TWO
    };
    finds(scenario, Fault::ForgetsMigration, NEEDED);
}

#[test]
fn it_finds_objects_that_are_overlooked() {
    for second in [Under::Damaged, Under::KmsV1] {
        finds(with_second(second), Fault::OverlooksUnknown, NEEDED);
    }
}

#[test]
fn it_finds_a_key_that_is_deleted_without_another_look() {
    let lost = "an object is under a key that was deleted with leave";
    finds(RESTORING, Fault::DeletesWithoutAsking, lost);
}

#[test]
fn it_finds_that_an_older_key_takes_over() {
    let back = "a key that was left became active again";
    finds(HURTING, Fault::FallsBack, back);
}

#[test]
fn it_finds_an_effect_that_is_never_given_out_again() {
    finds(LOSING, Fault::GivesNothingOutAgain, STUCK);
}

#[test]
fn it_finds_clocks_that_are_taken_for_equal() {
    finds(LOSING, Fault::TakesClocksForEqual, NEEDED);
}
