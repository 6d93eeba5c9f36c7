//! Which keys were met before, without holding them.

use core::fmt;
use core::hash::BuildHasher as _;
use std::collections::HashMap;
use std::hash::RandomState;

/// Something for each key, of which 128 bits are kept: what it takes to count millions of objects.
///
/// The bits are two SipHashes under keys of this process. A collision would hide an object, and
/// whoever names objects must not be able to make one: without the keys it takes luck of one in
/// 2¹²⁸ for each pair.
///
/// For each key it takes at most 40 bytes and 2.3 times the value, also while it grows.
///
/// ```
/// use kms_core::object::KeyMap;
///
/// let mut met = KeyMap::new();
/// assert_eq!(met.insert(b"/registry/secrets/default/token", 7), None);
/// assert_eq!(met.insert(b"/registry/secrets/default/token", 8), Some(7));
/// assert_eq!(met.len(), 1);
/// ```
pub struct KeyMap<V> {
    first: RandomState,
    second: RandomState,
    /// A table of std doubles, and holds old and new while it does. Many small ones do not do so
    /// together.
    shards: Vec<HashMap<[u64; 2], V, Identity>>,
}

const SHARDS: usize = 256;
const SHARD_MASK: u64 = SHARDS as u64 - 1;

impl<V> KeyMap<V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self {
            first: RandomState::new(),
            second: RandomState::new(),
            shards: (0..SHARDS).map(|_| HashMap::default()).collect(),
        }
    }

    /// Sets what there is for a key; what there was.
    pub fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        let hash = self.hash(key);
        self.shards
            .get_mut(shard_of(hash))
            .and_then(|shard| shard.insert(hash, value))
    }

    /// What there is for a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let hash = self.hash(key);
        self.shards
            .get(shard_of(hash))
            .and_then(|shard| shard.get(&hash))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.len() as u64).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(HashMap::is_empty)
    }

    /// What there is, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(HashMap::values)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.first.hash_one(key), self.second.hash_one(key)]
    }
}

impl<V> Default for KeyMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> fmt::Debug for KeyMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyMap").field("len", &self.len()).finish()
    }
}

/// The first half of a hash places a key within its table, so the second chooses the table.
fn shard_of([_, second]: [u64; 2]) -> usize {
    usize::try_from(second & SHARD_MASK).unwrap_or(0)
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
