//! When the next request may go.

use core::num::NonZeroU32;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kms_core::{Clock, Tick};

use crate::reencrypt::migrate::limiter::Limiter;

/// The longest sleep after which is asked whether to stop.
const NAP: Duration = Duration::from_millis(250);

/// Lets requests through at a rate, and none while the server wants to be left alone.
pub(super) struct Gate<'a> {
    clock: &'a dyn Clock,
    limiter: Option<Limiter>,
    closed_until: Mutex<Tick>,
    stopping: AtomicBool,
}

impl<'a> Gate<'a> {
    pub(super) fn new(clock: &'a dyn Clock, rate: Option<NonZeroU32>) -> Self {
        Self {
            clock,
            limiter: rate.map(|rate| Limiter::new(rate, clock.now())),
            closed_until: Mutex::new(clock.now()),
            stopping: AtomicBool::new(false),
        }
    }

    /// Nobody goes before `until`.
    pub(super) fn close(&self, until: Tick) {
        let mut closed = self.closed();
        *closed = closed.max(until);
    }

    /// Waits for the turn of a rewrite; false if all are to stop.
    pub(super) async fn pass(&self) -> bool {
        if !self.open().await {
            return false;
        }
        let Some(limiter) = &self.limiter else {
            return true;
        };
        let turn = limiter.reserve(self.clock.now());
        // The server may have asked for a pause meanwhile.
        self.sleep_until(turn).await && self.open().await
    }

    /// Waits until the server may be asked at all; false if all are to stop.
    pub(super) async fn open(&self) -> bool {
        loop {
            let until = *self.closed();
            if self.clock.now() >= until {
                return !self.is_stopping();
            }
            if !self.sleep_until(until).await {
                return false;
            }
        }
    }

    /// Sleeps; false if it was woken to stop.
    pub(super) async fn sleep_until(&self, until: Tick) -> bool {
        while self.clock.now() < until {
            if self.is_stopping() {
                return false;
            }
            let nap = self.clock.now() + NAP;
            self.clock.sleep_until(nap.min(until)).await;
        }
        !self.is_stopping()
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn closed(&self) -> MutexGuard<'_, Tick> {
        self.closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
