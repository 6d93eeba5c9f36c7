//! Time, injected.

use core::fmt;
use core::ops::Add;
use core::pin::{Pin, pin};
use core::time::Duration;
use std::time::SystemTime;

use futures_util::future::{Either, select};

/// A moment on a monotonic clock, as the time since that clock's own origin.
///
/// Good for measuring, deadlines and time-outs; means nothing outside the process, and nothing to
/// another [`Clock`].
///
/// ```
/// use core::time::Duration;
/// use kms_core::Tick;
///
/// let start = Tick::ORIGIN;
/// let later = start + Duration::from_secs(3);
/// assert_eq!(later.since(start), Duration::from_secs(3));
/// assert_eq!(start.since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tick(Duration);

impl Tick {
    /// The clock's origin.
    pub const ORIGIN: Self = Self(Duration::ZERO);

    /// How long after `earlier` this is, or zero if it is not after.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Saturates at the far end of time.
impl Add<Duration> for Tick {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// A future that becomes ready when a clock reaches a tick.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where time comes from.
///
/// Two kinds of time, because they answer different questions: [`now`](Clock::now) never goes back
/// and measures; [`wall_time`](Clock::wall_time) is the date, for key life cycles and for people,
/// and may jump.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The monotonic time.
    fn now(&self) -> Tick;

    /// The date and time of day.
    fn wall_time(&self) -> SystemTime;

    /// Waits for [`now`](Clock::now) to reach `tick`; at once if it already has.
    fn sleep_until(&self, tick: Tick) -> Sleep;
}

/// Waits for `work`, until `deadline` at the longest; `None` if it is not done by then.
///
/// Work that is done wins over a deadline that has come: an answer that is there is never thrown
/// away. What is late is dropped.
///
/// ```
/// use core::time::Duration;
/// use kms_core::{Clock, within};
///
/// async fn asked(clock: &dyn Clock, answer: impl Future<Output = u32>) -> Option<u32> {
///     within(clock, clock.now() + Duration::from_secs(3), answer).await
/// }
/// ```
pub async fn within<T>(
    clock: &dyn Clock,
    deadline: Tick,
    work: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(work), clock.sleep_until(deadline)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(((), _)) => None,
    }
}

#[cfg(feature = "tokio")]
pub use self::tokio_clock::TokioClock;

#[cfg(feature = "tokio")]
mod tokio_clock {
    use super::{Clock, Sleep, SystemTime, Tick};

    /// The clock of a program that runs on tokio. Follows `tokio::time::pause` in tests.
    ///
    /// [`sleep_until`](Clock::sleep_until) must be called within a tokio runtime that has its time
    /// driver enabled.
    #[derive(Clone, Copy, Debug)]
    pub struct TokioClock {
        origin: tokio::time::Instant,
    }

    impl TokioClock {
        /// A clock whose origin is now.
        #[must_use]
        pub fn new() -> Self {
            Self {
                origin: tokio::time::Instant::now(),
            }
        }
    }

    impl Default for TokioClock {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Clock for TokioClock {
        fn now(&self) -> Tick {
            Tick(self.origin.elapsed())
        }

        #[expect(
            clippy::disallowed_methods,
            reason = "this is where wall time comes from"
        )]
        fn wall_time(&self) -> SystemTime {
            SystemTime::now()
        }

        fn sleep_until(&self, tick: Tick) -> Sleep {
            match self.origin.checked_add(tick.0) {
                Some(instant) => Box::pin(tokio::time::sleep_until(instant)),
                // Beyond what the platform can count: never.
                None => Box::pin(core::future::pending()),
            }
        }
    }
}
