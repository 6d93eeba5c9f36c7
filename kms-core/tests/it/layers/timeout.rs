//! `Timeout`.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join5;
use kms_core::layer::Timeout;
use kms_core::{
    CallOptions, Capabilities, Clock as _, Error, ErrorKind, KeyInfo, KeyProvider, KeyState,
    SecretBytes, Tick, UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_testkit::{ManualClock, Operation, Outcome};
use proptest::prelude::*;

use super::{Faults, SECOND, dek, faults, wrapped_by};

fn is_late<T>(answer: Result<T, Error>) -> bool {
    let error = answer.err().unwrap();
    assert_eq!(error.provider(), Some("static"));
    error.kind() == ErrorKind::DeadlineExceeded
}

#[test]
fn every_operation_that_hangs_ends_at_the_limit_and_is_dropped() {
    let (faults, clock) = faults();
    let wrapped = wrapped_by(&faults);
    let operations = [
        Operation::CurrentKey,
        Operation::Wrap,
        Operation::Unwrap,
        Operation::DescribeKey,
        Operation::ListKeys,
    ];
    for operation in operations {
        faults.script(operation, [Outcome::Hang]);
    }
    let provider = Timeout::new(faults.clone(), Arc::new(clock.clone()), SECOND);
    let call = CallOptions::default();
    let (id, dek) = ("first".parse().unwrap(), dek());
    let (wrap, unwrap) = (WrapOptions::default(), UnwrapOptions::default());
    let answers = clock.run(join5(
        provider.current_key(&call),
        provider.wrap(&dek, &wrap),
        provider.unwrap(&wrapped, &unwrap),
        provider.describe_key(&id, &call),
        provider.list_keys(&call),
    ));
    let (a, b, c, d, e) = answers.expect("nothing hangs");
    assert!(is_late(a) && is_late(b) && is_late(c) && is_late(d) && is_late(e));
    assert_eq!(clock.now(), Tick::ORIGIN + SECOND);
    assert_eq!(clock.next_deadline(), None, "no timer is left");
    for operation in operations {
        assert_eq!(faults.cancelled(operation), 1, "{operation:?}");
    }
}

#[test]
fn a_deadline_that_has_passed_makes_no_call() {
    let (faults, clock) = faults();
    clock.advance(SECOND);
    let provider = Timeout::new(faults.clone(), Arc::new(clock.clone()), SECOND);
    let call = CallOptions::default().with_deadline(Tick::ORIGIN + SECOND);
    assert!(is_late(clock.run(provider.current_key(&call)).unwrap()));
    assert_eq!(faults.calls(Operation::CurrentKey), 0);
}

/// Answers with the deadline that it was told, as the name of the key version.
#[derive(Debug)]
struct TellsDeadline;

impl std::fmt::Display for TellsDeadline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("tells")
    }
}

#[async_trait]
impl KeyProvider for TellsDeadline {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        let info = KeyInfo::new("k".parse()?, KeyState::Enabled);
        Ok(info.with_version(format!("{:?}", options.deadline)))
    }

    async fn wrap(&self, _: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        WrappedKey::new("k".parse()?, format!("{:?}", options.call.deadline).into())
    }

    async fn unwrap(&self, _: &WrappedKey, options: &UnwrapOptions) -> Result<SecretBytes, Error> {
        let told = format!("{:?}", options.call.deadline);
        Ok(SecretBytes::from_vec(told.into()))
    }
}

#[test]
fn the_inner_provider_is_told_the_earlier_deadline() {
    let clock = ManualClock::new();
    let provider = Timeout::new(TellsDeadline, Arc::new(clock.clone()), SECOND * 2);
    for (given, told) in [(None, 2), (Some(1), 1), (Some(3), 2)] {
        let mut call = CallOptions::default();
        call.deadline = given.map(|seconds| Tick::ORIGIN + SECOND * seconds);
        let told = format!("{:?}", Some(Tick::ORIGIN + SECOND * told));
        let info = clock.run(provider.current_key(&call)).unwrap().unwrap();
        assert_eq!(info.version, Some(told.clone()));
        let options = WrapOptions::default().with_call(call.clone());
        let wrapped = clock.run(provider.wrap(&dek(), &options)).unwrap().unwrap();
        assert_eq!(wrapped.ciphertext(), told.as_bytes());
        let options = UnwrapOptions::default().with_call(call);
        let opened = clock
            .run(provider.unwrap(&wrapped, &options))
            .unwrap()
            .unwrap();
        assert_eq!(opened.expose(), told.as_bytes());
    }
}

proptest! {
    /// Whatever the caller says, no call takes longer than the limit or the deadline, and one
    /// that answers before is not touched.
    #[test]
    fn no_call_outlives_its_time(
        latency in 0_u64..100,
        limit in 1_u64..100,
        deadline in proptest::option::of(1_u64..100),
    ) {
        let (faults, clock): (Faults, _) = faults();
        let tick = |millis| Tick::ORIGIN + std::time::Duration::from_millis(millis);
        faults.set_latency(Operation::CurrentKey, std::time::Duration::from_millis(latency));
        let limit_after = std::time::Duration::from_millis(limit);
        let provider = Timeout::new(faults, Arc::new(clock.clone()), limit_after);
        let mut call = CallOptions::default();
        call.deadline = deadline.map(tick);
        let answer = clock.run(provider.current_key(&call)).unwrap();
        let end = deadline.unwrap_or(limit).min(limit);
        if latency < end {
            prop_assert!(answer.is_ok());
            prop_assert_eq!(clock.now(), tick(latency));
        } else if latency > end {
            prop_assert!(is_late(answer));
            prop_assert_eq!(clock.now(), tick(end));
        } else {
            prop_assert_eq!(clock.now(), tick(end));
        }
    }
}
