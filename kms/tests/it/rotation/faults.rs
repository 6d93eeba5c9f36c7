//! What a provider can do at each step of a rotation, and what comes of it.
//!
//! Each row is run in memory: the fault begins with the step, lasts an hour and is over. What is
//! claimed of every row: nothing that was written becomes unreadable, nothing is freed that is
//! needed, and once the fault is over the rotation comes to its end by itself.

use core::time::Duration;
use std::sync::Mutex;

use kms::rotation::News;
use kms_core::{Clock as _, ErrorKind, KeyId, KeyState};
use kms_envelope::rotation::{Activity, Alert, Stage, State};
use kms_testkit::Operation;

use super::world::World;

const HOUR: Duration = Duration::from_secs(60 * 60);
const OLD: &str = "static-1";
const NEW: &str = "static-2";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    /// Every call fails.
    Down,
    /// Every call takes a minute.
    Slow,
    /// Every call is turned away.
    Throttled,
    /// The new version has expired.
    Expired,
    /// The new version is disabled.
    Disabled,
    /// The version of before is disabled.
    OldDisabled,
}

const FAULTS: [Fault; 6] = [
    Fault::Down,
    Fault::Slow,
    Fault::Throttled,
    Fault::Expired,
    Fault::Disabled,
    Fault::OldDisabled,
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Observe,
    Activate,
    Converge,
    Migrate,
    Verify,
    Retire,
}

const STEPS: [Step; 6] = [
    Step::Observe,
    Step::Activate,
    Step::Converge,
    Step::Migrate,
    Step::Verify,
    Step::Retire,
];

const OPERATIONS: [Operation; 5] = [
    Operation::CurrentKey,
    Operation::Wrap,
    Operation::Unwrap,
    Operation::DescribeKey,
    Operation::ListKeys,
];

fn id(text: &str) -> KeyId {
    text.parse().unwrap()
}

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Self::Down => "every call fails",
            Self::Slow => "every call takes a minute",
            Self::Throttled => "every call is turned away",
            Self::Expired => "the new version has expired",
            Self::Disabled => "the new version is disabled",
            Self::OldDisabled => "the old version is disabled",
        }
    }

    fn begin(self, world: &World) {
        for operation in OPERATIONS {
            match self {
                Self::Down => {
                    world
                        .faults
                        .set_error_rate(operation, 1000, ErrorKind::Unavailable);
                }
                Self::Throttled => {
                    world
                        .faults
                        .set_error_rate(operation, 1000, ErrorKind::Throttled);
                }
                Self::Slow => world.faults.set_latency(operation, Duration::from_secs(60)),
                _ => {}
            }
        }
        self.set_state(world, KeyState::Expired, KeyState::Disabled);
    }

    fn end(self, world: &World) {
        for operation in OPERATIONS {
            world
                .faults
                .set_error_rate(operation, 0, ErrorKind::Unavailable);
            world.faults.set_latency(operation, Duration::ZERO);
        }
        self.set_state(world, KeyState::Enabled, KeyState::Enabled);
    }

    fn set_state(self, world: &World, expired: KeyState, disabled: KeyState) {
        let (key, state) = match self {
            Self::Expired => (NEW, expired),
            Self::Disabled => (NEW, disabled),
            Self::OldDisabled => (OLD, disabled),
            _ => return,
        };
        world.keys.set_state(&id(key), state).unwrap();
    }
}

impl Step {
    /// Whether this is news of its beginning.
    fn begins_with(self, news: &News) -> bool {
        let activity = match self {
            Self::Observe => return true,
            Self::Activate => return is_now(news, NEW, Stage::Pending),
            Self::Retire => return is_now(news, OLD, Stage::Retirable),
            Self::Converge => Activity::Converging,
            Self::Migrate => Activity::Migrating,
            Self::Verify => Activity::Verifying,
        };
        matches!(news, News::Activity { activity: now } if *now == activity)
    }
}

/// Whether it is told in a rotation without any fault: history needs the old key until it is
/// compacted.
fn is_usual(news: &News) -> bool {
    matches!(news, News::Alert(Alert::StillNeeded { .. }))
}

fn is_now(news: &News, key: &str, stage: Stage) -> bool {
    matches!(news, News::Key { id, to, .. } if id.as_str() == key && *to == stage)
}

