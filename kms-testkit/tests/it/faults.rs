//! The fault provider does what it is told.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kms_core::{
    CallOptions, Clock as _, ErrorKind, KeyProvider as _, SecretBytes, UnwrapOptions, WrapOptions,
};
use kms_testkit::{FaultProvider, ManualClock, Operation, Outcome, StaticProvider};

const SECOND: Duration = Duration::from_secs(1);

fn provider() -> (FaultProvider<StaticProvider>, ManualClock) {
    let clock = ManualClock::new();
    let keys = StaticProvider::generate().unwrap();
    (FaultProvider::new(keys, Arc::new(clock.clone())), clock)
}

#[test]
fn latency_and_delay_pass_on_the_clock() {
    let (provider, clock) = provider();
    let start = clock.now();
    provider.set_latency(Operation::CurrentKey, SECOND);
    provider.script(Operation::CurrentKey, [Outcome::Delay(2 * SECOND)]);
    clock
        .run(provider.current_key(&CallOptions::default()))
        .unwrap()
        .unwrap();
    assert_eq!(clock.now().since(start), 3 * SECOND);
    clock
        .run(provider.current_key(&CallOptions::default()))
        .unwrap()
        .unwrap();
    assert_eq!(clock.now().since(start), 4 * SECOND);
    clock
        .run(provider.list_keys(&CallOptions::default()))
        .unwrap()
        .unwrap();
    assert_eq!(
        clock.now().since(start),
        4 * SECOND,
        "other operations take no time"
    );
}

#[test]
fn the_error_rate_is_kept_and_repeats() {
    let outcomes = |seed, rate| {
        let (provider, clock) = provider();
        let provider = provider.with_seed(seed);
        provider.set_error_rate(Operation::CurrentKey, rate, ErrorKind::Throttled);
        let call = || {
            clock
                .run(provider.current_key(&CallOptions::default()))
                .unwrap()
        };
        (0..1000).map(|_| call().is_err()).collect::<Vec<bool>>()
    };
    let failed = |outcomes: Vec<bool>| outcomes.into_iter().filter(|failed| *failed).count();
    assert_eq!(outcomes(1, 300), outcomes(1, 300));
    assert_ne!(outcomes(1, 300), outcomes(2, 300));
    assert!((250..350).contains(&failed(outcomes(1, 300))));
    assert_eq!(failed(outcomes(1, 1000)), 1000);
    assert_eq!(failed(outcomes(1, 0)), 0);
}

#[test]
fn wrong_answers_are_wrong_in_one_place() {
    let (provider, clock) = provider();
    let dek = SecretBytes::from_vec(vec![7; 32]);
    let wrap = || {
        clock
            .run(provider.wrap(&dek, &WrapOptions::default()))
            .unwrap()
            .unwrap()
    };
    let right = wrap();
    provider.script(Operation::Wrap, [Outcome::FlippedByte, Outcome::WrongKeyId]);
    let (flipped, renamed) = (wrap(), wrap());
    let unwrap = |wrapped| {
        clock
            .run(provider.unwrap(wrapped, &UnwrapOptions::default()))
            .unwrap()
    };
    assert_eq!(unwrap(&flipped).unwrap_err().kind(), ErrorKind::Crypto);
    assert_eq!(unwrap(&renamed).unwrap_err().kind(), ErrorKind::KeyNotFound);
    provider.script(Operation::Unwrap, [Outcome::FlippedByte]);
    let opened = unwrap(&right).unwrap();
    assert_eq!(
        (opened.expose()[0], &opened.expose()[1..]),
        (6, &[7; 31][..])
    );
    assert_eq!(unwrap(&right).unwrap(), dek);
}

#[test]
fn a_dropped_call_is_counted_as_cancelled() {
    let (provider, clock) = provider();
    provider.script(Operation::CurrentKey, [Outcome::Hang]);
    assert!(
        provider
            .current_key(&CallOptions::default())
            .now_or_never()
            .is_none()
    );
    assert_eq!(
        clock
            .run(provider.current_key(&CallOptions::default()))
            .map(|answer| answer.is_ok()),
        Some(true)
    );
    assert_eq!(provider.calls(Operation::CurrentKey), 2);
    assert_eq!(provider.cancelled(Operation::CurrentKey), 1);
}

#[test]
fn a_scripted_error_arrives_as_it_is() {
    let (provider, clock) = provider();
    let error = kms_core::Error::new(ErrorKind::Throttled, "429").with_retry_after(SECOND);
    provider.script(Operation::ListKeys, [Outcome::FailWith(error)]);
    let error = clock
        .run(provider.list_keys(&CallOptions::default()))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.retry_after(), Some(SECOND));
    assert_eq!(error.provider(), Some("static"));
}
