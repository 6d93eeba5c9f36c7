//! What a cache has done so far.

use core::sync::atomic::{AtomicU64, Ordering};

/// Counts since the cache was made, for whatever metrics a program has. They wrap around.
///
/// Read one after another while the cache works, so they need not add up to the last one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Calls answered at once by what was cached, stale answers among them.
    pub hits: u64,
    /// Calls that found nothing to use, and so had to wait or to fail.
    pub misses: u64,
    /// Calls that joined another's provider call and made none.
    pub coalesced: u64,
    /// Calls to the provider, or to the maker of DEKs.
    pub provider_calls: u64,
    /// How many of those failed.
    pub provider_errors: u64,
    /// Refreshes begun before anything had expired.
    pub refreshes: u64,
    /// Answers past their time, given because the KMS could not be reached.
    pub stale_served: u64,
    /// Calls answered by a remembered error.
    pub negative_hits: u64,
    /// Entries that had to make room for others.
    pub evicted: u64,
    /// How many entries there are now.
    pub entries: u64,
}

/// The counters off the hot path; hits are counted where the lock is held anyway.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) misses: Counter,
    pub(super) coalesced: Counter,
    pub(super) provider_calls: Counter,
    pub(super) provider_errors: Counter,
    pub(super) refreshes: Counter,
    pub(super) stale_served: Counter,
    pub(super) negative_hits: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn snapshot(&self, hits: u64, evicted: u64, entries: usize) -> CacheStats {
        CacheStats {
            hits,
            misses: self.misses.read(),
            coalesced: self.coalesced.read(),
            provider_calls: self.provider_calls.read(),
            provider_errors: self.provider_errors.read(),
            refreshes: self.refreshes.read(),
            stale_served: self.stale_served.read(),
            negative_hits: self.negative_hits.read(),
            evicted,
            entries: u64::try_from(entries).unwrap_or(u64::MAX),
        }
    }
}
