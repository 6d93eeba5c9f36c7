//! The suite passes what is right and rejects what is not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kms_core::KeyProvider;
use kms_testkit::conformance::{self, Harness, WrapperHarness};
use kms_testkit::{FaultProvider, ManualClock, Operation, Outcome, StaticProvider};
use proptest::prelude::*;

use crate::broken::{Broken, Defect};

#[tokio::test(flavor = "multi_thread")]
async fn the_static_provider_conforms() {
    let harness = WrapperHarness::new(|keys| keys);
    conformance::run_all(&harness).await.assert_complete();
}

#[test]
fn the_suite_needs_no_runtime() {
    let harness = WrapperHarness::new(|keys| keys);
    let report = ManualClock::new()
        .run(conformance::run_all(&harness))
        .unwrap();
    report.assert_complete();
}

#[tokio::test]
async fn a_fault_provider_without_faults_conforms() {
    let clock = Arc::new(ManualClock::new());
    let harness = WrapperHarness::new(|keys| FaultProvider::new(keys, clock.clone()));
    conformance::run_all(&harness).await.assert_complete();
}

#[tokio::test]
async fn without_hooks_rules_are_skipped_and_named() {
    struct Bare(Arc<StaticProvider>);
    #[async_trait]
    impl Harness for Bare {
        fn provider(&self) -> Arc<dyn KeyProvider> {
            self.0.clone()
        }
    }
    let bare = Bare(Arc::new(StaticProvider::generate().unwrap()));
    let report = conformance::run_all(&bare).await;
    let skipped: Vec<_> = report.skipped().collect();
    assert_eq!(
        skipped,
        [
            "another_instance_opens",
            "rotation_keeps_old_keys",
            "key_id_is_bound",
            "disabled_key_is_refused",
            "destroyed_key_is_refused"
        ]
    );
}

/// Each defect is found, by the rule that is there for it.
#[tokio::test(flavor = "multi_thread")]
async fn every_defect_is_found() {
    for (defect, rule) in Defect::ALL {
        let mut instances = 0;
        let mut harness = WrapperHarness::new(|keys| {
            instances += 1;
            if instances == 2 && *defect == Defect::SecondInstanceIsAnother {
                let others = Arc::new(StaticProvider::generate().unwrap());
                return Broken::new(others, *defect);
            }
            Broken::new(keys, *defect)
        });
        if *defect == Defect::HangsAfterCancellation {
            harness = harness.with_patience(Duration::from_millis(200));
        }
        let report = conformance::check_all(&harness).await;
        assert!(
            report.violated().any(|violated| violated == *rule),
            "{defect:?} is not found by {rule}:\n{report}"
        );
    }
}

/// The table covers every rule of the suite, so none is there that cannot fail.
#[tokio::test]
async fn every_rule_can_fail() {
    let report = conformance::check_all(&WrapperHarness::new(|keys| keys)).await;
    for result in report.results() {
        assert!(
            Defect::ALL.iter().any(|(_, rule)| *rule == result.rule),
            "no defect is there for {}",
            result.rule
        );
    }
}

#[tokio::test]
#[should_panic(expected = "VIOLATED round_trip")]
async fn a_violation_panics_and_names_the_rule() {
    let clock = Arc::new(ManualClock::new());
    let harness = WrapperHarness::new(|keys| {
        let faults = FaultProvider::new(keys, clock.clone());
        faults.script(Operation::Unwrap, [Outcome::FlippedByte]);
        faults
    });
    let _ = conformance::run_all(&harness).await;
}

proptest! {
    #[test]
    fn the_text_form_never_panics(text in ".{0,200}") {
        let _ = text.parse::<StaticProvider>();
    }
}
