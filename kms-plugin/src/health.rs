//! What a plugin knows of itself, for a health endpoint, a log or a terminal.
//!
//! Liveness and readiness answer different questions. A KMS that cannot be reached makes a plugin
//! unready; restarting the plugin would not help, and would lose the keys that it still has in its
//! cache. So an orchestrator should restart it on [`PluginHealth::live`] alone.

use core::fmt;
use core::time::Duration;
use std::time::SystemTime;

use kms_core::{Error, KeyId};

/// How well a plugin does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HealthState {
    /// No key has been proven yet; `Status` is an error.
    Starting,
    /// `Status` says `ok`.
    Ready,
    /// `Status` names the key and says in `healthz` what is wrong.
    Degraded,
    /// The provider has been failing for too long; `Status` is an error, and kube-apiserver stops
    /// writing three minutes after the last answer that was none.
    Failing,
}

impl HealthState {
    /// A stable lower-case name, for metric labels, logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A snapshot, from memory: taking it calls no provider.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PluginHealth {
    /// How well it does.
    pub state: HealthState,
    /// Whether the plugin itself works: its background task has come round lately. Restart the
    /// process if not.
    pub live: bool,
    /// The key that `Status` names.
    pub key_id: Option<KeyId>,
    /// When the provider last confirmed that key.
    pub last_success: Option<SystemTime>,
    /// How long ago that was, by the monotonic clock.
    pub since_success: Option<Duration>,
    /// How long ago a fresh secret was last wrapped and unwrapped with that key.
    pub since_proof: Option<Duration>,
    /// Why the latest attempt failed, if it did.
    pub last_error: Option<Error>,
}

impl PluginHealth {
    /// Whether kube-apiserver would find it healthy.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == HealthState::Ready
    }
}

/// One line, for a log or a terminal.
impl fmt::Display for PluginHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.state)?;
        if !self.live {
            f.write_str(", stuck")?;
        }
        if let Some(key_id) = &self.key_id {
            write!(f, ", key id {key_id}")?;
        }
        if let Some(since) = self.since_success {
            write!(f, ", confirmed {} s ago", since.as_secs())?;
        }
        if let Some(error) = &self.last_error {
            write!(f, ", last error: {}", crate::grpc::text_of(error))?;
        }
        Ok(())
    }
}
