//! Sequences of operations, against a model that is too simple to be wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use kms_core::{ErrorKind, Tick};
use kms_envelope::cache::UnwrapCacheOptions;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Bed, kek_id, partition, wrapped};

const QUOTA: usize = 3;
const PARTITIONS: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    Open { tenant: usize, dek: usize },
    Advance(u64),
    Vault(Option<ErrorKind>),
    PurgeKey(usize),
    PurgePartition(usize),
    PurgeAll,
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    let vault = prop_oneof![
        3 => Just(None),
        2 => Just(Some(ErrorKind::Unavailable)),
        1 => Just(Some(ErrorKind::KeyDisabled)),
        1 => Just(Some(ErrorKind::Internal)),
    ];
    prop_oneof![
        20 => (0..3_usize, 0..6_usize).prop_map(|(tenant, dek)| Op::Open { tenant, dek }),
        8 => (1..15_u64).prop_map(Op::Advance),
        4 => vault.prop_map(Op::Vault),
        1 => (0..2_usize).prop_map(Op::PurgeKey),
        1 => (0..3_usize).prop_map(Op::PurgePartition),
        1 => Just(Op::PurgeAll),
        1 => Just(Op::Sweep),
    ]
}

fn options() -> impl Strategy<Value = UnwrapCacheOptions> {
    (0..40_u64, 0..20_u64, 0..30_u64, 0..8_u64, 0..8_u64).prop_map(
        |(keep, before, stale, retry, remember)| {
            UnwrapCacheOptions::default()
                .with_capacity(QUOTA)
                .with_partitions(PARTITIONS)
                .with_keep_for(Duration::from_millis(keep))
                .with_refresh_before(Duration::from_millis(before))
                .with_serve_stale_for(Duration::from_millis(stale))
                .with_retry_every(Duration::from_millis(retry))
                .with_remembered_errors(2, Duration::from_millis(remember))
        },
    )
}

type Key = (usize, usize);

/// Values by tenant and DEK with the time of their last use, in no order at all.
struct ModelShelf<V> {
    entries: BTreeMap<Key, (V, Tick)>,
    quota: usize,
}

