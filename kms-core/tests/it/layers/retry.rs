//! `Retry`.

use std::sync::Arc;
use std::time::Duration;

use kms_core::layer::{Retry, RetryPolicy, Timeout};
use kms_core::{
    CallOptions, Clock as _, Error, ErrorKind, KeyInfo, KeyProvider as _, SecureRandom, Tick,
};
use kms_testkit::{ManualClock, Operation, Outcome};
use proptest::prelude::*;

use super::{Faults, Jitter, SECOND, faults};

const CALL: Operation = Operation::CurrentKey;

/// Random bits all 1 give the longest wait, all 0 the shortest.
#[derive(Debug)]
struct Constant(u8);

impl SecureRandom for Constant {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        bytes.fill(self.0);
        Ok(())
    }
}

#[derive(Debug)]
struct NoRandomness;

impl SecureRandom for NoRandomness {
    fn fill(&self, _: &mut [u8]) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Internal, "no randomness"))
    }
}

fn call(
    faults: &Faults,
    clock: &ManualClock,
    random: impl SecureRandom,
    options: &CallOptions,
) -> Result<KeyInfo, Error> {
    let provider = Retry::new(faults.clone(), Arc::new(clock.clone()), Arc::new(random));
    clock
        .run(provider.current_key(options))
        .expect("nothing hangs")
}

#[test]
fn a_passing_fault_is_not_seen() {
    let (faults, clock) = faults();
    let kinds = [
        ErrorKind::Throttled,
        ErrorKind::Unavailable,
        ErrorKind::Conflict,
    ];
    faults.script(CALL, kinds.map(Outcome::Fail));
    assert!(call(&faults, &clock, Constant(0xff), &CallOptions::default()).is_ok());
    assert_eq!(faults.calls(CALL), 4);
    // 50 + 100 + 200 ms, but for the last step of the random number.
    let waited = clock.now().since(Tick::ORIGIN);
    assert!((349..=350).contains(&waited.as_millis()), "{waited:?}");
}

