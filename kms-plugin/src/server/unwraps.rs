//! Unwrapping: one provider call for all who ask for the same at once, and a small cache.

use core::num::NonZeroUsize;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kms_core::{
    CallOptions, Clock, Error, ErrorKind, KeyProvider, SecretBytes, Tick, UnwrapOptions, WrappedKey,
};
use lru::LruCache;
use tokio::sync::{Semaphore, watch};

use super::CacheOptions;
use crate::deadline::within;

/// The most different keys that may be waited for at once.
const MAX_FLIGHTS: usize = 1024;

type Outcome = Result<Arc<SecretBytes>, Error>;
type Flight = watch::Receiver<Option<Outcome>>;

pub(super) struct Unwraps {
    provider: Arc<dyn KeyProvider>,
    clock: Arc<dyn Clock>,
    limit: Duration,
    keep_for: Duration,
    cache: Option<Mutex<LruCache<WrappedKey, Kept>>>,
    flights: Mutex<HashMap<WrappedKey, Flight>>,
    permits: Semaphore,
}

enum Boarding {
    Cached(Arc<SecretBytes>),
    Flight(Flight),
}

struct Kept {
    secret: Arc<SecretBytes>,
    until: Tick,
}

/// The lock's data is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Unwraps {
    pub(super) fn new(
        provider: Arc<dyn KeyProvider>,
        clock: Arc<dyn Clock>,
        limit: Duration,
        at_once: NonZeroUsize,
        cache: Option<CacheOptions>,
    ) -> Self {
        Self {
            provider,
            clock,
            limit,
            keep_for: cache.map_or(Duration::ZERO, |cache| cache.keep_for),
            cache: cache.map(|cache| Mutex::new(LruCache::new(cache.entries))),
            flights: Mutex::default(),
            permits: Semaphore::new(at_once.get().min(Semaphore::MAX_PERMITS)),
        }
    }

    /// Unwraps, by `deadline`. Dropping the future leaves the provider call to the others who wait
    /// for it, and to the cache.
    pub(super) async fn unwrap(
        self: &Arc<Self>,
        wrapped: WrappedKey,
        deadline: Tick,
        request_id: Option<String>,
    ) -> Outcome {
        let mut flight = match self.join(wrapped, request_id)? {
            Boarding::Cached(secret) => return Ok(secret),
            Boarding::Flight(flight) => flight,
        };
        within(&*self.clock, deadline, "unwrapping", async {
            let landed = flight.wait_for(Option::is_some).await;
            landed
                .ok()
                .and_then(|outcome| outcome.clone())
                .unwrap_or_else(|| {
                    Err(Error::new(
                        ErrorKind::Internal,
                        "the provider call was lost",
                    ))
                })
        })
        .await
    }

    /// Takes the secret from the cache, or joins the flight for this key, or starts one. All under
    /// one lock, so that a flight that lands meanwhile is not flown again.
    fn join(
        self: &Arc<Self>,
        wrapped: WrappedKey,
        request_id: Option<String>,
    ) -> Result<Boarding, Error> {
        let mut flights = lock(&self.flights);
        if let Some(secret) = self.cached(&wrapped) {
            return Ok(Boarding::Cached(secret));
        }
        if let Some(flight) = flights.get(&wrapped) {
            return Ok(Boarding::Flight(flight.clone()));
        }
        if flights.len() >= MAX_FLIGHTS {
            return Err(Error::new(
                ErrorKind::Throttled,
                format!("{MAX_FLIGHTS} different keys are being unwrapped already"),
            ));
        }
        let (land, flight) = watch::channel(None);
        flights.insert(wrapped.clone(), flight.clone());
        drop(flights);
        let ticket = Ticket {
            unwraps: Arc::clone(self),
            wrapped,
        };
        // A task of its own: a caller that goes away must not take the others' answer with it.
        tokio::spawn(async move {
            let outcome = ticket.unwraps.fly(&ticket.wrapped, request_id).await;
            if let Ok(secret) = &outcome {
                ticket.unwraps.keep(&ticket.wrapped, secret);
            }
            drop(ticket);
            land.send_replace(Some(outcome));
        });
        Ok(Boarding::Flight(flight))
    }

    async fn fly(&self, wrapped: &WrappedKey, request_id: Option<String>) -> Outcome {
        let deadline = self.clock.now() + self.limit;
        let mut call = CallOptions::default().with_deadline(deadline);
        call.request_id = request_id;
        let options = UnwrapOptions::default().with_call(call);
        within(&*self.clock, deadline, "the provider's unwrap", async {
            let _permit = self
                .permits
                .acquire()
                .await
                .map_err(|_closed| Error::new(ErrorKind::Internal, "the plugin has stopped"))?;
            self.provider.unwrap(wrapped, &options).await
        })
        .await
        .map(Arc::new)
    }

    fn cached(&self, wrapped: &WrappedKey) -> Option<Arc<SecretBytes>> {
        let mut cache = lock(self.cache.as_ref()?);
        let kept = cache.get(wrapped)?;
        if kept.until > self.clock.now() {
            return Some(Arc::clone(&kept.secret));
        }
        cache.pop(wrapped);
        None
    }

    fn keep(&self, wrapped: &WrappedKey, secret: &Arc<SecretBytes>) {
        if let Some(cache) = &self.cache {
            let kept = Kept {
                secret: Arc::clone(secret),
                until: self.clock.now() + self.keep_for,
            };
            lock(cache).put(wrapped.clone(), kept);
        }
    }

    /// Drops, and so wipes, what has been kept long enough.
    pub(super) fn sweep(&self) {
        if let Some(cache) = &self.cache {
            let now = self.clock.now();
            let mut cache = lock(cache);
            let over: Vec<WrappedKey> = cache
                .iter()
                .filter(|(_, kept)| kept.until <= now)
                .map(|(wrapped, _)| wrapped.clone())
                .collect();
            for wrapped in over {
                cache.pop(&wrapped);
            }
        }
    }

    /// Drops everything.
    pub(super) fn clear(&self) {
        if let Some(cache) = &self.cache {
            lock(cache).clear();
        }
    }
}

