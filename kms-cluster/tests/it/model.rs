//! The store in memory against a model of one line: a map for each revision.

use std::collections::BTreeMap;

use kms_cluster::embedded::EmbeddedStore;
use kms_core::object::{
    FetchOptions, ObjectKey, ObjectSource as _, ObjectStore as _, Revision, Scan, ScanOptions,
    Swap, SwapOutcome,
};
use kms_core::{CallOptions, ErrorKind};
use proptest::prelude::*;

/// Key, to value and revision.
type Map = BTreeMap<ObjectKey, (u8, u64)>;

#[derive(Clone, Debug)]
enum Op {
    Put(ObjectKey, u8),
    Delete(ObjectKey),
    Create(ObjectKey, u8),
    /// The revision is this far before the newest.
    Replace(ObjectKey, u8, u64),
    DeleteAt(ObjectKey, u64),
    /// As the object is now.
    ReplaceNow(ObjectKey, u8),
    Compact(u64),
    Fetch(ObjectKey, u64),
    Scan {
        back: u64,
        prefix: Vec<u8>,
        after: Option<ObjectKey>,
        through: Option<ObjectKey>,
        limit: u32,
        bytes: usize,
    },
}

fn a_key() -> impl Strategy<Value = ObjectKey> {
    let byte = prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(0xff)];
    proptest::collection::vec(byte, 1..3).prop_map(|bytes| ObjectKey::new(bytes).unwrap())
}

fn an_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (a_key(), any::<u8>()).prop_map(|(key, value)| Op::Put(key, value)),
        2 => a_key().prop_map(Op::Delete),
        2 => (a_key(), any::<u8>()).prop_map(|(key, value)| Op::Create(key, value)),
        2 => (a_key(), any::<u8>(), 0..4_u64).prop_map(|(key, value, back)| Op::Replace(key, value, back)),
        1 => (a_key(), 0..4_u64).prop_map(|(key, back)| Op::DeleteAt(key, back)),
        2 => (a_key(), any::<u8>()).prop_map(|(key, value)| Op::ReplaceNow(key, value)),
        1 => (0..8_u64).prop_map(Op::Compact),
        3 => (a_key(), 0..12_u64).prop_map(|(key, back)| Op::Fetch(key, back)),
        3 => (
            0..12_u64,
            prop_oneof![Just(vec![]), a_key().prop_map(|key| key.as_bytes().to_vec())],
            proptest::option::of(a_key()),
            proptest::option::of(a_key()),
            0..4_u32,
            prop_oneof![Just(1_usize), Just(5), Just(1 << 20)],
        ).prop_map(|(back, prefix, after, through, limit, bytes)| Op::Scan {
            back, prefix, after, through, limit, bytes
        }),
    ]
}

/// The state at every revision, from the origin on.
struct Model {
    states: BTreeMap<u64, Map>,
    compacted: u64,
    history: u64,
}

impl Model {
    fn newest(&self) -> (u64, &Map) {
        let (revision, map) = self.states.last_key_value().unwrap();
        (*revision, map)
    }

    fn write(&mut self, key: &ObjectKey, value: Option<u8>) -> u64 {
        let (newest, map) = self.newest();
        let (revision, mut map) = (newest + 1, map.clone());
        match value {
            Some(value) => map.insert(key.clone(), (value, revision)),
            None => map.remove(key),
        };
        self.states.insert(revision, map);
        self.compacted = self.compacted.max(revision.saturating_sub(self.history));
        revision
    }

    /// What a swap should do.
    fn swap(&mut self, key: &ObjectKey, swap: &Swap) -> SwapOutcome {
        let current = self.newest().1.get(key).map(|(_, at)| Revision::new(*at));
        if current != swap.expected() {
            return SwapOutcome::Changed { current };
        }
        let value = swap.value().map(|value| value[0]);
        let revision = Revision::new(self.write(key, value));
        SwapOutcome::Swapped { revision }
    }
}

