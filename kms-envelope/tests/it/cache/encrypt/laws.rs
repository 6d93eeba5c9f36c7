//! What holds for every sequence of calls.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Key {
        tenant: usize,
        name: bool,
        bytes: u64,
    },
    Advance(u64),
    Fault(Option<ErrorKind>),
    Purge,
    Sweep,
    Rotate,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0..2_usize, any::<bool>(), 0..40_u64)
            .prop_map(|(tenant, name, bytes)| Op::Key { tenant, name, bytes }),
        6 => (0..30_u64).prop_map(Op::Advance),
        1 => Just(Op::Fault(Some(ErrorKind::Unavailable))),
        1 => Just(Op::Fault(Some(ErrorKind::KeyDisabled))),
        3 => Just(Op::Fault(None)),
        1 => Just(Op::Purge),
        1 => Just(Op::Sweep),
        1 => Just(Op::Rotate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens: no DEK goes over a limit, none serves two purposes, none outlives a
    /// purge, and there is always an answer.
    #[test]
    fn no_sequence_of_calls_goes_over_a_limit(ops in vec(op(), 1..150)) {
        let bed = Bed::new(
            limits()
                .with_max_messages(9)
                .with_max_bytes(100)
                .with_refresh_before(seconds(15)),
        );
        let mut used = BTreeMap::<u64, (usize, u64, u64)>::new();
        let mut purged_up_to = 0;
        let mut fault = None;
        for op in ops {
            match op {
                Op::Key { tenant, name, bytes } => {
                    let context = context(if name { "a" } else { "b" });
                    match bed.key_in(&partition(tenant), &context, bytes) {
                        Ok(key) => {
                            let (owner, messages, total) =
                                used.entry(key.number).or_insert((tenant, 0, 0));
                            *messages += 1;
                            *total += bytes;
                            prop_assert!(*messages <= 9 && *total <= 100);
                            prop_assert_eq!(*owner, tenant);
                            prop_assert_eq!(&key.context, &context);
                            prop_assert!(bed.clock.now().since(key.made) < seconds(100));
                            prop_assert!(key.number >= purged_up_to);
                        }
                        Err(kind) => prop_assert_eq!(Some(kind), fault),
                    }
                }
                Op::Advance(by) => bed.clock.advance(seconds(by)),
                Op::Fault(next) => {
                    fault = next;
                    bed.fail(next);
                }
                Op::Purge => {
                    bed.cache.purge_all();
                    purged_up_to = bed.made();
                }
                Op::Sweep => bed.cache.sweep(),
                Op::Rotate => {
                    bed.rotate();
                    bed.note_rotation();
                }
            }
            prop_assert!(bed.cache.stats().entries <= 4);
        }
    }
}
