//! Unwrapped DEK sources, kept so that reading does not call the KMS for each value.
//!
//! What is kept is the raw seed or key, in memory that is wiped when its last user lets go. The
//! prepared keys of the cipher are not kept: `ring` does not wipe them. So each call sets its key
//! up anew, which costs some 0.2 µs.
//!
//! A hostile value cannot poison the cache or slow it down: an entry is found by a hash that is
//! keyed by the process, then compared in full, and only what the KMS has unwrapped is entered.

use core::fmt;
use core::hash::{BuildHasher as _, Hasher as _};
use core::time::Duration;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, PoisonError};

use kms_core::{SecretBytes, Tick, WrappedKey};
use lru::LruCache;

use super::DekSourceType;

/// What stands beside a value and names its DEK source.
#[derive(Clone, Copy, Debug)]
pub(super) struct DekSourceRef<'a> {
    /// `None` for KMS v1.
    pub(super) kind: Option<DekSourceType>,
    pub(super) key_id: Option<&'a str>,
    pub(super) ciphertext: &'a [u8],
    /// In order of their names.
    pub(super) annotations: &'a [(&'a str, &'a [u8])],
}

/// A DEK source, wrapped and unwrapped.
#[derive(Debug)]
pub(super) struct DekSource {
    pub(super) kind: Option<DekSourceType>,
    pub(super) wrapped: WrappedKey,
    pub(super) secret: SecretBytes,
}

impl DekSource {
    /// Whether this is the one that a value names.
    pub(super) fn is(&self, named: &DekSourceRef<'_>) -> bool {
        self.kind == named.kind
            && self.wrapped.ciphertext() == named.ciphertext
            && self.wrapped.key_id().map(|id| id.as_str()) == named.key_id
            && self.wrapped.annotations().len() == named.annotations.len()
            && self
                .wrapped
                .annotations()
                .iter()
                .zip(named.annotations)
                .all(|(ours, theirs)| ours.0 == theirs.0 && ours.1 == theirs.1)
    }
}

struct Entry {
    source: Arc<DekSource>,
    inserted: Tick,
}

/// A bounded cache of DEK sources, the least recently used one goes first.
pub(super) struct DekCache {
    entries: Mutex<LruCache<u64, Entry>>,
    hasher: RandomState,
    capacity: usize,
    ttl: Duration,
}

impl DekCache {
    /// `capacity` zero keeps nothing.
    pub(super) fn new(capacity: usize, ttl: Duration) -> Self {
        Self {
            // Bounded here and not by `LruCache::new`, which would allocate all of it at once.
            entries: Mutex::new(LruCache::unbounded()),
            hasher: RandomState::new(),
            capacity,
            ttl,
        }
    }

    pub(super) fn get(&self, named: &DekSourceRef<'_>, now: Tick) -> Option<Arc<DekSource>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // A list of objects comes in runs under one seed: look there before hashing anything.
        if let Some((_, latest)) = entries.peek_mru()
            && self.is_fresh(latest, now)
            && latest.source.is(named)
        {
            return Some(Arc::clone(&latest.source));
        }
        let hash = self.hash(named);
        let entry = entries.get(&hash)?;
        if !self.is_fresh(entry, now) {
            entries.pop(&hash);
            return None;
        }
        entry.source.is(named).then(|| Arc::clone(&entry.source))
    }

    fn is_fresh(&self, entry: &Entry, now: Tick) -> bool {
        now.since(entry.inserted) < self.ttl
    }

    pub(super) fn insert(&self, source: Arc<DekSource>, now: Tick) {
        if self.capacity == 0 {
            return;
        }
        let annotations: Vec<(&str, &[u8])> = source
            .wrapped
            .annotations()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let hash = self.hash(&DekSourceRef {
            kind: source.kind,
            key_id: source.wrapped.key_id().map(|id| id.as_str()),
            ciphertext: source.wrapped.ciphertext(),
            annotations: &annotations,
        });
        drop(annotations);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.put(
            hash,
            Entry {
                source,
                inserted: now,
            },
        );
        while entries.len() > self.capacity {
            entries.pop_lru();
        }
    }

