//! Unwrapping: one provider call for all who ask for the same at once, and a small cache.

use core::num::NonZeroUsize;
use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kms_core::{
    CallOptions, Clock, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, SecretBytes, Tick,
    UnwrapOptions, WrappedKey,
};
use lru::LruCache;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::CacheOptions;
use crate::deadline::within;

/// The most different keys that may be waited for at once.
const MAX_FLIGHTS: usize = 1024;

/// The most key ids that are looked at in one review; a cluster has two or three in use.
const MAX_REVIEWED: usize = 32;

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

    /// Asks the provider after every key that something is kept of, all at once, and drops what can
    /// be unwrapped no more. `current` was confirmed just now and is not asked after again.
    ///
    /// A provider that does not answer changes nothing: the cache is there for that very case.
    pub(super) async fn review(&self, current: Option<&KeyId>) {
        if !self.provider.capabilities().describes_keys {
            return;
        }
        let deadline = self.clock.now() + self.limit;
        let mut looks = JoinSet::new();
        for id in self.key_ids_to_review(current) {
            let provider = Arc::clone(&self.provider);
            let options = CallOptions::default().with_deadline(deadline);
            looks.spawn(async move {
                let found = provider.describe_key(&id, &options).await;
                (id, found)
            });
        }
        let reviewed = within(&*self.clock, deadline, "looking at cached keys", async {
            while let Some(look) = looks.join_next().await {
                if let Ok((id, found)) = look
                    && is_gone(&found)
                {
                    self.forget(&id);
                }
            }
            Ok(())
        });
        // What did not come in time is asked for again in the next review.
        let _ = reviewed.await;
    }

    /// The ids of the keys that something is kept of, except `current`. What is kept of more than
    /// [`MAX_REVIEWED`] of them is dropped, the least recently used first: nothing stays unreviewed.
    fn key_ids_to_review(&self, current: Option<&KeyId>) -> HashSet<KeyId> {
        let mut ids = HashSet::new();
        let Some(cache) = &self.cache else {
            return ids;
        };
        let mut cache = lock(cache);
        let mut too_many = Vec::new();
        for (wrapped, _) in cache.iter() {
            match wrapped.key_id() {
                Some(id) if current == Some(id) || ids.contains(id) => {}
                Some(id) if ids.len() < MAX_REVIEWED => {
                    ids.insert(id.clone());
                }
                Some(_) => too_many.push(wrapped.clone()),
                None => {}
            }
        }
        for wrapped in too_many {
            cache.pop(&wrapped);
        }
        ids
    }

    /// Drops what is kept of this key, and what may be of it: that which names no key.
    fn forget(&self, id: &KeyId) {
        if let Some(cache) = &self.cache {
            let mut cache = lock(cache);
            let gone: Vec<WrappedKey> = cache
                .iter()
                .filter(|(wrapped, _)| wrapped.key_id().is_none_or(|of| of == id))
                .map(|(wrapped, _)| wrapped.clone())
                .collect();
            for wrapped in gone {
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

/// Whether a description says that the key unwraps no more, rather than nothing at all.
fn is_gone(found: &Result<KeyInfo, Error>) -> bool {
    match found {
        Ok(info) => !info.state.can_unwrap(),
        Err(error) => matches!(
            error.kind(),
            ErrorKind::KeyNotFound | ErrorKind::KeyDestroyed | ErrorKind::KeyDisabled
        ),
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
    use kms_core::{Capabilities, KeyState, TokioClock, WrapOptions};

    use super::*;

    /// Unwraps what ends in an even byte, and hangs at the rest. Every key is disabled whose id
    /// begins with "off"; of one whose id begins with "?" it does not tell.
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
            Capabilities::basic().with_describes_keys(true)
        }

        async fn describe_key(&self, id: &KeyId, _: &CallOptions) -> Result<KeyInfo, Error> {
            match id.as_str().split('-').next() {
                Some("off") => Ok(KeyInfo::new(id.clone(), KeyState::Disabled)),
                Some("none") => Err(Error::new(ErrorKind::KeyNotFound, "never heard of it")),
                Some("?") => Err(Error::new(ErrorKind::Unavailable, "who knows")),
                Some("hang") => core::future::pending().await,
                _ => Ok(KeyInfo::new(id.clone(), KeyState::Expired)),
            }
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

    fn of_key(id: &str) -> WrappedKey {
        WrappedKey::new(id.parse().unwrap(), vec![0]).unwrap()
    }

    async fn review(ids: &[&str], current: Option<&str>) -> Vec<String> {
        let unwraps = unwraps(1000);
        let deadline = unwraps.clock.now() + LIMIT;
        for id in ids {
            let opened = unwraps.unwrap(of_key(id), deadline, None).await;
            assert_eq!(opened.unwrap().len(), 1);
        }
        let current = current.map(|id| id.parse().unwrap());
        unwraps.review(current.as_ref()).await;
        let cache = lock(unwraps.cache.as_ref().unwrap());
        cache
            .iter()
            .filter_map(|(wrapped, _)| wrapped.key_id().map(ToString::to_string))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_review_drops_what_is_known_to_be_gone_and_nothing_else() {
        let mut left = review(&["off-1", "a", "none-1", "?-1", "hang-1", "off-2"], None).await;
        left.sort();
        assert_eq!(left, ["?-1", "a", "hang-1"]);
        // The current key was confirmed in the same round.
        assert_eq!(review(&["off-1"], Some("off-1")).await, ["off-1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_names_no_key_goes_with_any_key() {
        let unwraps = unwraps(4);
        let deadline = unwraps.clock.now() + LIMIT;
        let bare = WrappedKey::without_key_id(vec![0]).unwrap();
        unwraps.unwrap(bare, deadline, None).await.unwrap();
        unwraps.review(None).await;
        assert_eq!(kept(&unwraps), 1);
        let gone = of_key("off-1");
        unwraps.unwrap(gone, deadline, None).await.unwrap();
        unwraps.review(None).await;
        assert_eq!(kept(&unwraps), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_review_is_bounded_and_leaves_nothing_unreviewed() {
        let ids: Vec<String> = (0..100).map(|n| format!("k-{n}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let left = review(&ids, None).await;
        assert_eq!(left.len(), MAX_REVIEWED);
        assert_eq!(left.first().map(String::as_str), Some("k-99"));
    }
}