/// Takes the flight off the list when it ends, even by a panic.
struct Ticket {
    unwraps: Arc<Unwraps>,
    wrapped: WrappedKey,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.unwraps.flights).remove(&self.wrapped);
    }
}

#[cfg(test)]
mod tests {
    use core::fmt;

    use async_trait::async_trait;
    use kms_core::{Capabilities, KeyInfo, TokioClock, WrapOptions};

    use super::*;

    /// Unwraps what ends in an even byte, and hangs at the rest.
    #[derive(Debug)]
    struct Half;

    impl fmt::Display for Half {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")
        }
    }

    #[async_trait]
    impl KeyProvider for Half {
        fn capabilities(&self) -> Capabilities {
            Capabilities::basic()
        }

        async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
            Err(Error::crypto())
        }

        async fn wrap(&self, _: &SecretBytes, _: &WrapOptions) -> Result<WrappedKey, Error> {
            Err(Error::crypto())
        }

        async fn unwrap(
            &self,
            wrapped: &WrappedKey,
            _: &UnwrapOptions,
        ) -> Result<SecretBytes, Error> {
            if wrapped
                .ciphertext()
                .last()
                .is_some_and(|byte| byte % 2 == 0)
            {
                return Ok(SecretBytes::copy_from_slice(wrapped.ciphertext()));
            }
            core::future::pending().await
        }
    }

    const LIMIT: Duration = Duration::from_secs(3);

    fn unwraps(entries: usize) -> Arc<Unwraps> {
        let cache = CacheOptions::new(NonZeroUsize::new(entries).unwrap(), LIMIT);
        Arc::new(Unwraps::new(
            Arc::new(Half),
            Arc::new(TokioClock::new()),
            LIMIT,
            NonZeroUsize::new(8).unwrap(),
            Some(cache),
        ))
    }

    fn wrapped(number: u16, last: u8) -> WrappedKey {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.push(last);
        WrappedKey::new("k".parse().unwrap(), bytes).unwrap()
    }

    fn kept(unwraps: &Unwraps) -> usize {
        lock(unwraps.cache.as_ref().unwrap()).len()
    }

    #[tokio::test(start_paused = true)]
    async fn the_flights_are_bounded_and_all_end() {
        let unwraps = unwraps(4);
        for number in 0..1024 {
            assert!(unwraps.join(wrapped(number, 1), None).is_ok());
        }
        let refused = unwraps.join(wrapped(2000, 1), None).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Throttled);
        // To join one that is there needs no room.
        assert!(unwraps.join(wrapped(7, 1), None).is_ok());
        let late = unwraps
            .unwrap(wrapped(7, 1), unwraps.clock.now() + LIMIT * 2, None)
            .await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        tokio::time::sleep(LIMIT).await;
        assert!(lock(&unwraps.flights).is_empty());
        assert!(unwraps.join(wrapped(2000, 1), None).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_cache_is_bounded_swept_and_cleared() {
        let unwraps = unwraps(4);
        let deadline = unwraps.clock.now() + LIMIT;
        for number in 0..6 {
            let opened = unwraps.unwrap(wrapped(number, 0), deadline, None).await;
            assert_eq!(opened.unwrap().len(), 3);
        }
        assert_eq!(kept(&unwraps), 4);
        unwraps.sweep();
        assert_eq!(kept(&unwraps), 4);
        tokio::time::advance(LIMIT).await;
        unwraps.sweep();
        assert_eq!(kept(&unwraps), 0);
        let again = unwraps.clock.now() + LIMIT;
        unwraps.unwrap(wrapped(1, 0), again, None).await.unwrap();
        assert_eq!(kept(&unwraps), 1);
        unwraps.clear();
        assert_eq!(kept(&unwraps), 0);
    }
}
