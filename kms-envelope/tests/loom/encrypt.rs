//! The cache of DEKs that encrypt.

use std::sync::Arc;

use kms_core::{EncryptionContext, Error};
use loom::thread;

use crate::cache::{DekLimits, EncryptCache, Partition};
use crate::{Calls, Seconds, ask_once, explore, wait};

tests!(
    a_dek_is_made_once,
    a_dropped_maker_leaves_it_to_the_others,
    no_dek_serves_more_messages_than_it_may,
    no_dek_from_before_a_purge_is_used_after_it,
    a_dek_whose_making_began_before_a_rotation_is_replaced,
);

/// A DEK: its number, and what [`Calls::age`] was when its making began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Key {
    number: u64,
    age: u64,
}

struct Bed {
    cache: EncryptCache<Key>,
    calls: Arc<Calls>,
}

impl Bed {
    fn new(limits: DekLimits) -> Arc<Self> {
        let calls = Arc::new(Calls::default());
        let makes = Arc::clone(&calls);
        let clock = Arc::new(Seconds::default());
        let cache = EncryptCache::new(clock, limits, move |_| {
            let calls = Arc::clone(&makes);
            async move {
                let age = calls.call().await;
                let number = calls.ended();
                Ok::<_, Error>(Key { number, age })
            }
        });
        Arc::new(Self { cache, calls })
    }

    async fn make(&self, table: &str) -> Result<Arc<Key>, Error> {
        let context = EncryptionContext::new().with("table", table)?;
        self.cache.key_for(&Partition::default(), &context, 1).await
    }

    fn key_for(&self, table: &str) -> Key {
        *wait(self.make(table)).unwrap()
    }

    fn key(&self) -> Key {
        self.key_for("users")
    }
}

fn beside<T: 'static>(
    bed: &Arc<Bed>,
    work: impl FnOnce(&Bed) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let bed = Arc::clone(bed);
    thread::spawn(move || work(&bed))
}

fn a_dek_is_made_once() -> u64 {
    explore(3, || {
        let bed = Bed::new(DekLimits::default());
        let other = beside(&bed, Bed::key);
        let ours = bed.key();
        assert_eq!(other.join().unwrap(), ours);
        assert_eq!((bed.calls.begun(), bed.cache.stats().entries), (1, 1));
    })
}

fn a_dropped_maker_leaves_it_to_the_others() -> u64 {
    explore(3, || {
        let bed = Bed::new(DekLimits::default());
        let maker = beside(&bed, |bed| ask_once(bed.make("users")));
        bed.key();
        maker.join().unwrap();
        assert!(bed.calls.begun() <= 2);
        assert_eq!((bed.calls.ended(), bed.cache.stats().entries), (1, 1));
    })
}

fn no_dek_serves_more_messages_than_it_may() -> u64 {
    explore(2, || {
        // Nothing is due ahead of time: an eighth of one is none.
        let bed = Bed::new(DekLimits::default().with_max_messages(1));
        let other = beside(&bed, Bed::key);
        let ours = bed.key();
        assert_ne!(other.join().unwrap().number, ours.number);
    })
}

fn no_dek_from_before_a_purge_is_used_after_it() -> u64 {
    explore(3, || {
        let bed = Bed::new(DekLimits::default());
        let other = beside(&bed, |bed| {
            bed.calls.grow_older();
            bed.cache.purge_all();
            assert_eq!(bed.key().age, 1);
        });
        bed.key();
        other.join().unwrap();
        assert_eq!(bed.key().age, 1);
    })
}

fn a_dek_whose_making_began_before_a_rotation_is_replaced() -> u64 {
    explore(3, || {
        let bed = Bed::new(DekLimits::default());
        bed.key_for("known");
        let other = beside(&bed, |bed| {
            bed.calls.grow_older();
            assert!(bed.cache.note_rotation(|key| key.age == 1));
        });
        bed.key();
        other.join().unwrap();
        // The first to come sees that it is due, has its message counted and makes the next.
        bed.key();
        assert_eq!(bed.key().age, 1);
        assert_eq!(bed.cache.stats().entries, 2);
    })
}