impl<V> ModelShelf<V> {
    const fn new(quota: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            quota,
        }
    }

    fn touch(&mut self, key: Key, now: Tick) {
        self.entries.get_mut(&key).unwrap().1 = now;
    }

    fn insert(&mut self, key: Key, value: V, now: Tick) {
        if !self.entries.contains_key(&key) {
            let tenants: Vec<usize> = self.entries.keys().map(|(tenant, _)| *tenant).collect();
            let mut different = tenants.clone();
            different.dedup();
            if !tenants.contains(&key.0) && different.len() == PARTITIONS {
                let used = |tenant: usize| {
                    let of = self.entries.iter().filter(|(key, _)| key.0 == tenant);
                    of.map(|(_, (_, used))| *used).max().unwrap()
                };
                let idlest = different.into_iter().min_by_key(|tenant| used(*tenant));
                self.entries.retain(|key, _| Some(key.0) != idlest);
            }
            let of = self.entries.iter().filter(|(other, _)| other.0 == key.0);
            let oldest = of.clone().min_by_key(|(_, (_, used))| *used);
            if of.clone().count() == self.quota {
                let oldest = *oldest.unwrap().0;
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(key, (value, now));
    }
}

#[derive(Clone, Copy)]
struct Kept {
    asked_at: Tick,
    refresh_from: Tick,
    outage_until: Tick,
}

struct Model {
    options: UnwrapCacheOptions,
    deks: ModelShelf<Kept>,
    refusals: ModelShelf<(ErrorKind, Tick)>,
    vault: Option<ErrorKind>,
    calls: u64,
    stale: u64,
}

impl Model {
    fn open(&mut self, key: Key, now: Tick) -> Result<(), ErrorKind> {
        let (keep, stale) = (self.options.keep_for, self.options.serve_stale_for);
        if let Some((kept, _)) = self.deks.entries.get(&key).copied() {
            let age = now.since(kept.asked_at);
            let out = now < kept.outage_until;
            if age < keep.saturating_sub(self.options.refresh_before) {
                self.deks.touch(key, now);
                return Ok(());
            }
            if age < keep {
                self.deks.touch(key, now);
                if now >= kept.refresh_from && !out {
                    let entry = &mut self.deks.entries.get_mut(&key).unwrap().0;
                    entry.refresh_from = now + self.options.retry_every;
                    return match self.ask(key, now) {
                        Err(ErrorKind::KeyDisabled) => Err(ErrorKind::KeyDisabled),
                        Ok(()) | Err(_) => Ok(()),
                    };
                }
                return Ok(());
            }
            if age < keep + stale && out {
                self.deks.touch(key, now);
                self.stale += 1;
                return Ok(());
            }
        }
        match self.ask(key, now) {
            Err(ErrorKind::Unavailable) if self.deks.entries.contains_key(&key) => {
                self.stale += 1;
                Ok(())
            }
            answer => answer,
        }
    }

    fn ask(&mut self, key: Key, now: Tick) -> Result<(), ErrorKind> {
        if let Some(((kind, until), _)) = self.refusals.entries.get(&key).copied()
            && now < until
        {
            self.refusals.touch(key, now);
            return Err(kind);
        }
        self.calls += 1;
        let Some(kind) = self.vault else {
            let kept = Kept {
                asked_at: now,
                refresh_from: Tick::ORIGIN,
                outage_until: Tick::ORIGIN,
            };
            if !self.options.keep_for.is_zero() {
                self.deks.insert(key, kept, now);
            }
            return Ok(());
        };
        if let Some((kept, _)) = self.deks.entries.get_mut(&key) {
            if kind == ErrorKind::Unavailable {
                kept.outage_until = now + self.options.retry_every;
            }
            let life = self.options.keep_for + self.options.serve_stale_for;
            if kind == ErrorKind::KeyDisabled || now.since(kept.asked_at) >= life {
                self.deks.entries.remove(&key);
            }
        }
        let remember = self.options.remember_errors_for;
        if kind != ErrorKind::Unavailable && !remember.is_zero() {
            self.refusals.insert(key, (kind, now + remember), now);
        }
        Err(kind)
    }

    fn purge(&mut self, out: impl Fn(Key) -> bool) {
        self.deks.entries.retain(|key, _| !out(*key));
        self.refusals.entries.clear();
    }

    fn sweep(&mut self, now: Tick) {
        let life = self.options.keep_for + self.options.serve_stale_for;
        self.deks
            .entries
            .retain(|_, (kept, _)| now.since(kept.asked_at) < life);
        self.refusals
            .entries
            .retain(|_, ((_, until), _)| now < *until);
    }
}

/// Two KEKs, taken in turns.
const fn kek_of(dek: usize) -> usize {
    dek % 2
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_cache_does_what_the_model_does(options in options(), ops in vec(op(), 1..120)) {
        let bed = Bed::new(options.clone());
        let mut model = Model {
            options,
            deks: ModelShelf::new(QUOTA),
            refusals: ModelShelf::new(2),
            vault: None,
            calls: 0,
            stale: 0,
        };
        for op in ops {
            // No two operations at one time, so that it is clear what was used last.
            bed.clock.advance(Duration::from_nanos(1));
            match op.clone() {
                Op::Open { tenant, dek } => {
                    let opened = bed.open_in(&partition(tenant), &wrapped(kek_of(dek), dek));
                    let expected = model.open((tenant, dek), bed.now());
                    prop_assert_eq!(opened.map(|_| ()), expected, "{:?}", op);
                }
                Op::Advance(millis) => bed.clock.advance(Duration::from_millis(millis)),
                Op::Vault(fault) => {
                    bed.vault.set_fault(fault);
                    model.vault = fault;
                }
                Op::PurgeKey(kek) => {
                    bed.cache.purge_key(&kek_id(kek));
                    model.purge(|(_, dek)| kek_of(dek) == kek);
                }
                Op::PurgePartition(tenant) => {
                    bed.cache.purge_partition(&partition(tenant));
                    model.purge(|(other, _)| other == tenant);
                }
                Op::PurgeAll => {
                    bed.cache.purge_all();
                    model.purge(|_| true);
                }
                Op::Sweep => {
                    bed.cache.sweep();
                    model.sweep(bed.now());
                }
            }
            let stats = bed.cache.stats();
            prop_assert_eq!(bed.vault.calls(), model.calls, "calls after {:?}", op);
            prop_assert_eq!(stats.provider_calls, model.calls);
            prop_assert_eq!(stats.stale_served, model.stale, "stale after {:?}", op);
            prop_assert_eq!(stats.entries, model.deks.entries.len() as u64, "after {:?}", op);
            prop_assert_eq!(bed.cache.remembered_errors(), model.refusals.entries.len());
        }
    }
}
