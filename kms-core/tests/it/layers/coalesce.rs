//! `Coalesce`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{join, join_all};
use kms_core::layer::{Coalesce, Retry, RetryPolicy, Timeout};
use kms_core::{
    CallOptions, Clock, EncryptionContext, ErrorKind, KeyProvider as _, Tick, UnwrapOptions,
    WrapOptions, WrappedKey,
};
use kms_testkit::{Operation, Outcome};
use proptest::prelude::*;

use super::{Jitter, SECOND, dek, faults, wrapped_by};

const CALL: Operation = Operation::Unwrap;

#[test]
fn a_stampede_is_one_call() {
    let (faults, clock) = faults();
    let wrapped = wrapped_by(&faults);
    faults.set_latency(CALL, SECOND);
    let provider = Coalesce::new(faults.clone());
    let options = UnwrapOptions::default();
    let callers = (0..1_000).map(|_| provider.unwrap(&wrapped, &options));
    for answer in clock.run(join_all(callers)).unwrap() {
        assert_eq!(answer.unwrap(), dek());
    }
    assert_eq!(faults.calls(CALL), 1);
    assert_eq!(clock.now(), Tick::ORIGIN + SECOND);
    assert_eq!(provider.in_flight(), 0);
}

/// The same across threads, on a runtime, while every third caller gives up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stampede_of_tasks_is_one_call_for_each_key() {
    let (faults, clock) = faults();
    let keys = [wrapped_by(&faults), wrapped_by(&faults)];
    faults.set_latency(CALL, SECOND);
    let provider = Arc::new(Coalesce::new(faults.clone()));
    let joined = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for number in 0..900 {
        let (provider, joined) = (provider.clone(), joined.clone());
        let wrapped = keys[number % 2].clone();
        let gives_up = number % 3 == 1;
        let task = tokio::spawn(async move {
            let options = UnwrapOptions::default();
            let mut call = provider.unwrap(&wrapped, &options);
            assert!((&mut call).now_or_never().is_none());
            joined.fetch_add(usize::from(!gives_up), Ordering::SeqCst);
            call.await
        });
        if gives_up {
            task.abort();
        } else {
            tasks.push(task);
        }
    }
    // Time stands still until all have joined, so nobody comes late.
    while joined.load(Ordering::SeqCst) < tasks.len() {
        tokio::task::yield_now().await;
    }
    clock.advance(SECOND);
    for answer in join_all(tasks).await {
        assert_eq!(answer.unwrap().unwrap(), dek());
    }
    // A call whose first caller gave up alone was cancelled; of the others there is one a key.
    assert_eq!(faults.calls(CALL) - faults.cancelled(CALL), 2);
    assert_eq!(provider.in_flight(), 0);
}

#[test]
fn a_cancelled_leader_hands_over() {
    let (faults, clock) = faults();
    let wrapped = wrapped_by(&faults);
    faults.set_latency(CALL, SECOND);
    let provider = Coalesce::new(faults.clone());
    let options = UnwrapOptions::default();
    let mut leader = provider.unwrap(&wrapped, &options);
    assert!((&mut leader).now_or_never().is_none());
    let mut follower = provider.unwrap(&wrapped, &options);
    assert!((&mut follower).now_or_never().is_none());
    drop(leader);
    assert_eq!(clock.run(follower).unwrap().unwrap(), dek());
    assert_eq!(faults.calls(CALL), 1);
    assert_eq!(faults.cancelled(CALL), 0);
}

