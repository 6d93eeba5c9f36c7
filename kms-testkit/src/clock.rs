//! A clock that moves when it is told to.

use core::fmt;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::{SystemTime, UNIX_EPOCH};

use kms_core::{Clock, Sleep, Tick};

/// 2026-01-01T00:00:00Z, in seconds since the epoch.
const WALL_BASE: Duration = Duration::from_secs(1_767_225_600);

/// A clock that stands still until a test moves it.
///
/// Clones share one time. It needs no runtime: a sleeper registers its waker, and
/// [`advance`](Self::advance) wakes those whose time has come, earliest first. The wall time
/// starts at 2026-01-01T00:00:00Z and moves along; [`set_wall_time`](Self::set_wall_time) lets it
/// jump, as the date of a machine may.
///
/// ```
/// use std::time::Duration;
/// use kms_core::Clock as _;
/// use kms_testkit::ManualClock;
///
/// let clock = ManualClock::new();
/// let start = clock.now();
/// // Three hours pass in no time: `run` moves the clock whenever the future only waits for it.
/// clock.run(clock.sleep_until(start + Duration::from_secs(10_800))).unwrap();
/// assert_eq!(clock.now().since(start), Duration::from_secs(10_800));
/// // What waits for something else will never end, and that shows at once.
/// assert_eq!(clock.run(std::future::pending::<()>()), None);
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<State>>);

struct State {
    now: Tick,
    wall_base: SystemTime,
    /// The monotonic time at which the wall time was `wall_base`.
    wall_set_at: Tick,
    /// By deadline, then by order of arrival.
    sleepers: BTreeMap<(Tick, u64), Waker>,
    next_sleeper: u64,
}

