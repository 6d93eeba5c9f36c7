//! The store under both caches: sharded, least recently used first, with a quota for each partition.

use core::fmt;
use core::hash::{BuildHasherDefault, Hasher};
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::PoisonError;

use kms_core::Tick;
use lru::LruCache;

use super::partition::Place;
use super::sync::{Mutex, MutexGuard};

/// The last of the shards is a field of its own, so that there always is one to fall back on.
const OTHER_SHARDS: usize = 15;
/// Bits of the hash that the tables of a shard use least.
const SHARD_SHIFT: u32 = 40;

/// Values by [`Place`]. A lookup takes the lock of one shard; only what adds or removes takes the
/// ledger's as well, always before a shard's.
///
/// A place is only a hash: the caller compares in full what it finds there. Two things of one hash
/// push each other out, which costs a call and no more.
pub(super) struct Shelf<V> {
    shards: [Shard<V>; OTHER_SHARDS],
    last: Shard<V>,
    /// How many entries each partition has, over all shards.
    ledger: Mutex<HashMap<u64, usize, ById>>,
    quota: usize,
    max_partitions: usize,
    evicted: AtomicU64,
}

// A cache line of its own, or two where lines are fetched in pairs.
#[repr(align(128))]
struct Shard<V>(Mutex<State<V>>);

struct State<V> {
    partitions: HashMap<u64, LruCache<u64, Slot<V>, ById>, ById>,
    hits: u64,
}

struct Slot<V> {
    value: V,
    used: Tick,
}

/// For keys that are hashes already.
type ById = BuildHasherDefault<Identity>;

#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8).wrapping_add(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The data is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V> Shard<V> {
    fn new() -> Self {
        Self(Mutex::new(State {
            partitions: HashMap::default(),
            hits: 0,
        }))
    }
}

impl<V> State<V> {
    fn holds(&self, place: Place) -> bool {
        let entries = self.partitions.get(&place.partition);
        entries.is_some_and(|entries| entries.contains(&place.entry))
    }

    fn remove(&mut self, place: Place) -> Option<V> {
        let entries = self.partitions.get_mut(&place.partition)?;
        let slot = entries.pop(&place.entry)?;
        if entries.is_empty() {
            self.partitions.remove(&place.partition);
        }
        Some(slot.value)
    }
}

impl<V> Shelf<V> {
    /// At most `quota` entries in each of at most `max_partitions` partitions (one at least). The
    /// memory grows with what is entered.
    pub(super) fn new(quota: usize, max_partitions: usize) -> Self {
        Self {
            shards: core::array::from_fn(|_| Shard::new()),
            last: Shard::new(),
            ledger: Mutex::default(),
            quota,
            max_partitions: max_partitions.max(1),
            evicted: AtomicU64::new(0),
        }
    }

    fn shard(&self, place: Place) -> &Shard<V> {
        let index = usize::from((place.entry >> SHARD_SHIFT) as u8 & 15);
        self.shards.get(index).unwrap_or(&self.last)
    }

    fn all(&self) -> impl Iterator<Item = &Shard<V>> {
        self.shards.iter().chain([&self.last])
    }

    /// Shows what lies at a place. If `see` takes something out of it, that is a hit, and the
    /// entry is the last to be evicted.
    pub(super) fn hit<R>(
        &self,
        place: Place,
        now: Tick,
        see: impl FnOnce(&mut V) -> Option<R>,
    ) -> Option<R> {
        let mut state = lock(&self.shard(place).0);
        let entries = state.partitions.get_mut(&place.partition)?;
        // Moved to the front only for a hit, so that a shard's order is that of the times of use.
        let slot = entries.peek_mut(&place.entry)?;
        let seen = see(&mut slot.value)?;
        slot.used = now;
        entries.promote(&place.entry);
        state.hits = state.hits.wrapping_add(1);
        Some(seen)
    }

    /// Shows what lies at a place, without counting as a use.
    pub(super) fn peek<R>(&self, place: Place, see: impl FnOnce(&mut V) -> Option<R>) -> Option<R> {
        let mut state = lock(&self.shard(place).0);
        let entries = state.partitions.get_mut(&place.partition)?;
        see(&mut entries.peek_mut(&place.entry)?.value)
    }

