//! Being asked to stop, wherever the driver waits.

use core::fmt;
use core::pin::Pin;

use kms_core::{Clock, Tick};

/// Ends once, and is then over for good.
pub(super) struct StopSignal<'s> {
    signal: Pin<Box<dyn Future<Output = ()> + Send + 's>>,
    has_come: bool,
}

/// It came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stop;

impl<'s> StopSignal<'s> {
    pub(super) fn new(signal: impl Future<Output = ()> + Send + 's) -> Self {
        Self {
            signal: Box::pin(signal),
            has_come: false,
        }
    }

    /// Waits for it.
    pub(super) async fn received(&mut self) {
        if !self.has_come {
            self.signal.as_mut().await;
            self.has_come = true;
        }
    }

    /// What the future gives, unless the signal comes first. The future is dropped then.
    pub(super) async fn or<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.received() => Err(Stop),
            output = future => Ok(output),
        }
    }

    /// Sleeps, unless the signal comes first.
    pub(super) async fn sleep_until(&mut self, clock: &dyn Clock, tick: Tick) -> Result<(), Stop> {
        self.or(clock.sleep_until(tick)).await
    }
}

impl fmt::Debug for StopSignal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopSignal")
            .field("has_come", &self.has_come)
            .finish_non_exhaustive()
    }
}