async fn run(ops: Vec<Op>, history: u64) -> Result<(), TestCaseError> {
    let store = EmbeddedStore::new("model").with_history(history);
    let mut model = Model {
        states: BTreeMap::from([(1, Map::new())]),
        compacted: 0,
        history,
    };
    let call = CallOptions::default();
    for op in ops {
        let newest = model.newest().0;
        let back = |back: u64| Revision::new(newest.saturating_sub(back));
        let swap = match &op {
            Op::Create(_, value) => Some(Swap::Create {
                value: vec![*value],
            }),
            Op::Replace(_, value, ago) => Some(Swap::Replace {
                expected: back(*ago),
                value: vec![*value],
            }),
            Op::ReplaceNow(key, value) => Some(Swap::Replace {
                expected: Revision::new(model.newest().1.get(key).map_or(0, |(_, at)| *at)),
                value: vec![*value],
            }),
            Op::DeleteAt(_, ago) => Some(Swap::Delete {
                expected: back(*ago),
            }),
            _ => None,
        };
        match &op {
            Op::Put(key, value) => {
                let revision = store.put(key, vec![*value], None).unwrap();
                prop_assert_eq!(revision.get(), model.write(key, Some(*value)));
            }
            Op::Delete(key) => {
                let there = model.newest().1.contains_key(key);
                let expected = there.then(|| Revision::new(model.write(key, None)));
                prop_assert_eq!(store.delete(key).unwrap(), expected);
            }
            Op::Create(key, _)
            | Op::Replace(key, ..)
            | Op::ReplaceNow(key, _)
            | Op::DeleteAt(key, _) => {
                let swap = swap.unwrap();
                let outcome = store.compare_and_swap(key, &swap, &call).await.unwrap();
                prop_assert_eq!(outcome, model.swap(key, &swap));
            }
            Op::Compact(ago) => {
                store.compact(back(*ago)).unwrap();
                model.compacted = model.compacted.max(back(*ago).get());
            }
            Op::Fetch(key, ago) => {
                let at = back(*ago);
                let found = store.fetch(key, &FetchOptions::default().with_at(at)).await;
                if at.get() < model.compacted {
                    prop_assert_eq!(found.unwrap_err().kind(), ErrorKind::Compacted);
                } else {
                    let found = found.unwrap().map(|o| (o.value[0], o.revision.get()));
                    let expected = model.states.get(&at.get()).and_then(|map| map.get(key));
                    prop_assert_eq!(found, expected.copied());
                }
            }
            Op::Scan {
                back: ago,
                prefix,
                after,
                through,
                limit,
                bytes,
            } => {
                let at = back(*ago);
                let options = ScanOptions::default()
                    .with_at(at)
                    .with_prefix(prefix.clone())
                    .with_after(after.clone())
                    .with_through(through.clone())
                    .with_page_limit(*limit)
                    .with_page_bytes(*bytes);
                let mut scan = Scan::new(&store, options);
                if at.get() < model.compacted {
                    let error = scan.next_page().await.unwrap_err();
                    prop_assert_eq!(error.kind(), ErrorKind::Compacted);
                    continue;
                }
                let mut found = Vec::new();
                while let Some(page) = scan.next_page().await.unwrap() {
                    found.extend(
                        page.objects
                            .into_iter()
                            .map(|o| (o.key, (o.value[0], o.revision.get()))),
                    );
                }
                let state = model.states.get(&at.get()).cloned().unwrap_or_default();
                let expected: Vec<_> = state
                    .into_iter()
                    .filter(|(key, _)| key.as_bytes().starts_with(prefix))
                    .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
                    .filter(|(key, _)| through.as_ref().is_none_or(|through| key <= through))
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
        prop_assert_eq!(store.revision().get(), model.newest().0);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_sequence_of_calls_does_what_the_model_does(
        ops in proptest::collection::vec(an_op(), 1..80),
        history in prop_oneof![Just(0_u64), Just(3), Just(1000)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(ops, history))?;
    }
}
