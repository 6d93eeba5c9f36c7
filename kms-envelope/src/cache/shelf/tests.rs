use core::time::Duration;
use std::sync::Arc;

use super::*;

fn place(partition: u64, entry: u64) -> Place {
    // Spread over the shards as real hashes are.
    Place {
        partition,
        entry: entry.wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

fn at(nanos: u64) -> Tick {
    Tick::ORIGIN + Duration::from_nanos(nanos)
}

fn read(shelf: &Shelf<u64>, place: Place, now: u64) -> Option<u64> {
    shelf.hit(place, at(now), |value| Some(*value))
}

#[test]
fn the_oldest_goes_first_over_all_shards_and_only_in_its_partition() {
    let shelf = Shelf::new(40, 8);
    shelf.insert(place(2, 1), 1, at(0), || true);
    for entry in 0..40 {
        shelf.insert(place(1, entry), entry, at(entry), || true);
    }
    assert_eq!(shelf.len(), 41);
    // Used again, so entry 1 is now the oldest.
    assert_eq!(read(&shelf, place(1, 0), 50), Some(0));
    for entry in 40..60 {
        shelf.insert(place(1, entry), entry, at(100 + entry), || true);
    }
    assert_eq!((shelf.len(), shelf.evicted()), (41, 20));
    for entry in 0..60 {
        let there = entry == 0 || entry > 20;
        assert_eq!(
            read(&shelf, place(1, entry), 500).is_some(),
            there,
            "{entry}"
        );
    }
    assert_eq!(read(&shelf, place(2, 1), 500), Some(1));
}

/// What is looked at and not taken is no younger for it.
#[test]
fn a_look_that_is_no_hit_does_not_save_from_eviction() {
    let shelf = Shelf::new(2, 2);
    // Small hashes share a shard, so that its own order is what counts.
    let near = |entry| Place {
        partition: 1,
        entry,
    };
    shelf.insert(near(1), 1, at(1), || true);
    shelf.insert(near(2), 2, at(2), || true);
    assert_eq!(shelf.hit(near(1), at(3), |_| None::<()>), None);
    shelf.insert(near(3), 3, at(4), || true);
    assert_eq!(read(&shelf, near(1), 5), None);
    assert_eq!(read(&shelf, near(2), 5), Some(2));
}

/// All threads at one lock would be slow, and right: nothing else would show it.
#[test]
fn entries_are_spread_over_all_shards() {
    let shelf = Shelf::new(3200, 1);
    for entry in 0..3200 {
        shelf.insert(place(1, entry), entry, at(entry), || true);
    }
    for shard in shelf.all() {
        let state = lock(&shard.0);
        let held: usize = state.partitions.values().map(LruCache::len).sum();
        assert!((100..400).contains(&held), "{held}");
    }
}

/// Likewise for one bucket of a table.
#[test]
fn a_hash_is_not_hashed_again_and_stays_apart_from_others() {
    use core::hash::BuildHasher as _;
    let hasher = ById::default();
    assert_eq!(
        [0_u64, 7, u64::MAX].map(|hash| hasher.hash_one(hash)),
        [0, 7, u64::MAX]
    );
    assert_ne!(hasher.hash_one([1_u8, 2]), hasher.hash_one([2_u8, 1]));
}

#[test]
fn a_newcomer_is_not_the_one_to_go_when_the_clock_stands_still() {
    let shelf = Shelf::new(1, 1);
    for entry in 0..64 {
        shelf.insert(place(1, entry), entry, at(0), || true);
        assert_eq!(read(&shelf, place(1, entry), 0), Some(entry));
        assert_eq!(shelf.len(), 1);
    }
}

#[test]
fn the_idlest_partition_makes_room_for_a_new_one() {
    let shelf = Shelf::new(4, 2);
    for entry in 0..4 {
        shelf.insert(place(1, entry), entry, at(1), || true);
        shelf.insert(place(2, entry), entry, at(2), || true);
    }
    assert!(read(&shelf, place(1, 3), 3).is_some());
    shelf.insert(place(3, 0), 0, at(4), || true);
    assert_eq!((shelf.len(), shelf.evicted()), (5, 4));
    assert!(read(&shelf, place(1, 0), 5).is_some());
    assert!(read(&shelf, place(2, 3), 5).is_none());
}

#[test]
fn replacing_removing_and_retaining_keep_the_count() {
    let shelf = Shelf::new(2, 2);
    shelf.insert(place(1, 1), 1, at(1), || true);
    shelf.insert(place(1, 1), 2, at(2), || true);
    assert_eq!((shelf.len(), shelf.evicted()), (1, 0));
    shelf.insert(place(1, 2), 3, at(3), || false);
    assert_eq!(shelf.len(), 1);
    shelf.remove_if(place(1, 1), |value| *value == 9);
    shelf.remove_if(place(1, 2), |_| true);
    assert_eq!(shelf.len(), 1);
    shelf.remove_if(place(1, 1), |value| *value == 2);
    assert_eq!(shelf.len(), 0);
    for entry in 0..2 {
        shelf.insert(place(1, entry), entry, at(4), || true);
        shelf.insert(place(2, entry), entry, at(4), || true);
    }
    shelf.retain(|partition, value| partition == 2 && *value == 1);
    assert_eq!(shelf.len(), 1);
    assert_eq!(shelf.hits(), 0);
    assert_eq!(read(&shelf, place(2, 1), 5), Some(1));
    assert_eq!(shelf.hits(), 1);
    // The emptied partition has left the ledger: there is room for another.
    shelf.insert(place(3, 0), 7, at(6), || true);
    assert_eq!((shelf.len(), shelf.evicted()), (2, 0));
}

#[test]
fn what_goes_out_is_dropped() {
    let shelf = Shelf::new(1, 1);
    let values: Vec<Arc<u64>> = (0..5).map(Arc::new).collect();
    let held = |entry: usize| Arc::strong_count(&values[entry]) > 1;
    shelf.insert(place(1, 0), Arc::clone(&values[0]), at(0), || true);
    shelf.insert(place(1, 0), Arc::clone(&values[1]), at(0), || true);
    assert!(!held(0) && held(1), "replaced");
    shelf.insert(place(1, 2), Arc::clone(&values[2]), at(0), || true);
    assert!(!held(1) && held(2), "over the quota");
    shelf.insert(place(2, 0), Arc::clone(&values[3]), at(0), || true);
    assert!(!held(2) && held(3), "with its partition");
    shelf.remove_if(place(2, 0), |_| true);
    assert!(!held(3), "removed");
    shelf.insert(place(2, 0), Arc::clone(&values[4]), at(0), || true);
    shelf.retain(|_, _| false);
    assert!(!held(4), "retained not");
    assert_eq!(shelf.len(), 0);
}
