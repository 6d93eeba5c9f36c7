//! What every call to a vault passes: breaker, limiter, a place, and its time.

use core::num::NonZeroU32;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kms_core::{Clock, Error, ErrorKind, SecureRandom, Tick, within};
use tokio::sync::Semaphore;

use super::breaker::Breaker;
use super::limiter::Limiter;
use super::meter::{Meter, VaultCalls};

/// How many calls may be at one vault at once. Each has a connection.
const MAX_AT_ONCE: usize = 64;
/// The longest that one attempt may take.
const MAX_ATTEMPT: Duration = Duration::from_secs(10);
/// With less time than this no attempt is worth making short.
const MIN_ATTEMPT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Gate {
    name: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    breaker: Mutex<Breaker>,
    limiter: Option<Mutex<Limiter>>,
    meter: Mutex<Meter>,
    places: Semaphore,
}

impl Gate {
    pub(super) fn new(
        name: String,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
        units_in_ten_seconds: Option<NonZeroU32>,
    ) -> Self {
        Self {
            name,
            clock,
            random,
            breaker: Mutex::default(),
            limiter: units_in_ten_seconds.map(|units| Mutex::new(Limiter::new(units))),
            meter: Mutex::default(),
            places: Semaphore::new(MAX_AT_ONCE),
        }
    }

    /// Makes one attempt, which weighs so many units, by the caller's deadline if there is one.
    pub(super) async fn pass<T>(
        &self,
        units: u32,
        deadline: Option<Tick>,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let start = self.clock.now();
        let end = attempt_end(start, deadline);
        let mut ticket = self.admit(start)?;
        self.wait_turn(units, start, end).await?;
        let attempt = async {
            let _place = self.places.acquire().await;
            lock(&self.meter).sent(units, self.clock.now());
            call.await
        };
        let outcome = within(&*self.clock, end, attempt).await;
        let outcome = outcome.unwrap_or_else(|| Err(self.late(start)));
        ticket.tell(&outcome, start);
        outcome
    }

    pub(super) fn calls(&self) -> VaultCalls {
        lock(&self.meter).read(self.clock.now())
    }

    pub(super) fn is_open(&self) -> bool {
        lock(&self.breaker).is_open()
    }

    fn admit(&self, now: Tick) -> Result<Ticket<'_>, Error> {
        let admitted = lock(&self.breaker).admit(now);
        admitted.map_err(|refused| {
            let last = refused.last;
            let message = format!(
                "{} is left alone for {} ms after failures in a row; the last: {}",
                self.name,
                refused.wait.as_millis(),
                last.message()
            );
            Error::new(last.kind(), message)
                .with_remedy(last.remedy())
                .with_retry_after(refused.wait)
        })?;
        Ok(Ticket {
            gate: self,
            told: false,
        })
    }

    async fn wait_turn(&self, units: u32, start: Tick, end: Tick) -> Result<(), Error> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        let turn = lock(limiter).reserve(units, start, end);
        match turn {
            Ok(go) => {
                self.clock.sleep_until(go).await;
                Ok(())
            }
            Err(wait) => Err(Error::new(
                ErrorKind::Throttled,
                format!("the share of {}'s limits is used up here", self.name),
            )
            .with_remedy("make fewer calls, or raise this program's share of the vault's limits")
            .with_retry_after(wait)),
        }
    }

    fn late(&self, start: Tick) -> Error {
        let taken = self.clock.now().since(start).as_millis();
        let message = format!("{} has not answered in {taken} ms", self.name);
        Error::new(ErrorKind::DeadlineExceeded, message)
    }
}

/// Half of the time there is, so that a call that hangs leaves some for another.
fn attempt_end(start: Tick, deadline: Option<Tick>) -> Tick {
    let longest = start + MAX_ATTEMPT;
    let Some(deadline) = deadline else {
        return longest;
    };
    let half = deadline.since(start).checked_div(2).unwrap_or_default();
    (start + half.max(MIN_ATTEMPT)).min(longest).min(deadline)
}

/// Tells the breaker how the call ended, or that it was given up.
struct Ticket<'a> {
    gate: &'a Gate,
    told: bool,
}

impl Ticket<'_> {
    fn tell<T>(&mut self, outcome: &Result<T, Error>, start: Tick) {
        let gate = self.gate;
        let now = gate.clock.now();
        if matches!(outcome, Err(error) if error.kind() == ErrorKind::Throttled) {
            lock(&gate.meter).throttled();
        }
        let failure = outcome.as_ref().err().filter(|error| match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Throttled => true,
            // A caller in a hurry says nothing of the vault.
            ErrorKind::DeadlineExceeded => now.since(start) >= MIN_ATTEMPT,
            _ => false,
        });
        let mut breaker = lock(&gate.breaker);
        let was_open = breaker.is_open();
        match failure {
            Some(error) => breaker.failed(error.clone(), now, &*gate.random),
            None if matches!(outcome, Err(error) if error.kind() == ErrorKind::DeadlineExceeded) => {
                breaker.given_up();
            }
            None => breaker.answered(),
        }
        let is_open = breaker.is_open();
        drop(breaker);
        if is_open != was_open {
            tracing::warn!(vault = gate.name, open = is_open, "circuit breaker");
        }
        self.told = true;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.told {
            lock(&self.gate.breaker).given_up();
        }
    }
}

/// The data is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_leaves_time_for_another() {
        let at = |millis| Tick::ORIGIN + Duration::from_millis(millis);
        for (deadline, end) in [
            (None, 10_000),
            (Some(60_000), 10_000),
            (Some(10_000), 5_000),
            (Some(3_000), 1_500),
            (Some(1_500), 1_000),
            (Some(400), 400),
            (Some(0), 0),
        ] {
            assert_eq!(
                attempt_end(at(0), deadline.map(at)),
                at(end),
                "{deadline:?}"
            );
        }
    }
}
