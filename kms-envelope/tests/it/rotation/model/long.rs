//! Searches that take long, so that only a release build has them:
//! `cargo test --release -p kms-envelope --test it -- rotation::model --include-ignored --nocapture`.
//!
//! Each visits every world that its budget of faults allows, and says the budget in its name. None
//! ends before it is through.

use super::{CRASHING, Fault, Kinds, NEEDED, NOTHING, Scenario, TWO, finds, holds};

/// Whatever can go wrong in a cluster whose keys are well. Versions that are enabled late and clocks
/// that differ are in no budget: they happen as often as they can.
const EVERYTHING: Kinds = Kinds {
    crashes: true,
    blinds: true,
    late: true,
    losses: true,
    skews: true,
    zombies: true,
    ..NOTHING
};

/// R26, R27.
#[test]
#[ignore = "needs minutes of a processor"]
fn two_versions_and_one_fault_of_any_kind() {
    holds(&Scenario {
        name: "two versions, one fault of any kind, late versions, clock skew",
        faults: 1,
        kinds: EVERYTHING,
        ..TWO
    });
}

/// R26, R27: a crash, a late sighting, a lost effect and a restart of the driver, each once at most.
#[test]
#[ignore = "needs minutes of a processor"]
fn two_versions_and_each_fault_once() {
    holds(&Scenario {
        name: "two versions, each fault once, late versions, clock skew",
        faults: 4,
        once: true,
        kinds: Kinds {
            zombies: false,
            ..EVERYTHING
        },
        ..TWO
    });
}

/// R26, R27: two replicas and three versions. A replica crashes, or cannot see the provider and so
/// sees a version late, or an effect is lost or fails, or the driver restarts: one of these in one
/// history, at any point of it, while the driver's clock may be ahead at any time. With versions that
/// are enabled late as well there are more than 20 million worlds, which is not searched.
#[test]
#[ignore = "needs minutes of a processor"]
fn three_versions_on_time_and_one_fault_of_any_kind() {
    holds(&Scenario {
        name: "three versions that are enabled when made, one fault of any kind, clock skew",
        keys: 3,
        faults: 1,
        kinds: Kinds {
            late: false,
            zombies: false,
            ..EVERYTHING
        },
        ..TWO
    });
}

#[test]
#[ignore = "needs minutes of a processor"]
fn three_versions_and_one_crash_or_late_sighting() {
    holds(&Scenario {
        name: "three versions, one crash or late sighting",
        keys: 3,
        ..CRASHING
    });
}

#[test]
#[ignore = "needs minutes of a processor"]
fn three_versions_and_one_lost_effect_or_restart_while_clocks_differ() {
    holds(&Scenario {
        name: "three versions, one lost effect or restart, clock skew",
        keys: 3,
        faults: 1,
        kinds: Kinds {
            losses: true,
            skews: true,
            ..NOTHING
        },
        ..TWO
    });
}

#[test]
#[ignore = "needs minutes of a processor"]
fn it_finds_a_late_version_that_is_taken_for_one_on_time() {
    let scenario = Scenario {
        name: "late versions and crashes",
        faults: 2,
        kinds: Kinds {
            crashes: true,
            hurts: true,
            ..NOTHING
        },
        ..TWO
    };
    finds(scenario, Fault::TakesLateForOnTime, NEEDED);
}