impl ManualClock {
    /// A clock at its origin.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            now: Tick::ORIGIN,
            wall_base: UNIX_EPOCH.checked_add(WALL_BASE).unwrap_or(UNIX_EPOCH),
            wall_set_at: Tick::ORIGIN,
            sleepers: BTreeMap::new(),
            next_sleeper: 0,
        })))
    }

    /// Moves the time on and wakes everyone whose deadline has come, in the order of deadlines.
    ///
    /// All of them see the new time, as after a pause of the whole machine. To stop at every
    /// deadline on the way, use [`advance_to_next`](Self::advance_to_next).
    pub fn advance(&self, duration: Duration) {
        let target = self.lock().now + duration;
        self.advance_to(target);
    }

    /// Moves the time on to the earliest deadline that someone waits for and returns it, or
    /// `None` if nobody waits.
    pub fn advance_to_next(&self) -> Option<Tick> {
        let next = self.next_deadline()?;
        self.advance_to(next);
        Some(next)
    }

    /// The earliest deadline that someone waits for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.lock()
            .sleepers
            .first_key_value()
            .map(|((deadline, _), _)| *deadline)
    }

    /// Lets the wall time jump. The monotonic time does not move.
    pub fn set_wall_time(&self, wall_time: SystemTime) {
        let mut state = self.lock();
        state.wall_base = wall_time;
        state.wall_set_at = state.now;
    }

    /// Runs a future on this thread, moving the clock to the next deadline whenever the future can
    /// do nothing but wait for it. `None` if it waits and no deadline is left: it hangs.
    ///
    /// Everything that happens within one future is deterministic, so to test concurrent calls
    /// join them. What another thread would wake is seen as hanging.
    pub fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if !woken.0.swap(false, Ordering::AcqRel) {
                self.advance_to_next()?;
                continue;
            }
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Some(output);
            }
        }
    }

    fn advance_to(&self, target: Tick) {
        let due = {
            let mut state = self.lock();
            state.now = state.now.max(target);
            let later = match target_bound(state.now) {
                Some(bound) => state.sleepers.split_off(&bound),
                None => BTreeMap::new(),
            };
            core::mem::replace(&mut state.sleepers, later)
        };
        // Outside the lock: a waker may do anything, such as asking for the time.
        for waker in due.into_values() {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first key that is later than every sleeper of this tick; `None` at the end of time.
fn target_bound(now: Tick) -> Option<(Tick, u64)> {
    let bound = now + Duration::from_nanos(1);
    (bound > now).then_some((bound, 0))
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("ManualClock")
            .field("now", &state.now)
            .field("sleepers", &state.sleepers.len())
            .finish()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Tick {
        self.lock().now
    }

    fn wall_time(&self) -> SystemTime {
        let state = self.lock();
        let since = state.now.since(state.wall_set_at);
        state
            .wall_base
            .checked_add(since)
            .unwrap_or(state.wall_base)
    }

    fn sleep_until(&self, tick: Tick) -> Sleep {
        Box::pin(Sleeper {
            clock: self.clone(),
            deadline: tick,
            place: None,
        })
    }
}

struct Sleeper {
    clock: ManualClock,
    deadline: Tick,
    /// Where the waker stands, once polled.
    place: Option<(Tick, u64)>,
}

impl Future for Sleeper {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut state = clock.lock();
        if state.now >= self.deadline {
            return Poll::Ready(());
        }
        let place = self.place.unwrap_or((self.deadline, state.next_sleeper));
        if self.place.replace(place).is_none() {
            state.next_sleeper = state.next_sleeper.wrapping_add(1);
        }
        state.sleepers.insert(place, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // The waker is dropped after the lock is released.
            let _waker = self.clock.lock().sleepers.remove(&place);
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{join, join_all};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sleepers_wake_in_order_of_their_deadlines() {
        let clock = ManualClock::new();
        let order = Mutex::new(Vec::new());
        let sleeps = [3, 1, 2, 1].map(|seconds| {
            let (clock, order) = (&clock, &order);
            async move {
                clock.sleep_until(Tick::ORIGIN + SECOND * seconds).await;
                order.lock().unwrap().push((seconds, clock.now()));
            }
        });
        clock.run(join_all(sleeps)).unwrap();
        let order: Vec<u32> = order
            .into_inner()
            .unwrap()
            .iter()
            .map(|(s, _)| *s)
            .collect();
        assert_eq!(order, [1, 1, 2, 3]);
        assert_eq!(clock.now(), Tick::ORIGIN + SECOND * 3);
    }

    #[test]
    fn a_moment_too_early_wakes_nobody() {
        let clock = ManualClock::new();
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut sleep = clock.sleep_until(Tick::ORIGIN + SECOND);
        let mut poll = || sleep.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        clock.advance(SECOND - Duration::from_nanos(1));
        assert!(!woken.0.load(Ordering::Acquire) && poll().is_pending());
        clock.advance(Duration::from_nanos(1));
        assert!(woken.0.load(Ordering::Acquire) && poll().is_ready());
    }

    #[test]
    fn a_dropped_sleeper_leaves_nothing() {
        let clock = ManualClock::new();
        let sleep = clock.sleep_until(Tick::ORIGIN + SECOND);
        assert_eq!(clock.next_deadline(), None);
        {
            let mut sleep = sleep;
            let mut context = Context::from_waker(Waker::noop());
            assert!(sleep.as_mut().poll(&mut context).is_pending());
            assert_eq!(clock.next_deadline(), Some(Tick::ORIGIN + SECOND));
        }
        assert_eq!(clock.next_deadline(), None);
    }

    #[test]
    fn the_wall_jumps_and_the_monotonic_time_does_not() {
        let clock = ManualClock::new();
        let start = clock.wall_time();
        clock.advance(SECOND);
        assert_eq!(clock.wall_time(), start + SECOND);
        clock.set_wall_time(UNIX_EPOCH);
        clock.advance(SECOND);
        assert_eq!(clock.wall_time(), UNIX_EPOCH + SECOND);
        assert_eq!(clock.now(), Tick::ORIGIN + SECOND * 2);
    }

    #[test]
    fn the_end_of_time_is_reached_and_not_passed() {
        let clock = ManualClock::new();
        clock.advance(SECOND);
        let end = Tick::ORIGIN + Duration::MAX;
        clock
            .run(join(clock.sleep_until(end), clock.sleep_until(end)))
            .unwrap();
        clock.advance(SECOND);
        assert_eq!(clock.now(), end);
    }
}
