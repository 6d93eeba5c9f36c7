//! The counters of a DEK's limits.

#[path = "../../src/cache/budget.rs"]
mod budget;

use budget::Budget;
use loom::sync::Arc;
use loom::thread;

use crate::{EVERY, explore, sync};

tests!(
    together_two_threads_never_take_more_messages_than_there_are,
    together_two_threads_never_take_more_bytes_than_there_are,
    numbers_at_the_edge_do_not_wrap,
    what_is_taken_in_a_row_is_what_is_gone,
);

/// What two threads get, each with messages of these sizes.
fn race(messages: u64, bytes: u64, takers: [Vec<u64>; 2], check: fn(Vec<u64>, &Budget)) -> u64 {
    explore(EVERY, move || {
        let budget = Arc::new(Budget::new(messages, bytes));
        let threads = takers.clone().map(|sizes| {
            let budget = Arc::clone(&budget);
            thread::spawn(move || {
                let taken = sizes
                    .into_iter()
                    .filter(|size| budget.take(*size).is_some());
                taken.collect::<Vec<u64>>()
            })
        });
        let taken = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        check(taken.collect(), &budget);
    })
}

fn together_two_threads_never_take_more_messages_than_there_are() -> u64 {
    race(2, 1000, [vec![1, 1], vec![1]], |taken, budget| {
        assert_eq!(taken.len(), 2);
        assert!(!budget.has_room(0));
    })
}

fn together_two_threads_never_take_more_bytes_than_there_are() -> u64 {
    race(100, 10, [vec![6, 3], vec![5]], |taken, budget| {
        let bytes: u64 = taken.iter().sum();
        assert!(bytes <= 10, "{taken:?}");
        assert_eq!(budget.left().bytes, 10 - bytes);
    })
}

fn numbers_at_the_edge_do_not_wrap() -> u64 {
    race(
        u64::MAX,
        u64::MAX,
        [vec![u64::MAX], vec![u64::MAX]],
        |taken, _| {
            assert_eq!(taken.len(), 1);
        },
    )
}

fn what_is_taken_in_a_row_is_what_is_gone() -> u64 {
    // The checker's atomics work only within a model; there is one path through this one.
    explore(EVERY, || {
        let budget = Budget::new(4, 100);
        let fits = [(40, true), (61, false), (60, true), (1, false), (0, false)];
        for (size, expected) in fits {
            assert_eq!(budget.has_room(size), expected, "{size}");
            let before = budget.left();
            assert_eq!(budget.take(size), expected.then_some(before), "{size}");
        }
        // Those that were refused for their size have used up two messages, no bytes.
        assert_eq!((budget.left().messages, budget.left().bytes), (0, 0));
    })
}
