//! How a cache of unwrapped DEKs behaves.

use core::time::Duration;

use kms_core::ErrorKind;

/// How an [`UnwrapCache`](super::UnwrapCache) behaves. The life of an entry, from the moment the
/// provider was asked:
///
/// ```text
/// 0          keep_for - refresh_before      keep_for        keep_for + serve_stale_for
/// |--- fresh ---|--- due: served, ------------|--- stale: served --------|--- over
///                    refreshed meanwhile          only in an outage
/// ```
///
/// ```
/// use std::time::Duration;
/// use kms_envelope::cache::UnwrapCacheOptions;
///
/// let options = UnwrapCacheOptions::default()
///     .with_keep_for(Duration::from_secs(300))
///     .with_serve_stale_for(Duration::ZERO);
/// assert_eq!(options.refresh_before, Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnwrapCacheOptions {
    /// The most DEKs in each partition; zero keeps none. The least recently used goes first.
    /// 1,024 by default.
    pub capacity: usize,
    /// The most partitions, at least one. When there is one more, all entries of the one that has
    /// been idle longest go. 64 by default.
    pub partitions: usize,
    /// The second clock: how long a DEK may serve after the provider was asked for it, without
    /// asking again. 10 minutes by default; zero keeps nothing.
    pub keep_for: Duration,
    /// The third clock: how much longer it may serve while the provider cannot be reached, that is
    /// while it fails with errors that are [retryable](ErrorKind::is_retryable). Zero turns this
    /// off. 1 hour by default.
    ///
    /// A provider that does answer, with [`ErrorKind::KeyDisabled`] or any other refusal, is
    /// believed at once.
    pub serve_stale_for: Duration,
    /// How long before `keep_for` is over an entry that is in use is fetched anew. Zero turns this
    /// off. 1 minute by default.
    pub refresh_before: Duration,
    /// How long nothing more is tried for an entry after a refresh was begun or has failed. 1
    /// second by default.
    pub retry_every: Duration,
    /// How long an error is remembered that a retry would not change. 1 second by default; zero
    /// remembers none.
    pub remember_errors_for: Duration,
    /// The most errors remembered in each partition. They take no room from DEKs. 256 by default.
    pub remembered_errors: usize,
    /// When a provider call that nobody else ends is given up. A shared call cannot have the
    /// deadline of one of its callers; this is its own. 30 seconds by default.
    pub call_limit: Duration,
}

impl Default for UnwrapCacheOptions {
    fn default() -> Self {
        Self {
            capacity: 1024,
            partitions: 64,
            keep_for: Duration::from_secs(600),
            serve_stale_for: Duration::from_secs(3600),
            refresh_before: Duration::from_secs(60),
            retry_every: Duration::from_secs(1),
            remember_errors_for: Duration::from_secs(1),
            remembered_errors: 256,
            call_limit: Duration::from_secs(30),
        }
    }
}

impl UnwrapCacheOptions {
    /// Sets the most DEKs in each partition.
    #[must_use]
    pub const fn with_capacity(mut self, entries: usize) -> Self {
        self.capacity = entries;
        self
    }

    /// Sets the most partitions.
    #[must_use]
    pub const fn with_partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets how long a DEK serves without asking again.
    #[must_use]
    pub const fn with_keep_for(mut self, duration: Duration) -> Self {
        self.keep_for = duration;
        self
    }

    /// Sets how much longer it serves in an outage.
    #[must_use]
    pub const fn with_serve_stale_for(mut self, duration: Duration) -> Self {
        self.serve_stale_for = duration;
        self
    }

    /// Sets how long before its end an entry is fetched anew.
    #[must_use]
    pub const fn with_refresh_before(mut self, duration: Duration) -> Self {
        self.refresh_before = duration;
        self
    }

    /// Sets the pause between two attempts to refresh an entry.
    #[must_use]
    pub const fn with_retry_every(mut self, duration: Duration) -> Self {
        self.retry_every = duration;
        self
    }

    /// Sets how long, and how many for each partition, errors are remembered.
    #[must_use]
    pub const fn with_remembered_errors(mut self, errors: usize, duration: Duration) -> Self {
        self.remembered_errors = errors;
        self.remember_errors_for = duration;
        self
    }

    /// Sets when a provider call is given up.
    #[must_use]
    pub const fn with_call_limit(mut self, limit: Duration) -> Self {
        self.call_limit = limit;
        self
    }

    pub(super) fn phase(&self, age: Duration) -> Phase {
        if age < self.keep_for.saturating_sub(self.refresh_before) {
            Phase::Fresh
        } else if age < self.keep_for {
            Phase::Due
        } else if age < self.keep_for.saturating_add(self.serve_stale_for) {
            Phase::Stale
        } else {
            Phase::Over
        }
    }
}

/// Where in its life an entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Fresh,
    Due,
    Stale,
    Over,
}

/// Whether the provider has spoken about the key or about us, so that what is cached must go.
///
/// Anything else (its own fault, a broken protocol, a socket that is gone) says nothing about the
/// key: what is cached then serves until its time is over, and no longer.
pub(super) const fn is_verdict(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidInput
            | ErrorKind::Unsupported
            | ErrorKind::Crypto
            | ErrorKind::KeyNotFound
            | ErrorKind::KeyDisabled
            | ErrorKind::KeyExpired
            | ErrorKind::KeyNotYetValid
            | ErrorKind::KeyDestroyed
            | ErrorKind::PermissionDenied
            | ErrorKind::Unauthenticated
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_follow_each_other() {
        let seconds = Duration::from_secs;
        let options = UnwrapCacheOptions::default()
            .with_keep_for(seconds(10))
            .with_refresh_before(seconds(3))
            .with_serve_stale_for(seconds(5));
        let phase = |age| options.phase(seconds(age));
        assert_eq!([phase(0), phase(6)], [Phase::Fresh; 2]);
        assert_eq!([phase(7), phase(9)], [Phase::Due; 2]);
        assert_eq!([phase(10), phase(14)], [Phase::Stale; 2]);
        assert_eq!([phase(15), options.phase(Duration::MAX)], [Phase::Over; 2]);
        let for_ever = options.with_serve_stale_for(Duration::MAX);
        assert_eq!(for_ever.phase(seconds(1 << 40)), Phase::Stale);
    }

    #[test]
    fn what_may_pass_by_itself_is_no_verdict() {
        for kind in [
            ErrorKind::Throttled,
            ErrorKind::Unavailable,
            ErrorKind::DeadlineExceeded,
            ErrorKind::Conflict,
        ] {
            assert!(kind.is_retryable() && !is_verdict(kind), "{kind}");
        }
        for kind in [ErrorKind::KeyDisabled, ErrorKind::PermissionDenied] {
            assert!(!kind.is_retryable() && is_verdict(kind), "{kind}");
        }
        assert!(!is_verdict(ErrorKind::Internal) && !is_verdict(ErrorKind::Io));
    }
}
