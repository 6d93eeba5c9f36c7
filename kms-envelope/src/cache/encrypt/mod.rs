//! The cache of DEKs that encrypt.

mod live;

use core::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kms_core::{Clock, EncryptionContext, Error, ErrorKind, Tick};

use self::live::{Found, Held, Live, Purpose, Wanted};
use super::flying::{Background, Spawner, by};
use super::limits::DekLimits;
use super::options::is_verdict;
use super::partition::{Partition, Place, Places};
use super::shelf::Shelf;
use super::stats::{CacheStats, Counters};
use super::sync::{AtomicU64, Flight, Flights, Ordering};

type Make<T> = dyn Fn(EncryptionContext) -> BoxFuture<'static, Result<T, Error>> + Send + Sync;

/// For each purpose, a partition and a context, one live DEK that encrypts, within limits.
///
/// What a `T` is, the maker decides: a DEK and its wrapped forms for several recipients, say.
/// Its `Drop` should wipe it. It is shared by all who encrypt with it, and dropped when
/// the last of them has let go and the cache has replaced it.
///
/// - **A hit** takes the lock of one of 16 shards for a moment, no async lock, and makes nothing.
/// - **Limits** on messages, bytes and age ([`DekLimits`]) are taken from before a DEK is handed
///   out, and never exceeded.
/// - **Ahead of time** a DEK is replaced while the old one goes on; see [`DekLimits`].
/// - **Making one** is done once for all who wait for the same purpose. If the caller who began it
///   is dropped, the others go on with it. Errors reach those who wait; the next caller
///   tries again.
/// - **Rotation** of the KEK is noticed when a DEK is replaced, so after
///   [`DekLimits::max_age`] at the latest; sooner through [`note_rotation`](Self::note_rotation).
/// - **Refused** by the provider while a DEK is replaced ahead of time, such as for a disabled KEK:
///   the old DEK goes too, and the caller has the error. Other errors leave it until its limits.
///
/// ```
/// use std::sync::Arc;
/// use kms_core::{EncryptionContext, KeyProvider, OsRandom, SecretBytes, WrapOptions};
/// use kms_envelope::cache::{DekLimits, EncryptCache, Partition};
/// # use kms_core::TokioClock;
/// # use kms_core::local::{LocalOptions, LocalProvider};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("keyring.json");
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// # let clock = Arc::new(TokioClock::new());
/// # let provider = Arc::new(LocalProvider::create(path, LocalOptions::new(clock.clone()))?);
/// let cache = EncryptCache::new(clock, DekLimits::default(), move |context| {
///     let provider = provider.clone();
///     async move {
///         let dek = SecretBytes::random(&OsRandom, 32)?;
///         let options = WrapOptions::default().with_context(context);
///         let wrapped = provider.wrap(&dek, &options).await?;
///         Ok((dek, wrapped))
///     }
/// });
/// let (tenant, context) = (Partition::new("acme")?, EncryptionContext::new());
/// for message in ["one", "two", "three"] {
///     let key = cache.key_for(&tenant, &context, message.len() as u64).await?;
///     let (_dek, _wrapped) = &*key;
/// }
/// assert_eq!(cache.stats().provider_calls, 1);
/// # Ok::<(), kms_core::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EncryptCache<T> {
    inner: Arc<Inner<T>>,
    spawner: Spawner,
}

struct Inner<T> {
    make: Box<Make<T>>,
    clock: Arc<dyn Clock>,
    limits: DekLimits,
    places: Places,
    live: Shelf<Held<T>>,
    flights: Flights<Purpose, Arc<Live<T>>>,
    /// Goes up with every purge, so that no DEK from before one is used after it.
    epoch: AtomicU64,
    /// Goes up with every rotation that is noted: a DEK whose making began before is due.
    rotations: AtomicU64,
    counters: Counters,
}

