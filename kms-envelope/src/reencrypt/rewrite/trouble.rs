//! A server that fails, or one object or place that makes it fail.

use core::time::Duration;

use kms_core::object::{ApiResource, ListOptions, Rewriter};
use kms_core::{Clock, Error, ErrorKind, Tick};
use std::sync::{Mutex, PoisonError};

use super::gate::Gate;

/// The first pause after a failure, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The pause after the first 429 that does not say how long.
const FIRST_THROTTLED: Duration = Duration::from_secs(1);
const LONGEST_THROTTLED: Duration = Duration::from_secs(30);
/// The longest pause that a server is granted.
const LONGEST_ASKED: Duration = Duration::from_secs(10 * 60);
/// After so many failures in a row of one thing it is asked whether the server is well otherwise.
const SUSPICIOUS: u32 = 6;

/// What all requests share.
pub(super) struct Line<'a> {
    pub(super) rewriter: &'a dyn Rewriter,
    pub(super) clock: &'a dyn Clock,
    pub(super) gate: Gate<'a>,
    pub(super) patience: Duration,
    /// When a request last came to something.
    succeeded: Mutex<Option<Tick>>,
    throttled: Mutex<u64>,
}

impl<'a> Line<'a> {
    pub(super) fn new(
        rewriter: &'a dyn Rewriter,
        clock: &'a dyn Clock,
        gate: Gate<'a>,
        patience: Duration,
    ) -> Self {
        Self {
            rewriter,
            clock,
            gate,
            patience,
            succeeded: Mutex::new(None),
            throttled: Mutex::new(0),
        }
    }

    /// A request came to something, whatever it was.
    pub(super) fn note_success(&self) {
        *self
            .succeeded
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(self.clock.now());
    }

    /// How often the server asked to slow down.
    pub(super) fn throttled(&self) -> u64 {
        *self
            .throttled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn has_succeeded_since(&self, when: Tick) -> bool {
        let succeeded = *self
            .succeeded
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        succeeded.is_some_and(|succeeded| succeeded > when)
    }

    /// Whether the server answers something else: any answer will do, a refusal as well.
    async fn is_well(&self) -> bool {
        let Ok(namespaces) = ApiResource::new("", "v1", "namespaces") else {
            return false;
        };
        let options = ListOptions::new(namespaces).with_page_limit(1);
        match self.rewriter.list(&options).await {
            Ok(_) => true,
            Err(error) => !error.is_retryable(),
        }
    }
}

/// Failures in a row of one thing.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    first: Option<Tick>,
    attempts: u32,
    /// How long the server has asked us to wait, in all.
    asked: Duration,
}

/// What to do after a failure.
#[derive(Debug)]
pub(super) enum Next {
    /// Try again.
    Again,
    /// Everybody is to stop.
    Stopped,
    /// The server is well, and fails at this.
    ItsOwn(Error),
    /// The server fails at everything, for longer than patience allows; or it is an error that
    /// time does not heal.
    Over(Error),
}

impl Trouble {
    /// Waits, if it makes sense to try again.
    pub(super) async fn after(&mut self, line: &Line<'_>, error: Error) -> Next {
        if !error.is_retryable() {
            return Next::Over(error);
        }
        let now = line.clock.now();
        let first = *self.first.get_or_insert(now);
        // What it asks for is granted on top, but not for ever.
        let granted = self.asked.min(line.patience.saturating_mul(6));
        if now.since(first) >= line.patience.saturating_add(granted) {
            return Next::Over(error);
        }
        if error.kind() == ErrorKind::Throttled {
            return self.be_throttled(line, &error).await;
        }
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts >= SUSPICIOUS && (line.has_succeeded_since(first) || line.is_well().await)
        {
            return Next::ItsOwn(error);
        }
        let own = pause(FIRST_PAUSE, LONGEST_PAUSE, self.attempts);
        let pause = match error.retry_after() {
            Some(after) => {
                let after = after.min(LONGEST_ASKED);
                self.asked = self.asked.saturating_add(after);
                after.max(own)
            }
            None => own,
        };
        if line.gate.sleep_until(line.clock.now() + pause).await {
            Next::Again
        } else {
            Next::Stopped
        }
    }

    /// What one is told is meant for all.
    async fn be_throttled(&mut self, line: &Line<'_>, error: &Error) -> Next {
        {
            let mut throttled = line
                .throttled
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *throttled = throttled.saturating_add(1);
        }
        self.attempts = self.attempts.saturating_add(1);
        let pause = match error.retry_after() {
            Some(after) => {
                let after = after.clamp(FIRST_PAUSE, LONGEST_ASKED);
                self.asked = self.asked.saturating_add(after);
                after
            }
            None => pause(FIRST_THROTTLED, LONGEST_THROTTLED, self.attempts),
        };
        line.gate.close(line.clock.now() + pause);
        if line.gate.open().await {
            Next::Again
        } else {
            Next::Stopped
        }
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Twice as long each time.
fn pause(first: Duration, longest: Duration, attempt: u32) -> Duration {
    let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(0);
    if doubled == 0 {
        return longest;
    }
    first.saturating_mul(doubled).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let of = |attempt| pause(FIRST_PAUSE, LONGEST_PAUSE, attempt).as_millis();
        assert_eq!(
            [1, 2, 3, 7, 8, 33, u32::MAX].map(of),
            [100, 200, 400, 6400, 10_000, 10_000, 10_000]
        );
    }
}
