//! What holds of every plan there can be.

use kms_envelope::kubernetes::EncryptionConfiguration;
use kms_envelope::kubernetes::plan::{Action, PlanRequest, Purpose, Rollout, Step, plan};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use serde_json::{Value, json};

use super::fleet::World;
use super::{gcm, identity, keys, v1, v2, v2_at};

/// Cases of one law.
const CASES: u32 = 96;

fn provider() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => Just(identity()),
        2 => Just(gcm(&["a1"])),
        2 => Just(gcm(&["a2"])),
        1 => Just(gcm(&["a2", "a1"])),
        1 => Just(keys("secretbox", &["s1"])),
        1 => Just(keys("aescbc", &["c1"])),
        3 => Just(v2("vault")),
        3 => Just(v2("hsm")),
        1 => Just(v2_at("alias", "vault")),
        1 => Just(v1("old")),
        // What cannot be planned must be refused, and not slip through.
        1 => Just(crate::local("aesgcm", &[("a1", &[9; 32])])),
        1 => Just(v2_at("vault", "elsewhere")),
    ]
}

fn entry() -> impl Strategy<Value = Value> {
    let names = prop::sample::subsequence(
        vec![
            "secrets",
            "configmaps",
            "deployments.apps",
            "gadgets.example.org",
            "*.apps",
            "*.",
            "*.*",
        ],
        1..=2,
    );
    let providers = prop::collection::vec(provider(), 1..=3);
    (names, providers)
        .prop_map(|(names, providers)| json!({ "resources": names, "providers": providers }))
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(entry(), 1..=2).prop_filter_map("kube-apiserver refuses it", |entries| {
        let file = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": entries,
        })
        .to_string();
        EncryptionConfiguration::parse(&file)
            .is_ok()
            .then_some(file)
    })
}

#[derive(Clone, Debug)]
struct Case {
    from: Option<String>,
    to: String,
    is_counted: bool,
    rollout: Rollout,
    order: [usize; 3],
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::option::weighted(0.9, text()),
        text(),
        any::<bool>(),
        prop_oneof![4 => Just(Rollout::Rolling), 1 => Just(Rollout::AllAtOnce)],
        Just([0, 1, 2]).prop_shuffle(),
    )
        .prop_map(|(from, to, is_counted, rollout, order)| Case {
            from,
            to,
            is_counted,
            rollout,
            order,
        })
}

/// What the walk was over, and how it ended; `None` if there was no plan.
fn walk(
    case: &Case,
    is_left_out: impl Fn(&Step) -> bool,
) -> Option<(Vec<Purpose>, Result<(), String>)> {
    let parse = |text: &String| EncryptionConfiguration::parse(text).unwrap();
    let (from, to) = (case.from.as_ref().map(parse), parse(&case.to));
    let mut world = World::new();
    world.populate(from.as_ref());
    let census = world.census();
    let request = PlanRequest::new(from.as_ref(), &to)
        .with_stored(case.is_counted.then_some(&census))
        .with_rollout(case.rollout);
    let plan = plan(&request);
    if plan.is_refused() {
        assert!(plan.steps.is_empty());
        for objection in &plan.objections {
            assert!(!objection.to_string().is_empty() && !objection.remedy().is_empty());
            // The safety net is there for faults of ours.
            assert_ne!(objection.kind(), "would_be_unreadable", "{objection}");
        }
        return None;
    }
    let last = plan.steps.iter().rev().find_map(|step| match &step.action {
        Action::Configure(file) => Some(file.is_target),
        _ => None,
    });
    assert_ne!(last, Some(false), "the last file is not what was asked for");
    let steps: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| !is_left_out(step))
        .collect();
    let walked = world.walk(from.as_ref(), &steps, &to, case.rollout, case.order);
    let purposes = plan.steps.iter().map(|step| step.purpose).collect();
    Some((purposes, walked))
}

/// Runs a law over as many cases as there are, and says of how many it was true.
fn run(law: impl Fn(&Case) -> Result<bool, TestCaseError>) -> Result<u32, TestError<Case>> {
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let spoken = core::cell::Cell::new(0);
    runner.run(&case(), |case| {
        spoken.set(spoken.get() + u32::from(law(&case)?));
        Ok(())
    })?;
    Ok(spoken.get())
}

#[test]
fn on_every_planned_way_every_server_reads_everything_at_all_times() {
    let walked = run(|case| match walk(case, |_| false) {
        Some((_, Ok(()))) => Ok(true),
        Some((steps, Err(error))) => Err(TestCaseError::fail(format!("{steps:?}: {error}"))),
        None => Ok(false),
    });
    // A planner that refuses everything is safe, and of no use.
    let planned = walked.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        planned > CASES / 5,
        "only {planned} of {CASES} were planned"
    );
}

/// The law above would see it: without the step that makes everybody a reader, somebody meets what
/// they cannot read.
#[test]
fn without_the_readers_step_the_same_walk_is_red() {
    let red = run(
        |case| match walk(case, |step| step.purpose == Purpose::AddReaders) {
            Some((steps, walked))
                if steps.contains(&Purpose::AddReaders) && case.rollout == Rollout::Rolling =>
            {
                prop_assert!(walked.is_err(), "{steps:?}");
                Ok(true)
            }
            _ => Ok(false),
        },
    );
    let red = red.unwrap_or_else(|error| panic!("{error}"));
    assert!(red > CASES / 20, "only {red} cases had such a step");
}

/// And so is it without the migration, where the last step drops what objects are under.
#[test]
fn without_the_migration_the_same_walk_is_red() {
    let red = run(|case| {
        match walk(case, |step| step.purpose == Purpose::Migrate) {
            Some((steps, walked)) if steps.contains(&Purpose::DropReaders) => {
                // Without a configuration before there is nothing under what is dropped but what
                // was written meanwhile, in clear; that is enough.
                prop_assert!(walked.is_err(), "{steps:?}");
                Ok(true)
            }
            _ => Ok(false),
        }
    });
    let red = red.unwrap_or_else(|error| panic!("{error}"));
    assert!(red > CASES / 20, "only {red} cases had such a step");
}