impl<T: Send + Sync + 'static> EncryptCache<T> {
    /// An empty cache; `make` makes a DEK for a context and wraps it.
    #[must_use]
    pub fn new<F, M>(clock: Arc<dyn Clock>, limits: DekLimits, make: M) -> Self
    where
        M: Fn(EncryptionContext) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        Self {
            inner: Arc::new(Inner {
                make: Box::new(move |context| make(context).boxed()),
                clock,
                places: Places::new(),
                live: Shelf::new(limits.purposes.max(1), limits.partitions),
                flights: Flights::new(),
                epoch: AtomicU64::new(0),
                rotations: AtomicU64::new(0),
                counters: Counters::default(),
                limits,
            }),
            spawner: Spawner::default(),
        }
    }

    /// Sets where DEKs are made ahead of time, such as `|refresh| { tokio::spawn(refresh); }`.
    /// Without it, the caller who first sees that it is time makes one and waits for it.
    #[must_use]
    pub fn with_spawner(mut self, spawn: impl Fn(Background) + Send + Sync + 'static) -> Self {
        self.spawner = Spawner::new(spawn);
        self
    }

    /// The DEK for one message of this many bytes of plaintext, which is counted already. Use it
    /// for that message and ask again for the next. A message whose length is not known
    /// yet is counted as the longest it may become.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the message alone is over [`DekLimits::max_bytes`]; what the
    /// maker says; [`ErrorKind::DeadlineExceeded`] if it says nothing within
    /// [`DekLimits::call_limit`].
    pub async fn key_for(
        &self,
        partition: &Partition,
        context: &EncryptionContext,
        bytes: u64,
    ) -> Result<Arc<T>, Error> {
        let inner = &self.inner;
        let wanted = Wanted {
            partition,
            context,
            bytes,
        };
        let place = inner.places.of(partition, context);
        match inner.look(place, &wanted) {
            Some(Found::Serve(key)) => Ok(key),
            // Boxed, so that the future of a hit stays small.
            Some(Found::Replace(key)) => Box::pin(self.replace(place, &wanted, key)).await,
            None => Box::pin(inner.fetch(place, &wanted)).await,
        }
    }

    /// As [`key_for`](Self::key_for) if there is a DEK with room; never waits. A DEK that should be
    /// replaced soon is left to a caller of `key_for`.
    #[must_use]
    pub fn cached(
        &self,
        partition: &Partition,
        context: &EncryptionContext,
        bytes: u64,
    ) -> Option<Arc<T>> {
        let inner = &self.inner;
        let wanted = Wanted {
            partition,
            context,
            bytes,
        };
        let place = inner.places.of(partition, context);
        let now = inner.clock.now();
        inner.live.hit(place, now, |held| {
            let live = held.live();
            let takes = live.is(&wanted) && live.take(&inner.limits, bytes, now).is_some();
            takes.then(|| live.key())
        })
    }

    /// Notes that a KEK may have been rotated. `is_current` says of a DEK whether it is under the KEK
    /// that wraps now, or under all of them. One that is not is replaced as soon as it is next
    /// used, and goes on until the new one is there; one that is being made just now is replaced
    /// too. If all are current, nothing happens. Returns whether one was found that had passed for
    /// current.
    ///
    /// Rotation is no emergency. After a compromise, use a `purge` method.
    pub fn note_rotation(&self, is_current: impl Fn(&T) -> bool) -> bool {
        let inner = &self.inner;
        let mut rotated = false;
        inner.live.retain(|_, held| {
            rotated |= held.passes_for_current() && !is_current(&held.live().key());
            true
        });
        if rotated {
            // Counted first: what is entered behind the second look is of a making that began
            // before this, and so due.
            let rotations = inner
                .rotations
                .fetch_add(1, Ordering::AcqRel)
                .wrapping_add(1);
            inner.live.retain(|_, held| {
                held.note_rotation(rotations, is_current(&held.live().key()));
                true
            });
        }
        rotated
    }

    /// Forgets the DEKs for which `out` says so, such as those wrapped by a compromised KEK. Whoever
    /// asks from now on has a DEK that was made after this, for every purpose that is concerned.
    /// A DEK that is being made just now is not used by anyone.
    pub fn purge(&self, out: impl Fn(&T) -> bool) {
        self.inner.purge(|_, key| out(key));
    }

    /// Forgets the DEKs of one partition.
    pub fn purge_partition(&self, partition: &Partition) {
        let hash = self.inner.places.partition(partition);
        self.inner.purge(|other, _| other == hash);
    }

    /// Forgets all DEKs.
    pub fn purge_all(&self) {
        self.inner.purge(|_, _| true);
    }

    /// Forgets, and so drops, what may not encrypt any more. It would not be used in any case.
    pub fn sweep(&self) {
        let now = self.inner.clock.now();
        let limits = &self.inner.limits;
        self.inner
            .live
            .retain(|_, held| held.live().has_room(limits, 0, now));
    }

    /// How much, and how long, each DEK may encrypt.
    #[must_use]
    pub fn limits(&self) -> &DekLimits {
        &self.inner.limits
    }

    /// What the cache has done so far. `provider_calls` counts the calls of the maker.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let live = &self.inner.live;
        self.inner
            .counters
            .snapshot(live.hits(), live.evicted(), live.len())
    }

    /// Makes the next DEK ahead of time; `key`, which is counted, is used if that fails.
    async fn replace(
        &self,
        place: Place,
        wanted: &Wanted<'_>,
        key: Arc<T>,
    ) -> Result<Arc<T>, Error> {
        let inner = &self.inner;
        inner.counters.refreshes.add();
        let epoch = inner.epoch.load(Ordering::Acquire);
        let rotations = inner.rotations.load(Ordering::Acquire);
        let flight = inner.fly(place, wanted, epoch, |held, now| {
            !held.is_due(&inner.limits, rotations, now)
        });
        match self.spawner.spawn(flight) {
            None => Ok(key),
            Some(flight) => match flight.await {
                Err(error) if is_verdict(error.kind()) => Err(error),
                Ok(_) | Err(_) => Ok(key),
            },
        }
    }
}