    /// Wipes what is past its time, asked for or not.
    pub(super) fn remove_expired(&self, now: Tick) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let expired: Vec<u64> = entries
            .iter()
            .filter(|(_, entry)| !self.is_fresh(entry, now))
            .map(|(hash, _)| *hash)
            .collect();
        for hash in expired {
            entries.pop(&hash);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    /// Two DEK sources of one hash push each other out, which costs a call and no more.
    fn hash(&self, named: &DekSourceRef<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_i32(named.kind.map_or(-1, DekSourceType::number));
        hasher.write_usize(named.ciphertext.len());
        hasher.write(named.ciphertext);
        hasher.write(named.key_id.unwrap_or_default().as_bytes());
        for (name, value) in named.annotations {
            hasher.write_usize(name.len());
            hasher.write(name.as_bytes());
            hasher.write_usize(value.len());
            hasher.write(value);
        }
        hasher.finish()
    }
}

impl fmt::Debug for DekCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DekCache")
            .field("capacity", &self.capacity)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn source(ciphertext: &[u8]) -> Arc<DekSource> {
        Arc::new(DekSource {
            kind: Some(DekSourceType::HkdfSha256XnonceAesGcmSeed),
            wrapped: WrappedKey::new("key-1".parse().unwrap(), ciphertext.to_vec())
                .unwrap()
                .with_annotation("a.b", b"1".to_vec())
                .unwrap(),
            secret: SecretBytes::copy_from_slice(&[7; 32]),
        })
    }

    fn named(ciphertext: &[u8]) -> DekSourceRef<'_> {
        DekSourceRef {
            kind: Some(DekSourceType::HkdfSha256XnonceAesGcmSeed),
            key_id: Some("key-1"),
            ciphertext,
            annotations: &[("a.b", b"1")],
        }
    }

    #[test]
    fn every_part_of_a_source_counts() {
        let cache = DekCache::new(2, TTL);
        cache.insert(source(b"one"), Tick::ORIGIN);
        let one = named(b"one");
        assert!(cache.get(&one, Tick::ORIGIN).is_some());
        for other in [
            DekSourceRef {
                kind: Some(DekSourceType::AesGcmKey),
                ..one
            },
            DekSourceRef { kind: None, ..one },
            DekSourceRef {
                key_id: Some("key-2"),
                ..one
            },
            DekSourceRef {
                key_id: None,
                ..one
            },
            DekSourceRef {
                ciphertext: b"two",
                ..one
            },
            DekSourceRef {
                annotations: &[],
                ..one
            },
            DekSourceRef {
                annotations: &[("a.b", b"2")],
                ..one
            },
            DekSourceRef {
                annotations: &[("a.c", b"1")],
                ..one
            },
        ] {
            assert!(cache.get(&other, Tick::ORIGIN).is_none(), "{other:?}");
            assert!(!source(b"one").is(&other), "{other:?}");
        }
    }

    #[test]
    fn it_is_bounded_and_forgets() {
        let cache = DekCache::new(2, TTL);
        for name in [b"one", b"two", b"six"] {
            cache.insert(source(name), Tick::ORIGIN);
        }
        assert_eq!(cache.len(), 2);
        assert!(cache.get(&named(b"one"), Tick::ORIGIN).is_none());
        assert!(cache.get(&named(b"two"), Tick::ORIGIN).is_some());
        assert!(cache.get(&named(b"two"), Tick::ORIGIN + TTL).is_none());
        cache.remove_expired(Tick::ORIGIN + TTL);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn two_sources_of_one_hash_are_told_apart() {
        let cache = DekCache::new(2, TTL);
        let entry = Entry {
            source: source(b"one"),
            inserted: Tick::ORIGIN,
        };
        let hash = cache.hash(&named(b"two"));
        cache.entries.lock().unwrap().put(hash, entry);
        assert!(cache.get(&named(b"two"), Tick::ORIGIN).is_none());
    }

    #[test]
    fn no_capacity_keeps_nothing() {
        let cache = DekCache::new(0, TTL);
        cache.insert(source(b"one"), Tick::ORIGIN);
        assert_eq!(cache.len(), 0);
    }
}
