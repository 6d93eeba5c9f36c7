//! Keeps below a vault's limits: pure state, fed with the time.

use core::num::NonZeroU32;
use core::time::Duration;

use kms_core::Tick;

/// The window of the service's limits.
const WINDOW: Duration = Duration::from_secs(10);

/// Lets so many units through in 10 seconds, all of them at once if none were used before (GCRA).
#[derive(Debug)]
pub(super) struct Limiter {
    per_unit: Duration,
    /// When all that has been let through would be through at the even rate.
    even: Tick,
}

impl Limiter {
    pub(super) fn new(units_in_ten_seconds: NonZeroU32) -> Self {
        let per_unit = WINDOW.checked_div(units_in_ten_seconds.get());
        Self {
            per_unit: per_unit.unwrap_or_default(),
            even: Tick::ORIGIN,
        }
    }

    /// When this many units may go; or, if that is after `latest`, how long that would take, and
    /// nothing is reserved.
    pub(super) fn reserve(
        &mut self,
        units: u32,
        now: Tick,
        latest: Tick,
    ) -> Result<Tick, Duration> {
        let even = self.even.max(now) + self.per_unit.saturating_mul(units);
        let wait = even.since(now).saturating_sub(WINDOW);
        let go = now + wait;
        if go > latest {
            return Err(wait);
        }
        self.even = even;
        Ok(go)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::ORIGIN + Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_goes_at_once_and_the_next_waits_its_share() {
        let mut limiter = Limiter::new(NonZeroU32::new(100).unwrap());
        for _ in 0..100 {
            assert_eq!(limiter.reserve(1, at(0), at(0)), Ok(at(0)));
        }
        assert_eq!(
            limiter.reserve(8, at(0), at(0)),
            Err(Duration::from_millis(800))
        );
        assert_eq!(limiter.reserve(1, at(0), at(100)), Ok(at(100)));
        assert_eq!(limiter.reserve(8, at(0), at(900)), Ok(at(900)));
        assert_eq!(limiter.reserve(100, at(60_000), at(60_000)), Ok(at(60_000)));
    }

    proptest! {
        /// In no 10 seconds go more units than twice the limit: the burst, and the even rate.
        #[test]
        fn the_rate_holds(
            limit in 1_u32..1000,
            calls in proptest::collection::vec((0_u64..500, 1_u32..16), 1..200)
        ) {
            let mut limiter = Limiter::new(NonZeroU32::new(limit).unwrap());
            let (mut now, mut gone) = (0, Vec::new());
            for (pause, units) in calls {
                now += pause;
                if let Ok(go) = limiter.reserve(units, at(now), at(now + 5000)) {
                    prop_assert!(go >= at(now) && go <= at(now + 5000));
                    gone.push((go, units));
                }
            }
            for (start, _) in &gone {
                let within: u32 = gone
                    .iter()
                    .filter(|(go, _)| go >= start && go.since(*start) < WINDOW)
                    .map(|(_, units)| units)
                    .sum();
                prop_assert!(within <= 2 * limit + 16, "{within} of {limit}");
            }
        }
    }
}
