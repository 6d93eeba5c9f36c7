//! Leaves a vault alone that does not answer: pure state, fed with outcomes and the time.

use core::time::Duration;

use kms_core::{Error, SecureRandom, Tick};

use crate::jitter;

/// So many failures in a row, and the vault is left alone.
const THRESHOLD: u32 = 5;
const BASE_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// When to come back while another call is trying.
const OTHER_TRIES: Duration = Duration::from_millis(500);

/// A circuit breaker. After five failures in a row calls fail at once, for a pause that doubles
/// from one second to thirty; then a single call is let through to try.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    error: Error,
    times: u32,
    until: Tick,
    trying: bool,
}

/// Why a call is not made.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) last: Error,
    pub(super) wait: Duration,
}

impl Breaker {
    /// Whether a call may be made. If so, its end must be told.
    pub(super) fn admit(&mut self, now: Tick) -> Result<(), Refused> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if now < open.until || open.trying {
            return Err(Refused {
                last: open.error.clone(),
                wait: open.until.since(now).max(OTHER_TRIES),
            });
        }
        open.trying = true;
        Ok(())
    }

    /// The vault has answered.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// It has not, or has asked to be left alone.
    pub(super) fn failed(&mut self, error: Error, now: Tick, random: &dyn SecureRandom) {
        self.failures = self.failures.saturating_add(1);
        let times = self.open.as_ref().map_or(0, |open| open.times);
        if self.open.is_none() && self.failures < THRESHOLD {
            return;
        }
        let pause = jitter::doubling(BASE_PAUSE, MAX_PAUSE, times);
        let pause = jitter::upper_half(random, pause).max(error.retry_after().unwrap_or_default());
        self.open = Some(Open {
            error,
            times: times.saturating_add(1),
            until: now + pause,
            trying: false,
        });
    }

    /// The call was given up before its end, which says nothing.
    pub(super) fn given_up(&mut self) {
        if let Some(open) = &mut self.open {
            open.trying = false;
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use kms_core::{ErrorKind, OsRandom};

    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::ORIGIN + Duration::from_secs(seconds)
    }

    fn down() -> Error {
        Error::new(ErrorKind::Unavailable, "down")
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..THRESHOLD {
            assert!(breaker.admit(at(0)).is_ok());
            breaker.failed(down(), at(0), &OsRandom);
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            for _ in 1..THRESHOLD {
                breaker.failed(down(), at(0), &OsRandom);
            }
            breaker.answered();
        }
        assert!(!breaker.is_open() && breaker.admit(at(0)).is_ok());
        let refused = opened().admit(at(0)).unwrap_err();
        assert_eq!(refused.last.message(), "down");
        assert!(refused.wait <= BASE_PAUSE);
    }

    #[test]
    fn one_call_tries_and_an_answer_closes_it() {
        let mut breaker = opened();
        assert!(breaker.admit(at(1)).is_ok());
        assert!(breaker.admit(at(1)).is_err(), "one is trying");
        breaker.given_up();
        assert!(breaker.admit(at(1)).is_ok());
        breaker.answered();
        assert!(breaker.admit(at(1)).is_ok() && breaker.admit(at(1)).is_ok());
    }

    #[test]
    fn pauses_double_and_advice_is_followed() {
        let mut breaker = opened();
        let mut now = 0;
        for longest in [1, 2, 4, 8, 16, 30, 30] {
            let wait = breaker.admit(at(now)).unwrap_err().wait;
            assert!(wait <= Duration::from_secs(longest), "{wait:?}");
            assert!(wait >= Duration::from_millis(longest * 500), "{wait:?}");
            now += longest;
            assert!(breaker.admit(at(now)).is_ok());
            breaker.failed(down(), at(now), &OsRandom);
        }
        let advice = down().with_retry_after(Duration::from_secs(55));
        breaker.failed(advice, at(now), &OsRandom);
        assert!(breaker.admit(at(now + 54)).is_err());
        assert!(breaker.admit(at(now + 55)).is_ok());
    }
}