/// The waker that the inner call knows belongs to the shared call and not to the leader: a
/// follower who is only waiting is woken when the leader has gone.
#[test]
fn a_waiting_follower_is_woken_after_the_leader_has_gone() {
    let (faults, clock) = faults();
    let wrapped = wrapped_by(&faults);
    faults.set_latency(CALL, SECOND);
    let provider = Arc::new(Coalesce::new(faults));
    let shared_clock = Arc::new(clock.clone());
    let impatient = Timeout::new(provider.clone(), shared_clock, SECOND / 2);
    let options = UnwrapOptions::default();
    let leader = impatient.unwrap(&wrapped, &options);
    let follower = provider.unwrap(&wrapped, &options);
    let (leader, follower) = clock.run(join(leader, follower)).expect("nobody hangs");
    assert_eq!(leader.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(follower.unwrap(), dek());
}

#[test]
fn when_all_have_gone_so_has_the_call() {
    let (faults, _) = faults();
    let wrapped = wrapped_by(&faults);
    faults.set_latency(CALL, SECOND);
    let provider = Coalesce::new(faults.clone());
    let options = UnwrapOptions::default();
    let mut callers: Vec<_> = (0..3)
        .map(|_| provider.unwrap(&wrapped, &options))
        .collect();
    for caller in &mut callers {
        assert!(caller.now_or_never().is_none());
    }
    assert_eq!(provider.in_flight(), 1);
    drop(callers);
    assert_eq!(provider.in_flight(), 0);
    assert_eq!(faults.cancelled(CALL), 1);
}

#[test]
fn an_error_reaches_all_who_wait_and_the_next_tries_again() {
    let (faults, clock) = faults();
    let wrapped = wrapped_by(&faults);
    faults.script(CALL, [Outcome::Fail(ErrorKind::Unavailable)]);
    faults.set_latency(CALL, SECOND);
    let provider = Coalesce::new(faults.clone());
    let options = UnwrapOptions::default();
    let callers = (0..10).map(|_| provider.unwrap(&wrapped, &options));
    for answer in clock.run(join_all(callers)).unwrap() {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.provider(), Some("static"));
    }
    assert_eq!(faults.calls(CALL), 1);
    assert_eq!(
        clock
            .run(provider.unwrap(&wrapped, &options))
            .unwrap()
            .unwrap(),
        dek()
    );
    assert_eq!(faults.calls(CALL), 2);
}

#[test]
fn callers_end_by_their_own_deadlines() {
    let (faults, clock) = faults();
    let wrapped = wrapped_by(&faults);
    faults.set_latency(CALL, SECOND * 3);
    // The inner one would end the shared call by any caller's deadline that it was told.
    let limited = |inner| Timeout::new(inner, Arc::new(clock.clone()), SECOND * 60);
    let provider = Coalesce::new(limited(faults.clone()));
    let provider = Timeout::new(provider, Arc::new(clock.clone()), SECOND * 60);
    let unwrap = |seconds| {
        let call = CallOptions::default().with_deadline(Tick::ORIGIN + SECOND * seconds);
        let (provider, clock, wrapped) = (&provider, &clock, &wrapped);
        async move {
            let options = UnwrapOptions::default().with_call(call);
            let answer = provider.unwrap(wrapped, &options).await;
            (answer, clock.now().since(Tick::ORIGIN))
        }
    };
    let ((hasty, hasty_end), (patient, patient_end)) =
        clock.run(join(unwrap(1), unwrap(10))).unwrap();
    assert_eq!(hasty.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(hasty_end, SECOND);
    assert_eq!(patient.unwrap(), dek());
    assert_eq!(patient_end, SECOND * 3);
    assert_eq!(faults.calls(CALL), 1);
}

/// One call hangs, the provider is well again, and there is never a moment without a caller.
#[test]
fn a_shared_call_that_hangs_ends_with_the_budget_of_the_retries() {
    let (faults, clock) = faults();
    let wrapped = wrapped_by(&faults);
    faults.script(CALL, [Outcome::Hang]);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let retry = Retry::new(faults, shared.clone(), Arc::new(Jitter::new(1)))
        .with_policy(RetryPolicy::default().with_budget(SECOND * 5));
    let provider = Timeout::new(Coalesce::new(retry), shared, SECOND * 3);
    let callers = (0..20).map(|second| {
        let (provider, clock, wrapped) = (&provider, &clock, &wrapped);
        async move {
            clock.sleep_until(Tick::ORIGIN + SECOND * second).await;
            provider.unwrap(wrapped, &UnwrapOptions::default()).await
        }
    });
    let answers = clock.run(join_all(callers)).expect("nobody hangs");
    for (second, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(opened) => assert!(second >= 5 && opened == dek(), "{second}"),
            Err(error) => {
                assert!(second <= 5, "{second}: {error}");
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            }
        }
    }
}