/// What became of one fault at one step.
fn run(fault: Fault, step: Step) -> String {
    let world = World::new();
    let _ = world.drive(World::options(), HOUR);
    world.keys.add_key(id(NEW), [7; 32]).unwrap();
    if step == Step::Observe {
        fault.begin(&world);
    }
    let made = world.clock.now();
    let began = Mutex::new((step == Step::Observe).then_some(made));
    let outcome = Mutex::new(None);
    let told = Mutex::new(Vec::new());
    let on_news = |news: &News| {
        let mut began = began.lock().unwrap();
        if began.is_none() && step.begins_with(news) {
            *began = Some(world.clock.now());
            fault.begin(&world);
        }
        let is_during = began.is_some() && outcome.lock().unwrap().is_none();
        if is_during && news.is_urgent() && !is_usual(news) {
            let what = match news {
                News::Alert(alert) => alert.code(),
                News::ProviderFails(failure) | News::Failed { failure, .. } => failure.kind(),
                _ => news.code(),
            };
            let mut told = told.lock().unwrap();
            if !told.iter().any(|it| it == what) {
                told.push(what.to_owned());
            }
        }
    };
    let operator = async {
        // Between the looks of the driver and of API servers, so that who comes first does not depend
        // on who is asked first.
        world.clock.sleep_until(made + Duration::from_secs(5)).await;
        loop {
            world
                .clock
                .sleep_until(world.clock.now() + Duration::from_secs(10))
                .await;
            let now = world.clock.now();
            if now.since(made) >= Duration::from_secs(600) && world.current() == id(OLD) {
                // Refused while it is disabled.
                let _ = world.keys.make_current(&id(NEW));
            }
            let is_over = began
                .lock()
                .unwrap()
                .is_some_and(|it| now.since(it) >= HOUR);
            if is_over && outcome.lock().unwrap().is_none() {
                *outcome.lock().unwrap() = Some(place_of(&world.rotation()));
                fault.end(&world);
            }
        }
    };
    let _ = world.drive_beside(World::options(), 5 * HOUR, operator, on_news);
    let place = format!("{fault:?} at {step:?}");
    let at_end = outcome
        .into_inner()
        .unwrap()
        .unwrap_or_else(|| panic!("{place}: never began"));
    assert_eq!(world.under(&id(NEW)), 30, "{place}");
    assert_eq!(world.readable(), 30, "{place}");
    let state = world.rotation();
    assert!(state.is_settled(), "{place}: {state:?}");
    assert_eq!(
        state.key(&id(OLD)).unwrap().stage(),
        Stage::Retirable,
        "{place}"
    );
    assert_eq!(
        state.key(&id(NEW)).unwrap().stage(),
        Stage::Active,
        "{place}"
    );
    let told = told.into_inner().unwrap();
    match told.is_empty() {
        true => at_end,
        false => format!("{at_end}; `{}`", told.join("`, `")),
    }
}

/// Where the rotation is, in a word or two.
fn place_of(state: &State) -> String {
    let stage = |key: &str| state.key(&id(key)).map(|key| key.stage());
    let place = match (stage(OLD), stage(NEW), state.activity()) {
        (Some(Stage::Active), None, Activity::Idle) => "not seen",
        (Some(Stage::Active), Some(Stage::Pending), Activity::Idle) => "pending",
        (Some(Stage::Previous), Some(Stage::Active), Activity::Converging) => "waits for writers",
        (Some(Stage::Previous), Some(Stage::Active), Activity::Migrating) => "migrates",
        (Some(Stage::Previous), Some(Stage::Active), Activity::Idle) => "old key kept",
        (Some(Stage::Retirable), Some(Stage::Active), Activity::Idle) => "done",
        other => panic!("{other:?}"),
    };
    place.to_owned()
}

/// R26, R58: the table in the driver's documentation is what happens.
#[test]
fn every_fault_at_every_step_has_its_documented_outcome() {
    let documentation = include_str!("../../../src/rotation/driver/mod.rs");
    let mut table = String::new();
    for fault in FAULTS {
        let outcomes = STEPS.map(|step| run(fault, step));
        table.push_str(&format!(
            "/// | {} | {} |\n",
            fault.name(),
            outcomes.join(" | ")
        ));
    }
    assert!(documentation.contains(&table), "the table is:\n{table}");
}
