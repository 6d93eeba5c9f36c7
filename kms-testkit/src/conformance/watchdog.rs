//! Ends a rule that would never end.

use core::future::poll_fn;
use core::pin::pin;
use core::task::{Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use super::report::{Outcome, Violation};

#[derive(Default)]
struct Alarm {
    rung: bool,
    waker: Option<Waker>,
}

/// Real time, because what hangs may hang on anything; and a thread, because no runtime can be
/// taken for granted. It ends with the rule.
pub(super) async fn within(patience: Duration, rule: impl Future<Output = Outcome>) -> Outcome {
    let alarm = Arc::new(Mutex::new(Alarm::default()));
    let (done, is_done) = mpsc::channel::<()>();
    let ringer = Arc::clone(&alarm);
    let thread = std::thread::Builder::new().name("kms-testkit watchdog".to_owned());
    let _detached = thread.spawn(move || {
        if is_done.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
            let waker = {
                let mut alarm = ringer.lock().unwrap_or_else(PoisonError::into_inner);
                alarm.rung = true;
                alarm.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    });
    let mut rule = pin!(rule);
    let outcome = poll_fn(|context| {
        if let Poll::Ready(outcome) = rule.as_mut().poll(context) {
            return Poll::Ready(outcome);
        }
        let mut alarm = alarm.lock().unwrap_or_else(PoisonError::into_inner);
        if alarm.rung {
            return Poll::Ready(Err(Violation::new(format!("no end within {patience:?}"))));
        }
        alarm.waker = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
    drop(done);
    outcome
}
