//! How much of a vault's limits is used here: pure state, fed with calls and the time.

use core::time::Duration;

use kms_core::Tick;

/// The window of the service's limits, in buckets of a second.
const SECONDS: u64 = 10;
const BUCKETS: usize = 10;

/// The calls that were made to one vault by way of one [`Vault`](super::Vault) and its clones.
///
/// Units are what the vault's limits count in: [`KeyKind::units`](super::KeyKind::units).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct VaultCalls {
    /// Attempts that were sent, retries included. Tokens are not the vault's to give and do not
    /// count, nor do the bare requests that ask for a challenge.
    pub calls: u64,
    /// What they weighed together.
    pub units: u64,
    /// What they weighed in the last 10 seconds.
    pub recent_units: u64,
    /// The most that they weighed in any 10 seconds, to the second.
    pub busiest_units: u64,
    /// How many of them the vault answered with 429.
    pub throttled: u64,
}

#[derive(Debug, Default)]
pub(super) struct Meter {
    calls: u64,
    units: u64,
    busiest: u64,
    throttled: u64,
    /// Units of each second, by its number modulo ten.
    window: [Bucket; BUCKETS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    second: u64,
    units: u64,
}

impl Meter {
    pub(super) fn sent(&mut self, units: u32, now: Tick) {
        self.calls = self.calls.saturating_add(1);
        self.units = self.units.saturating_add(units.into());
        let second = second_of(now);
        let place = usize::try_from(second % SECONDS).unwrap_or_default();
        if let Some(bucket) = self.window.get_mut(place) {
            if bucket.second != second {
                *bucket = Bucket { second, units: 0 };
            }
            bucket.units = bucket.units.saturating_add(units.into());
        }
        self.busiest = self.busiest.max(self.recent(now));
    }

    pub(super) const fn throttled(&mut self) {
        self.throttled = self.throttled.saturating_add(1);
    }

    pub(super) fn read(&self, now: Tick) -> VaultCalls {
        VaultCalls {
            calls: self.calls,
            units: self.units,
            recent_units: self.recent(now),
            busiest_units: self.busiest,
            throttled: self.throttled,
        }
    }

    fn recent(&self, now: Tick) -> u64 {
        let now = second_of(now);
        let is_recent = |bucket: &&Bucket| now.saturating_sub(bucket.second) < SECONDS;
        let recent = self.window.iter().filter(is_recent);
        recent.fold(0, |sum, bucket| sum.saturating_add(bucket.units))
    }
}

const fn second_of(now: Tick) -> u64 {
    let since: Duration = now.since(Tick::ORIGIN);
    since.as_secs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn ten_seconds_are_summed_and_the_busiest_are_kept() {
        let mut meter = Meter::default();
        for second in 0..10 {
            meter.sent(2, at(second));
        }
        assert_eq!(meter.read(at(9)).recent_units, 20);
        assert_eq!(meter.read(at(10)).recent_units, 18, "the first is over");
        meter.sent(1, at(12));
        assert_eq!(meter.read(at(12)).recent_units, 15);
        assert_eq!(meter.read(at(1000)).recent_units, 0);
        meter.throttled();
        assert_eq!(
            meter.read(at(1000)),
            VaultCalls {
                calls: 11,
                units: 21,
                recent_units: 0,
                busiest_units: 20,
                throttled: 1,
            }
        );
    }

    proptest! {
        #[test]
        fn the_window_is_the_sum_of_the_last_ten_seconds(
            calls in proptest::collection::vec((0_u64..7, 1_u32..16), 1..60)
        ) {
            let mut meter = Meter::default();
            let (mut now, mut sent, mut busiest) = (0, Vec::new(), 0);
            for (pause, units) in calls {
                now += pause;
                meter.sent(units, at(now));
                sent.push((now, u64::from(units)));
                let recent: u64 = sent
                    .iter()
                    .filter(|(then, _)| then + 10 > now)
                    .map(|(_, units)| units)
                    .sum();
                busiest = busiest.max(recent);
                let read = meter.read(at(now));
                prop_assert_eq!(read.recent_units, recent);
                prop_assert_eq!(read.busiest_units, busiest);
            }
        }
    }
}
