//! The cache of unwrapped DEKs.

mod calls;
mod entry;
mod refusals;

use core::fmt;
use std::sync::Arc;

use kms_core::{
    CallOptions, Clock, EncryptionContext, Error, KeyId, KeyProvider, SecretBytes, UnwrapOptions,
    WrappedKey,
};

use self::calls::{Inner, Prepare};
use self::entry::{Asked, Entry, Found};
use super::flying::{Background, Spawner, by};
use super::options::{Phase, UnwrapCacheOptions, is_verdict};
use super::partition::{Partition, Place};
use super::stats::CacheStats;

/// Unwrapped DEKs, so that opening does not call the provider each time.
///
/// - **A hit** takes the lock of one of 16 shards for a moment, no async lock, and makes no call.
/// - **A miss** makes one provider call for all who ask for the same at once. If the caller who
///   began it is dropped, the others go on with it; when the last is dropped, so is the call.
/// - **Errors** reach those who wait. One that a retry would not change is remembered briefly
///   ([`remember_errors_for`](UnwrapCacheOptions::remember_errors_for)), so that a stored value
///   that cannot be opened does not become a stream of calls.
/// - **Time:** see [`UnwrapCacheOptions`] for the life of an entry. When a refresh is
///   [refused](kms_core::ErrorKind::KeyDisabled), the entry goes at once and the caller has the error.
/// - **Deadlines:** each caller waits until [`CallOptions::deadline`] and no longer; the
///   shared call has a limit of its own. Put [`Retry`](kms_core::layer::Retry) around the provider
///   if it should be tried more than once.
/// - **What is kept** is the DEK, or what [`preparing`](Self::preparing) makes of it.
/// - **Secrets:** all share one copy, which is wiped when the last one lets go of it. The context
///   and the partition are part of what is asked: another one is another entry.
///
/// ```
/// use std::sync::Arc;
/// use kms_core::{KeyProvider, SecretBytes, UnwrapOptions, WrapOptions};
/// use kms_envelope::cache::{Partition, UnwrapCache, UnwrapCacheOptions};
/// # use kms_core::TokioClock;
/// # use kms_core::local::{LocalOptions, LocalProvider};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("keyring.json");
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// # let clock = Arc::new(TokioClock::new());
/// # let provider = Arc::new(LocalProvider::create(path, LocalOptions::new(clock.clone()))?);
/// let cache = UnwrapCache::new(provider.clone(), clock, UnwrapCacheOptions::default());
/// let dek = SecretBytes::from_vec(vec![7; 32]);
/// let wrapped = provider.wrap(&dek, &WrapOptions::default()).await?;
///
/// let tenant = Partition::new("acme")?;
/// for _ in 0..3 {
///     let opened = cache.unwrap(&tenant, &wrapped, &UnwrapOptions::default()).await?;
///     assert_eq!(*opened, dek);
/// }
/// assert_eq!((cache.stats().provider_calls, cache.stats().hits), (1, 2));
/// # Ok::<(), kms_core::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct UnwrapCache<T = SecretBytes> {
    inner: Arc<Inner<T>>,
    spawner: Spawner,
}

impl UnwrapCache {
    /// An empty cache before this provider.
    #[must_use]
    pub fn new(
        provider: Arc<dyn KeyProvider>,
        clock: Arc<dyn Clock>,
        options: UnwrapCacheOptions,
    ) -> Self {
        Self::preparing(provider, clock, options, Ok)
    }
}