    /// Enters a value if `admit` still says so, which is asked when no purge can come between.
    pub(super) fn insert(&self, place: Place, value: V, now: Tick, admit: impl FnOnce() -> bool) {
        // Dropped, and so wiped, after the locks are released: the first declared goes last.
        let mut gone = Vec::new();
        let mut ledger = lock(&self.ledger);
        if self.quota == 0 || !admit() {
            drop(ledger);
            return;
        }
        let held = ledger.get(&place.partition).copied();
        if held.is_none() && ledger.len() >= self.max_partitions {
            self.evict_idlest(&mut ledger, &mut gone);
        }
        let mut held = held.unwrap_or(0);
        let shard = self.shard(place);
        let replaces = lock(&shard.0).holds(place);
        if !replaces {
            if held >= self.quota {
                gone.extend(self.evict_oldest(place.partition));
                held = self.quota.saturating_sub(1);
            }
            ledger.insert(place.partition, held.saturating_add(1));
        }
        self.evicted.fetch_add(gone.len() as u64, Ordering::Relaxed);
        let slot = Slot { value, used: now };
        let old = lock(&shard.0)
            .partitions
            .entry(place.partition)
            .or_insert_with(|| LruCache::unbounded_with_hasher(ById::default()))
            .put(place.entry, slot);
        gone.extend(old.map(|slot| slot.value));
        drop(ledger);
    }

    /// Takes out the partition's least recently used entry, whichever shard it is in.
    fn evict_oldest(&self, partition: u64) -> Option<V> {
        let mut oldest: Option<(Tick, &Shard<V>)> = None;
        for shard in self.all() {
            let state = lock(&shard.0);
            let entries = state.partitions.get(&partition);
            if let Some((_, slot)) = entries.and_then(LruCache::peek_lru)
                && oldest.is_none_or(|(used, _)| slot.used < used)
            {
                oldest = Some((slot.used, shard));
            }
        }
        let mut state = lock(&oldest?.1.0);
        let entries = state.partitions.get_mut(&partition)?;
        let (_, slot) = entries.pop_lru()?;
        if entries.is_empty() {
            state.partitions.remove(&partition);
        }
        Some(slot.value)
    }

    /// Takes out all of the partition that has been idle longest.
    fn evict_idlest(&self, ledger: &mut HashMap<u64, usize, ById>, gone: &mut Vec<V>) {
        let mut last_used = HashMap::<u64, Tick, ById>::default();
        for shard in self.all() {
            for (partition, entries) in &lock(&shard.0).partitions {
                if let Some((_, slot)) = entries.peek_mru() {
                    let used = last_used.entry(*partition).or_default();
                    *used = slot.used.max(*used);
                }
            }
        }
        let Some((idlest, _)) = last_used.into_iter().min_by_key(|(_, used)| *used) else {
            return;
        };
        ledger.remove(&idlest);
        for shard in self.all() {
            if let Some(mut entries) = lock(&shard.0).partitions.remove(&idlest) {
                while let Some((_, slot)) = entries.pop_lru() {
                    gone.push(slot.value);
                }
            }
        }
    }

    /// Takes out what lies at a place, if `out` says so.
    pub(super) fn remove_if(&self, place: Place, out: impl FnOnce(&V) -> bool) {
        // Declared first, so wiped after the locks.
        let gone;
        let mut ledger = lock(&self.ledger);
        if self.peek(place, |value| out(value).then_some(())).is_none() {
            return;
        }
        gone = lock(&self.shard(place).0).remove(place);
        if gone.is_some()
            && let Some(held) = ledger.get_mut(&place.partition)
        {
            *held = held.saturating_sub(1);
            if *held == 0 {
                ledger.remove(&place.partition);
            }
        }
        drop(ledger);
    }

    /// Keeps what `keep` wants, of the partition's hash and the value.
    pub(super) fn retain(&self, mut keep: impl FnMut(u64, &mut V) -> bool) {
        let mut gone = Vec::new();
        let mut ledger = lock(&self.ledger);
        for shard in self.all() {
            let mut state = lock(&shard.0);
            state.partitions.retain(|partition, entries| {
                let mut out = Vec::new();
                for (entry, slot) in entries.iter_mut() {
                    if !keep(*partition, &mut slot.value) {
                        out.push(*entry);
                    }
                }
                for entry in &out {
                    gone.extend(entries.pop(entry));
                }
                if let Some(held) = ledger.get_mut(partition) {
                    *held = held.saturating_sub(out.len());
                }
                !entries.is_empty()
            });
        }
        ledger.retain(|_, held| *held > 0);
        drop(ledger);
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.ledger)
            .values()
            .fold(0_usize, |sum, held| sum.saturating_add(*held))
    }

    pub(super) fn hits(&self) -> u64 {
        self.all()
            .fold(0_u64, |sum, shard| sum.wrapping_add(lock(&shard.0).hits))
    }

    /// How many entries had to make room for others.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

impl<V> fmt::Debug for Shelf<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("entries", &self.len())
            .field("quota", &self.quota)
            .field("max_partitions", &self.max_partitions)
            .finish()
    }
}

#[cfg(test)]
mod tests;
