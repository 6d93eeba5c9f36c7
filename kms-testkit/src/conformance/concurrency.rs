//! Many calls at once, and calls that are given up.

use core::future::poll_fn;
use core::task::Poll;
use std::sync::Arc;

use futures_util::future::join_all;
use kms_core::{CallOptions, KeyProvider, UnwrapOptions, WrapOptions, WrappedKey};

use super::harness::{Harness, wrap};
use super::report::{Outcome, Verdict, Violation, ensure, skip, succeeds};
use super::wrapping::patterned_dek;

const CALLS: usize = 64;
/// A dropped call has been polled this often at most. Most calls end sooner.
const MOST_POLLS: usize = 8;

/// 64 round trips at once, of different DEKs, all succeed and none gets another's answer.
///
/// # Errors
///
/// A [`Violation`] if one fails.
pub async fn concurrent_calls_succeed(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    if !provider.capabilities().wraps {
        return skip("the provider does not wrap");
    }
    let limit = provider.capabilities().max_plaintext_len;
    let calls =
        (1..=CALLS).map(|number| one_call(Arc::clone(&provider), number.min(limit), number));
    let answers: Vec<Result<(), Violation>> = if tokio::runtime::Handle::try_current().is_ok() {
        let tasks = calls.map(tokio::spawn);
        join_all(tasks)
            .await
            .into_iter()
            .map(|task| task.unwrap_or_else(|error| Err(Violation::new(error.to_string()))))
            .collect()
    } else {
        join_all(calls).await
    };
    answers.into_iter().collect::<Result<(), Violation>>()?;
    Ok(Verdict::Held)
}

async fn one_call(
    provider: Arc<dyn KeyProvider>,
    length: usize,
    number: usize,
) -> Result<(), Violation> {
    let what = |step: &str| format!("{step} of concurrent call {number}");
    let dek = patterned_dek(length);
    let wrapped = provider.wrap(&dek, &WrapOptions::default()).await;
    let wrapped = succeeds(wrapped, &what("wrap"))?;
    let opened = provider.unwrap(&wrapped, &UnwrapOptions::default()).await;
    let opened = succeeds(opened, &what("unwrap"))?;
    ensure(opened == dek, || what("another DEK comes out"))
}

/// Calls that are dropped unpolled, after one poll, after two, and so on, leave the provider able
/// to work.
///
/// # Errors
///
/// A [`Violation`] if a later call fails. If it hangs, [`run_all`](super::run_all) notices.
pub async fn cancellation_leaves_no_trace(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let dek = patterned_dek(32);
    let wrapped = match wrap(harness, &dek).await {
        Ok(wrapped) => wrapped,
        Err(outcome) => return *outcome,
    };
    for polls in 0..=MOST_POLLS {
        cancel_each(&*provider, &wrapped, polls).await;
        let what = |step: &str| format!("{step} after calls were dropped at poll {polls}");
        let opened = provider.unwrap(&wrapped, &UnwrapOptions::default()).await;
        ensure(succeeds(opened, &what("unwrap"))? == dek, || {
            what("another DEK comes out")
        })?;
        if provider.capabilities().wraps {
            let call = CallOptions::default();
            succeeds(provider.current_key(&call).await, &what("current_key"))?;
            let again = provider.wrap(&dek, &WrapOptions::default()).await;
            let again = succeeds(again, &what("wrap"))?;
            let opened = provider.unwrap(&again, &UnwrapOptions::default()).await;
            ensure(succeeds(opened, &what("unwrap"))? == dek, || {
                what("another DEK comes out")
            })?;
        }
    }
    Ok(Verdict::Held)
}

async fn cancel_each(provider: &dyn KeyProvider, wrapped: &WrappedKey, polls: usize) {
    let call = CallOptions::default();
    let dek = patterned_dek(32);
    poll_and_drop(provider.current_key(&call), polls).await;
    poll_and_drop(provider.wrap(&dek, &WrapOptions::default()), polls).await;
    poll_and_drop(provider.unwrap(wrapped, &UnwrapOptions::default()), polls).await;
    poll_and_drop(provider.list_keys(&call), polls).await;
    if let Some(id) = wrapped.key_id() {
        poll_and_drop(provider.describe_key(id, &call), polls).await;
    }
}

async fn poll_and_drop(call: impl Future, polls: usize) {
    let mut call = Box::pin(call);
    for _ in 0..polls {
        let ready = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
        if ready {
            return;
        }
        // Gives the runtime a turn, so that the call gets on between two polls.
        let mut yielded = false;
        poll_fn(|context| {
            if core::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