impl<T: Send + Sync + 'static> UnwrapCache<T> {
    /// An empty cache that keeps what `prepare` makes of each unwrapped DEK, such as a
    /// [`Dek`](crate::sealed::Dek) with what is derived from it. An error of `prepare` is taken as
    /// one of the provider.
    #[must_use]
    pub fn preparing(
        provider: Arc<dyn KeyProvider>,
        clock: Arc<dyn Clock>,
        options: UnwrapCacheOptions,
        prepare: impl Fn(SecretBytes) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Self {
        let prepare: Box<Prepare<T>> = Box::new(prepare);
        Self {
            inner: Arc::new(Inner::new(provider, clock, options, prepare)),
            spawner: Spawner::default(),
        }
    }

    /// Sets where refreshes run, such as `|refresh| { tokio::spawn(refresh); }`. Without it, the
    /// caller who first sees that one is due carries it out and waits for it.
    #[must_use]
    pub fn with_spawner(mut self, spawn: impl Fn(Background) + Send + Sync + 'static) -> Self {
        self.spawner = Spawner::new(spawn);
        self
    }

    /// Unwraps a DEK, or has it already.
    ///
    /// # Errors
    ///
    /// What the provider says; [`ErrorKind::DeadlineExceeded`](kms_core::ErrorKind::DeadlineExceeded)
    /// if it says nothing in time.
    pub async fn unwrap(
        &self,
        partition: &Partition,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<Arc<T>, Error> {
        let inner = &self.inner;
        let asked = Asked {
            partition,
            wrapped,
            context: &options.context,
        };
        let place = inner.places.of(partition, &asked);
        match inner.look(place, &asked) {
            Some(Found::Serve(dek)) => Ok(dek),
            Some(Found::ServeStale(dek)) => {
                inner.counters.stale_served.add();
                Ok(dek)
            }
            // Boxed, so that the future of a hit stays small.
            Some(Found::Refresh(dek)) => {
                Box::pin(self.refresh(place, &asked, &options.call, dek)).await
            }
            None => Box::pin(inner.fetch(place, &asked, &options.call)).await,
        }
    }

    /// The DEK if it is cached and not past its time. Never waits, refreshes nothing.
    #[must_use]
    pub fn cached(
        &self,
        partition: &Partition,
        wrapped: &WrappedKey,
        context: &EncryptionContext,
    ) -> Option<Arc<T>> {
        let inner = &self.inner;
        let asked = Asked {
            partition,
            wrapped,
            context,
        };
        let place = inner.places.of(partition, &asked);
        let now = inner.clock.now();
        inner.entries.hit(place, now, |entry| {
            entry
                .valid(&asked, &inner.options, now)
                .then(|| entry.dek())
        })
    }

    /// Whether there is a DEK that is not past its time. Asking is no use of it, and keeps it from
    /// no eviction.
    pub(crate) fn knows(
        &self,
        partition: &Partition,
        wrapped: &WrappedKey,
        context: &EncryptionContext,
    ) -> bool {
        let inner = &self.inner;
        let asked = Asked {
            partition,
            wrapped,
            context,
        };
        let place = inner.places.of(partition, &asked);
        let now = inner.clock.now();
        let valid = |entry: &mut Entry<T>| entry.valid(&asked, &inner.options, now).then_some(());
        inner.entries.peek(place, valid).is_some()
    }

    /// Forgets everything that is under this KEK, since it is compromised. What is being
    /// unwrapped just now reaches those who wait for it and is not entered.
    pub fn purge_key(&self, key_id: &KeyId) {
        self.inner.purge(|_, entry| entry.key_id() == Some(key_id));
    }

    /// Forgets everything of one partition.
    pub fn purge_partition(&self, partition: &Partition) {
        let hash = self.inner.places.partition(partition);
        self.inner.purge(|other, _| other == hash);
    }

    /// Forgets everything.
    pub fn purge_all(&self) {
        self.inner.purge(|_, _| true);
    }

    /// Forgets, and so wipes, what is past its time. Nothing past its time is ever served, swept or
    /// not; call this now and then so that it does not lie in memory until it is pushed out.
    pub fn sweep(&self) {
        let now = self.inner.clock.now();
        let options = &self.inner.options;
        self.inner
            .entries
            .retain(|_, entry| entry.phase(options, now) != Phase::Over);
        self.inner.refusals.sweep(now);
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let entries = &self.inner.entries;
        self.inner
            .counters
            .snapshot(entries.hits(), entries.evicted(), entries.len())
    }

    /// How many errors are remembered.
    #[must_use]
    pub fn remembered_errors(&self) -> usize {
        self.inner.refusals.len()
    }

    /// Fetches an entry anew that is still good, and serves the old one if that does not work out.
    async fn refresh(
        &self,
        place: Place,
        asked: &Asked<'_>,
        call: &CallOptions,
        dek: Arc<T>,
    ) -> Result<Arc<T>, Error> {
        let inner = &self.inner;
        inner.counters.refreshes.add();
        let Some(refresh) = self
            .spawner
            .spawn(inner.fly(place, asked, call, Phase::Fresh))
        else {
            return Ok(dek);
        };
        match by(&*inner.clock, call.deadline, "unwrap", refresh).await {
            Err(error) if is_verdict(error.kind()) => Err(error),
            Err(_) => Ok(dek),
            Ok(dek) => Ok(dek),
        }
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for UnwrapCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnwrapCache")
            .field("provider", &self.inner.provider.to_string())
            .field("options", &self.inner.options)
            .field("stats", &self.stats())
            .field("in_flight", &self.inner.flights.len())
            .field("spawner", &self.spawner)
            .finish()
    }
}
