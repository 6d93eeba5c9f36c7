//! Which keys were met before: a set that holds no keys.

use core::hash::BuildHasher as _;
use std::collections::HashSet;
use std::hash::RandomState;

/// A set of keys, of which 128 bits each are kept.
///
/// The bits are two SipHashes under keys of this process. A collision would hide an object, and
/// whoever names objects must not be able to make one: without the keys it takes luck of one in
/// 2¹²⁸ for each pair.
///
/// A table of std grows by doubling, and holds old and new while it does. Many small tables do
/// not do so together, so that the set stays under 40 bytes for each key as it grows.
pub(super) struct SeenKeys {
    first: RandomState,
    second: RandomState,
    shards: Vec<HashSet<[u64; 2], Identity>>,
}

const SHARDS: usize = 256;
const SHARD_MASK: u64 = SHARDS as u64 - 1;

impl SeenKeys {
    pub(super) fn new() -> Self {
        Self {
            first: RandomState::new(),
            second: RandomState::new(),
            shards: vec![HashSet::default(); SHARDS],
        }
    }

    /// Whether the key was not there yet.
    pub(super) fn insert(&mut self, key: &[u8]) -> bool {
        let hash = [self.first.hash_one(key), self.second.hash_one(key)];
        let [_, second] = hash;
        let shard = usize::try_from(second & SHARD_MASK).unwrap_or(0);
        self.shards
            .get_mut(shard)
            .is_some_and(|shard| shard.insert(hash))
    }
}

/// Takes what is a hash already.
#[derive(Clone, Default)]
struct Identity;

impl core::hash::BuildHasher for Identity {
    type Hasher = FirstWord;

    fn build_hasher(&self) -> FirstWord {
        FirstWord(0)
    }
}

#[derive(Default)]
struct FirstWord(u64);

impl core::hash::Hasher for FirstWord {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // An array of numbers arrives as its bytes; the first eight will do.
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn write_u64(&mut self, word: u64) {
        if self.0 == 0 {
            self.0 = word;
        }
    }

    fn write_usize(&mut self, _: usize) {}
}
