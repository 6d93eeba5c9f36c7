//! So many a second, and no more.

use core::num::NonZeroU32;
use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use kms_core::Tick;

/// Gives out moments that lie one interval apart. Up to a tenth of a second that nobody took is
/// made up for, so that a late waker does not lower the rate.
#[derive(Debug)]
pub(in crate::reencrypt) struct Limiter {
    interval: Duration,
    next: Mutex<Tick>,
}

const SLACK: Duration = Duration::from_millis(100);

impl Limiter {
    pub(in crate::reencrypt) fn new(per_second: NonZeroU32, now: Tick) -> Self {
        Self {
            interval: Duration::from_secs(1)
                .checked_div(per_second.get())
                .unwrap_or_default(),
            next: Mutex::new(now),
        }
    }

    /// When the next one may go: now, or at a moment that is its own.
    pub(in crate::reencrypt) fn reserve(&self, now: Tick) -> Tick {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = now.since(*next);
        let turn = *next + behind.saturating_sub(SLACK);
        *next = turn + self.interval;
        turn.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::ORIGIN + Duration::from_millis(millis)
    }

    #[test]
    fn turns_are_an_interval_apart() {
        let limiter = Limiter::new(NonZeroU32::new(10).unwrap(), at(0));
        let turns: Vec<_> = (0..4).map(|_| limiter.reserve(at(0))).collect();
        assert_eq!(turns, [at(0), at(100), at(200), at(300)]);
    }

    #[test]
    fn only_a_little_is_made_up_for() {
        let limiter = Limiter::new(NonZeroU32::new(100).unwrap(), at(0));
        // An hour in which nobody came gives eleven at once, and then one each 10 ms.
        let hour = 3_600_000;
        let turns: Vec<_> = (0..13).map(|_| limiter.reserve(at(hour))).collect();
        assert!(
            turns[..11].iter().all(|turn| *turn == at(hour)),
            "{turns:?}"
        );
        assert_eq!(turns[11..], [at(hour + 10), at(hour + 20)]);
    }
}