impl<T: Send + Sync + 'static> Inner<T> {
    fn look(&self, place: Place, wanted: &Wanted<'_>) -> Option<Found<T>> {
        let now = self.clock.now();
        let rotations = self.rotations.load(Ordering::Acquire);
        self.live.hit(place, now, |held| {
            held.serve(wanted, &self.limits, rotations, now)
        })
    }

    /// Waits for a DEK with room, made by us or by another.
    async fn fetch(self: &Arc<Self>, place: Place, wanted: &Wanted<'_>) -> Result<Arc<T>, Error> {
        if wanted.bytes > self.limits.max_bytes {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "a message of {} bytes is over the {} bytes that one DEK may encrypt",
                    wanted.bytes, self.limits.max_bytes
                ),
            ));
        }
        self.counters.misses.add();
        // Each DEK has room for one at least of those who wait for it, so this ends.
        loop {
            let epoch = self.epoch.load(Ordering::Acquire);
            let flight = self.fly(place, wanted, epoch, |held, now| {
                held.live().has_room(&self.limits, wanted.bytes, now)
            });
            let live = flight.await?;
            // A purge while it was made: nobody may use it.
            if self.epoch.load(Ordering::Acquire) != epoch {
                continue;
            }
            let now = self.clock.now();
            if live.take(&self.limits, wanted.bytes, now).is_some() {
                return Ok(live.key());
            }
        }
    }

    /// Joins the call that makes a DEK for this purpose, or begins it unless there is a good one.
    fn fly(
        self: &Arc<Self>,
        place: Place,
        wanted: &Wanted<'_>,
        epoch: u64,
        good: impl FnOnce(&Held<T>, Tick) -> bool,
    ) -> Flight<Arc<Live<T>>> {
        let mut began = false;
        let flight = self.flights.join(wanted.to_purpose(epoch), |purpose| {
            // Another flight may have landed since we looked.
            let now = self.clock.now();
            let known = self.live.peek(place, |held| {
                (held.live().is(wanted) && good(held, now)).then(|| Arc::clone(held.live()))
            });
            began = known.is_none();
            let inner = Arc::clone(self);
            async move {
                match known {
                    Some(live) => Ok(live),
                    None => inner.make(place, purpose).await,
                }
            }
        });
        if !began {
            self.counters.coalesced.add();
        }
        flight
    }

    async fn make(&self, place: Place, purpose: Arc<Purpose>) -> Result<Arc<Live<T>>, Error> {
        self.counters.provider_calls.add();
        let rotations = self.rotations.load(Ordering::Acquire);
        let deadline = self.clock.now() + self.limits.call_limit;
        let making = (self.make)(purpose.context.clone());
        match by(&*self.clock, Some(deadline), "making a DEK", making).await {
            Ok(key) => {
                let now = self.clock.now();
                let epoch = purpose.epoch;
                let live = Arc::new(Live::new(purpose, key, &self.limits, now));
                let held = Held::new(Arc::clone(&live), rotations);
                self.live.insert(place, held, now, || {
                    self.epoch.load(Ordering::Acquire) == epoch
                });
                Ok(live)
            }
            Err(error) => {
                self.counters.provider_errors.add();
                if is_verdict(error.kind()) {
                    self.live
                        .remove_if(place, |held| held.live().is_for(&purpose));
                }
                Err(error)
            }
        }
    }

    fn purge(&self, out: impl Fn(u64, &T) -> bool) {
        // Before, so that nothing whose making began earlier is entered; and after, so that nobody
        // joins a flight that saw what is on its way out.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.live
            .retain(|partition, held| !out(partition, &held.live().key()));
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

impl<T> fmt::Debug for EncryptCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptCache")
            .field("limits", &self.inner.limits)
            .field("live", &self.inner.live)
            .field("spawner", &self.spawner)
            .finish_non_exhaustive()
    }
}