#[test]
fn attempts_are_bounded_and_the_last_error_is_told() {
    let (faults, clock) = faults();
    faults.set_error_rate(CALL, 1000, ErrorKind::Unavailable);
    let error = call(&faults, &clock, Constant(0), &CallOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(faults.calls(CALL), 4);
    assert_eq!(clock.now(), Tick::ORIGIN, "the shortest wait is none");
}

#[test]
fn what_cannot_get_better_is_not_tried_again() {
    for kind in [
        ErrorKind::Crypto,
        ErrorKind::KeyNotFound,
        ErrorKind::PermissionDenied,
    ] {
        let (faults, clock) = faults();
        faults.script(CALL, [Outcome::Fail(kind)]);
        let error = call(&faults, &clock, Constant(0), &CallOptions::default()).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(faults.calls(CALL), 1);
    }
}

fn throttled(retry_after: Duration) -> Outcome {
    let error = Error::new(ErrorKind::Throttled, "429");
    Outcome::FailWith(error.with_retry_after(retry_after))
}

#[test]
fn the_service_says_when() {
    let (faults, clock) = faults();
    faults.script(CALL, [throttled(SECOND * 3)]);
    assert!(call(&faults, &clock, Constant(0), &CallOptions::default()).is_ok());
    assert_eq!(clock.now(), Tick::ORIGIN + SECOND * 3);
}

#[test]
fn a_wait_to_the_deadline_is_not_begun() {
    let (faults, clock) = faults();
    faults.script(CALL, [throttled(SECOND * 3), throttled(Duration::MAX)]);
    let options = CallOptions::default().with_deadline(Tick::ORIGIN + SECOND * 3);
    for _ in 0..2 {
        let error = call(&faults, &clock, Constant(0), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled);
        assert_eq!(clock.now(), Tick::ORIGIN, "the caller has its time left");
    }
    assert_eq!(faults.calls(CALL), 2);
}

#[test]
fn without_a_deadline_the_budget_ends_it() {
    let (faults, clock) = faults();
    faults.script(CALL, [throttled(SECOND * 9), throttled(SECOND * 9)]);
    let error = call(&faults, &clock, Constant(0), &CallOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!(clock.now(), Tick::ORIGIN + SECOND * 9);
    assert_eq!(faults.calls(CALL), 2);
}

#[test]
fn an_attempt_that_hangs_is_followed_by_another() {
    let (faults, clock) = faults();
    faults.script(CALL, [Outcome::Hang]);
    let attempt = Timeout::new(faults, Arc::new(clock.clone()), SECOND);
    let provider = Retry::new(attempt, Arc::new(clock.clone()), Arc::new(Constant(0)));
    let answer = clock.run(provider.current_key(&CallOptions::default()));
    assert!(answer.expect("the time-out ends it").is_ok());
    assert_eq!(clock.now(), Tick::ORIGIN + SECOND);
}

#[test]
fn a_call_that_hangs_ends_with_the_budget_or_the_deadline() {
    for deadline in [None, Some(SECOND * 3)] {
        let (faults, clock) = faults();
        faults.script(CALL, [Outcome::Fail(ErrorKind::Throttled), Outcome::Hang]);
        let mut options = CallOptions::default();
        options.deadline = deadline.map(|deadline| Tick::ORIGIN + deadline);
        let error = call(&faults, &clock, Constant(0), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.provider(), Some("static"));
        let end = deadline.unwrap_or_else(|| RetryPolicy::default().budget);
        assert_eq!(clock.now(), Tick::ORIGIN + end);
        assert_eq!((faults.calls(CALL), faults.cancelled(CALL)), (2, 1));
        // What went wrong before is not lost.
        let before = std::error::Error::source(&error).unwrap();
        let before = before.downcast_ref::<Error>().unwrap();
        assert_eq!(before.kind(), ErrorKind::Throttled);
    }
}

#[test]
fn the_inner_provider_is_told_when_the_call_ends() {
    let (faults, clock) = faults();
    faults.script(CALL, [Outcome::Hang]);
    // Its own limit is longer than the budget: what ends it is the deadline that it is told.
    let attempt = Timeout::new(faults, Arc::new(clock.clone()), SECOND * 60);
    let provider = Retry::new(attempt, Arc::new(clock.clone()), Arc::new(Constant(0)));
    let answer = clock.run(provider.current_key(&CallOptions::default()));
    let error = answer.expect("it ends").unwrap_err();
    assert!(error.message().contains("by its deadline"), "{error}");
    assert_eq!(clock.now(), Tick::ORIGIN + RetryPolicy::default().budget);
}

#[test]
fn without_randomness_it_waits_longest_and_goes_on() {
    let (faults, clock) = faults();
    faults.script(CALL, [Outcome::Fail(ErrorKind::Throttled)]);
    assert!(call(&faults, &clock, NoRandomness, &CallOptions::default()).is_ok());
    assert_eq!(clock.now(), Tick::ORIGIN + Duration::from_millis(50));
}

proptest! {
    /// Whatever fails how often, however slowly and with what advice: attempts are bounded, nothing
    /// goes on after the deadline or the budget, no wait is longer than jitter and advice allow,
    /// and no time is waited for nothing.
    #[test]
    fn time_and_attempts_are_kept(
        seed: u64,
        failures in 0_usize..8,
        latency in 0_u64..300,
        advice in proptest::option::of(0_u64..2_000),
        base in 0_u64..200,
        max_attempts in 0_u32..6,
        deadline in proptest::option::of(1_u64..3_000),
    ) {
        let millis = Duration::from_millis;
        let (faults, clock) = faults();
        let advice = advice.map(millis);
        let error = Error::new(ErrorKind::Unavailable, "down");
        let error = advice.into_iter().fold(error, Error::with_retry_after);
        faults.set_latency(CALL, millis(latency));
        faults.script(CALL, vec![Outcome::FailWith(error); failures]);
        let policy = RetryPolicy::default()
            .with_max_attempts(max_attempts)
            .with_base_delay(millis(base))
            .with_max_delay(millis(400))
            .with_budget(SECOND * 2);
        let random = Arc::new(Jitter::new(seed));
        let provider = Retry::new(faults.clone(), Arc::new(clock.clone()), random).with_policy(policy);
        let mut options = CallOptions::default();
        options.deadline = deadline.map(|deadline| Tick::ORIGIN + millis(deadline));
        let answer = clock.run(provider.current_key(&options)).unwrap();

        let attempts = faults.calls(CALL);
        let took = clock.now().since(Tick::ORIGIN);
        let end = deadline.map_or(SECOND * 2, millis);
        prop_assert!(attempts <= u64::from(max_attempts.max(1)));
        prop_assert!(took <= end);
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::DeadlineExceeded) {
            prop_assert_eq!(took, end);
            return Ok(());
        }
        prop_assert_eq!(answer.is_ok(), attempts > failures as u64);
        let waits = u32::try_from(attempts - 1).unwrap();
        let working = millis(latency) * (waits + 1);
        let advised = advice.unwrap_or_default() * waits;
        let jitter: Duration = (0..waits).map(|n| (millis(base) * (1 << n)).min(millis(400))).sum();
        prop_assert!(took >= working + advised);
        prop_assert!(took <= working + advised + jitter);
    }
}
