//! A clock that runs, and that can be moved ahead while it does.

use core::time::Duration;
use std::sync::Arc;
use std::time::SystemTime;

use kms_core::{Clock, Sleep, Tick};
use tokio::sync::watch;

/// Another clock, and so much more.
#[derive(Debug)]
pub(super) struct ShiftedClock {
    inner: Arc<dyn Clock>,
    ahead: watch::Sender<Duration>,
}

impl ShiftedClock {
    pub(super) fn new(inner: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            ahead: watch::Sender::new(Duration::ZERO),
        }
    }

    /// Moves the time on and wakes everyone whose deadline has come.
    pub(super) fn advance(&self, by: Duration) {
        self.ahead
            .send_modify(|ahead| *ahead = ahead.saturating_add(by));
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Tick {
        self.inner.now() + *self.ahead.borrow()
    }

    fn wall_time(&self) -> SystemTime {
        let time = self.inner.wall_time();
        time.checked_add(*self.ahead.borrow()).unwrap_or(time)
    }

    fn sleep_until(&self, tick: Tick) -> Sleep {
        let inner = Arc::clone(&self.inner);
        let mut ahead = self.ahead.subscribe();
        Box::pin(async move {
            loop {
                let shift = *ahead.borrow_and_update();
                // The same moment by the inner clock.
                let deadline = Tick::ORIGIN + tick.since(Tick::ORIGIN + shift);
                tokio::select! {
                    () = inner.sleep_until(deadline) => return,
                    Ok(()) = ahead.changed() => {}
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use kms_core::TokioClock;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_sleeper_wakes_by_either_clock() {
        let clock = ShiftedClock::new(Arc::new(TokioClock::new()));
        let start = clock.now();
        // Time that passes by itself.
        clock.sleep_until(start + HOUR).await;
        assert!(clock.now().since(start) >= HOUR);
        let wall = clock.wall_time();
        let sleep = clock.sleep_until(clock.now() + HOUR * 24);
        clock.advance(HOUR * 23);
        let before = tokio::time::Instant::now();
        sleep.await;
        let waited = before.elapsed();
        assert!(waited >= HOUR && waited < HOUR + Duration::from_secs(1));
        assert!(clock.wall_time().duration_since(wall).unwrap() >= HOUR * 23);
    }
}