/// Everything that decides the answer tells calls apart.
#[test]
fn different_questions_are_different_calls() {
    let (faults, clock) = faults();
    let first = wrapped_by(&faults);
    let second = wrapped_by(&faults);
    let bare = WrappedKey::without_key_id(first.ciphertext().to_vec()).unwrap();
    let renamed = WrappedKey::new("other".parse().unwrap(), first.ciphertext().to_vec()).unwrap();
    let noted = first.clone().with_annotation("note", vec![1]).unwrap();
    faults.set_latency(CALL, SECOND);
    let provider = Coalesce::new(faults.clone());
    let plain = UnwrapOptions::default();
    let context = EncryptionContext::new().with("tenant", "a").unwrap();
    let bound = UnwrapOptions::default().with_context(context);
    let keys = [&first, &second, &bare, &renamed, &noted];
    let calls = keys.map(|wrapped| provider.unwrap(wrapped, &plain));
    let calls = calls.into_iter().chain([provider.unwrap(&first, &bound)]);
    let answers = clock.run(join_all(calls)).unwrap();
    let kinds: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(kms_core::Error::kind))
        .collect();
    let (not_found, unsupported) = (ErrorKind::KeyNotFound, ErrorKind::Unsupported);
    let expected = [None, None, None, Some(not_found), None, Some(unsupported)];
    assert_eq!(kinds, expected);
    assert_eq!(faults.calls(CALL), 6);
}

#[test]
fn the_current_key_is_asked_for_once_and_wraps_are_never_shared() {
    let (faults, clock) = faults();
    faults.set_latency(Operation::CurrentKey, SECOND);
    faults.set_latency(Operation::Wrap, SECOND);
    let provider = Coalesce::new(faults.clone());
    let (call, options, dek) = (CallOptions::default(), WrapOptions::default(), dek());
    let keys = join_all((0..10).map(|_| provider.current_key(&call)));
    let wraps = join_all((0..10).map(|_| provider.wrap(&dek, &options)));
    let (keys, wraps) = clock.run(join(keys, wraps)).unwrap();
    assert!(
        keys.into_iter()
            .all(|key| key.unwrap().id.as_str() == "first")
    );
    assert_eq!(faults.calls(Operation::CurrentKey), 1);
    let distinct: std::collections::HashSet<_> = wraps.into_iter().map(Result::unwrap).collect();
    assert_eq!(distinct.len(), 10);
}

proptest! {
    /// Callers come, wait and go in any order: who waits to the end has the right answer, no entry
    /// is left, and there are never more inner calls than times that nobody was there.
    #[test]
    fn any_order_of_coming_and_going_works(
        steps in proptest::collection::vec((0_u8..4, 0_usize..8), 1..60)
    ) {
        let (faults, clock) = faults();
        let keys = [wrapped_by(&faults), wrapped_by(&faults)];
        faults.set_latency(CALL, Duration::from_millis(10));
        let provider = Coalesce::new(faults.clone());
        let options = UnwrapOptions::default();
        let mut callers = Vec::new();
        let mut came = 0;
        for (step, which) in steps {
            match step {
                0 | 1 => {
                    let mut caller = provider.unwrap(&keys[which % 2], &options);
                    came += 1;
                    match (&mut caller).now_or_never() {
                        Some(answer) => prop_assert_eq!(answer.unwrap(), dek()),
                        None => callers.push(caller),
                    }
                }
                2 if !callers.is_empty() => drop(callers.swap_remove(which % callers.len())),
                2 => {}
                _ => clock.advance(Duration::from_millis(which as u64)),
            }
            prop_assert!(provider.in_flight() <= callers.len().min(2));
        }
        for answer in clock.run(join_all(callers)).expect("nobody hangs") {
            prop_assert_eq!(answer.unwrap(), dek());
        }
        prop_assert_eq!(provider.in_flight(), 0);
        prop_assert!(faults.calls(CALL) <= came);
    }
}
