//! Being asked to stop.

use kms::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a server. They are caught from the moment this is made.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// A terminal that hangs up is no reason to leave a cluster without its plugin.
    _hangup: Signal,
}

impl StopSignals {
    pub(crate) fn catch() -> Result<Self, Failure> {
        let waiting = |e| Failure::io("listening for signals", e);
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(waiting)?,
            interrupt: signal(SignalKind::interrupt()).map_err(waiting)?,
            _hangup: signal(SignalKind::hangup()).map_err(waiting)?,
        })
    }

    /// Waits for SIGTERM or Ctrl-C, and says that it came.
    pub(crate) async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        eprintln!("kms: stopping");
    }
}
