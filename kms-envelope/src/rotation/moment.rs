//! Wall time as it is kept: whole milliseconds since 1970.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, de};

/// A moment between 1970 and the end of the year 9999. What lies outside is moved to the nearer end.
///
/// Whole milliseconds, so that what is written down and read again is equal.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub(super) struct Moment(u64);

impl Moment {
    /// The end of the year 9999, up to which every platform's `SystemTime` can follow.
    pub(super) const MAX_MS: u64 = 253_402_300_799_999;

    pub(super) const fn from_ms(ms: u64) -> Self {
        Self(if ms > Self::MAX_MS { Self::MAX_MS } else { ms })
    }

    /// This time, or the last whole millisecond before it.
    pub(super) fn floor(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// This time, or the next whole millisecond after it.
    pub(super) fn ceil(time: SystemTime) -> Self {
        let floor = Self::floor(time);
        if floor.time() < time {
            Self::from_ms(floor.0.saturating_add(1))
        } else {
            floor
        }
    }

    pub(super) fn time(self) -> SystemTime {
        UNIX_EPOCH
            .checked_add(Duration::from_millis(self.0))
            .unwrap_or(UNIX_EPOCH)
    }

    pub(super) fn after(self, duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub(super) const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u64::deserialize(from)? {
            ms if ms <= Self::MAX_MS => Ok(Self(ms)),
            _ => Err(de::Error::custom("a time is beyond the year 9999")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_the_millisecond_and_within_range() {
        let odd = UNIX_EPOCH + Duration::new(5, 1_500_000);
        assert_eq!(Moment::floor(odd), Moment(5_001));
        assert_eq!(Moment::ceil(odd), Moment(5_002));
        assert_eq!(Moment::ceil(Moment(7).time()), Moment(7));
        assert_eq!(
            Moment::floor(UNIX_EPOCH - Duration::from_secs(1)),
            Moment(0)
        );
        let far = UNIX_EPOCH + Duration::from_secs(400_000_000_000);
        assert_eq!(Moment::floor(far), Moment(Moment::MAX_MS));
        assert_eq!(Moment::ceil(far), Moment(Moment::MAX_MS));
        assert_eq!(Moment(1).after(Duration::MAX), Moment(Moment::MAX_MS));
        assert_eq!(Moment(5).since(Moment(3)), Duration::from_millis(2));
        assert_eq!(Moment(3).since(Moment(5)), Duration::ZERO);
    }
}
