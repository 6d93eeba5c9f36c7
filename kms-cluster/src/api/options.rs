//! How to talk to an API server.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use kms_core::{Clock, TokioClock};
use zeroize::Zeroizing;

/// How to talk to an API server, and how long to wait for it.
#[non_exhaustive]
pub struct ApiOptions {
    /// The longest one call may take, a second attempt after a refused token included: 60 s. A
    /// deadline in the call's own options may shorten it.
    pub timeout: Duration,
    /// The longest making a connection may take: 10 s.
    pub connect_timeout: Duration,
    /// The longest an exec plugin may take: 2 min, as a person may have to act.
    pub exec_timeout: Duration,
    /// Whether what an exec plugin says on its standard error is seen on this program's. No, by
    /// default.
    pub shows_exec_messages: bool,
    /// Whether a target may ask that any certificate is taken
    /// (`insecure-skip-tls-verify`). No, by default: whoever is in between could then read the
    /// token and act with it.
    pub allows_insecure_tls: bool,
    /// The longest page of a list that is taken, in bytes: 32 MiB. With annotations an object's
    /// metadata may be 256 KiB and more; a page that is too long is asked for again in smaller
    /// parts.
    pub max_list_len: usize,
    /// The clock that callers' deadlines are ticks of.
    pub clock: Arc<dyn Clock>,
    /// May hold a password.
    pub(super) proxy: Option<(Zeroizing<String>, String)>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            exec_timeout: Duration::from_secs(120),
            shows_exec_messages: false,
            allows_insecure_tls: false,
            max_list_len: 32 * 1024 * 1024,
            clock: Arc::new(TokioClock::new()),
            proxy: None,
        }
    }
}

impl ApiOptions {
    /// Sets the longest one call may take.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the longest making a connection may take.
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the longest an exec plugin may take.
    #[must_use]
    pub const fn with_exec_timeout(mut self, timeout: Duration) -> Self {
        self.exec_timeout = timeout;
        self
    }

    /// Sets whether an exec plugin's standard error is this program's.
    #[must_use]
    pub const fn with_exec_messages(mut self, shown: bool) -> Self {
        self.shows_exec_messages = shown;
        self
    }

    /// Sets whether a target may ask that any certificate is taken.
    #[must_use]
    pub const fn with_insecure_tls(mut self, allowed: bool) -> Self {
        self.allows_insecure_tls = allowed;
        self
    }

    /// Sets the longest page of a list that is taken, in bytes.
    #[must_use]
    pub const fn with_max_list_len(mut self, bytes: usize) -> Self {
        self.max_list_len = bytes;
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Goes through this HTTP proxy where the target names none. `except` lists hosts and domains
    /// to reach without it, separated by commas, as `NO_PROXY` does.
    #[must_use]
    pub fn with_proxy(mut self, url: &str, except: &str) -> Self {
        self.proxy = Some((Zeroizing::new(url.to_owned()), except.to_owned()));
        self
    }
}

/// Without the proxy's URL, which may hold a password.
impl fmt::Debug for ApiOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiOptions")
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("exec_timeout", &self.exec_timeout)
            .field("shows_exec_messages", &self.shows_exec_messages)
            .field("allows_insecure_tls", &self.allows_insecure_tls)
            .field("max_list_len", &self.max_list_len)
            .field("has_proxy", &self.proxy.is_some())
            .finish_non_exhaustive()
    }
}
