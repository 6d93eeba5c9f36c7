//! The cache of unwrapped DEKs, and the single flight in front of its provider.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, EncryptionContext, Error, ErrorKind, KeyInfo, KeyProvider,
    SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};
use loom::thread;

use crate::cache::{Partition, UnwrapCache, UnwrapCacheOptions};
use crate::{Calls, Seconds, ask_once, explore, wait};

tests!(
    a_cold_dek_is_asked_for_once,
    a_refusal_costs_one_call,
    an_outage_is_no_matter_of_waiting,
    a_dropped_leader_leaves_the_call_to_the_others,
    two_who_wait_outlive_a_leader,
    a_refresh_is_made_once,
    no_call_from_before_a_purge_is_kept,
    the_bounds_hold_and_the_ledger_is_right,
);

/// Unwraps to the ciphertext behind what [`Calls::age`] was when it was asked.
#[derive(Debug, Default)]
struct Vault {
    calls: Calls,
    fault: Option<ErrorKind>,
}

impl fmt::Display for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vault")
    }
}

#[async_trait]
impl KeyProvider for Vault {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Err(Error::new(ErrorKind::Unsupported, "not here"))
    }

    async fn wrap(&self, _: &SecretBytes, _: &WrapOptions) -> Result<WrappedKey, Error> {
        Err(Error::new(ErrorKind::Unsupported, "not here"))
    }

    async fn unwrap(&self, wrapped: &WrappedKey, _: &UnwrapOptions) -> Result<SecretBytes, Error> {
        let age = self.calls.call().await;
        match self.fault {
            Some(kind) => Err(Error::new(kind, "as the test wants")),
            None => Ok(SecretBytes::from_vec(
                [&[age as u8], wrapped.ciphertext()].concat(),
            )),
        }
    }
}

struct Bed {
    cache: UnwrapCache,
    vault: Arc<Vault>,
    clock: Arc<Seconds>,
}

impl Bed {
    fn new(fault: Option<ErrorKind>, options: UnwrapCacheOptions) -> Arc<Self> {
        let vault = Arc::new(Vault {
            calls: Calls::default(),
            fault,
        });
        let clock = Arc::new(Seconds::default());
        Arc::new(Self {
            cache: UnwrapCache::new(vault.clone(), clock.clone(), options),
            vault,
            clock,
        })
    }

    fn cold() -> Arc<Self> {
        Self::new(None, UnwrapCacheOptions::default())
    }

    async fn unwrap(&self, tenant: &str, dek: u8) -> Result<Arc<SecretBytes>, Error> {
        let options = UnwrapOptions::default();
        let (tenant, wrapped) = (Partition::new(tenant)?, wrapped(dek)?);
        self.cache.unwrap(&tenant, &wrapped, &options).await
    }

    /// Opens, and says how old the call is that the answer is from.
    fn open(&self, tenant: &str, dek: u8) -> Result<u8, ErrorKind> {
        match wait(self.unwrap(tenant, dek)) {
            Ok(secret) => {
                assert_eq!(secret.expose()[1], dek, "another's DEK");
                Ok(secret.expose()[0])
            }
            Err(error) => Err(error.kind()),
        }
    }

    fn cached(&self, tenant: &str, dek: u8) -> Option<u8> {
        let (tenant, wrapped) = (Partition::new(tenant).unwrap(), wrapped(dek).unwrap());
        let cached = self
            .cache
            .cached(&tenant, &wrapped, &EncryptionContext::new());
        cached.map(|secret| secret.expose()[0])
    }

    fn begun(&self) -> u64 {
        self.vault.calls.begun()
    }

    fn ended(&self) -> u64 {
        self.vault.calls.ended()
    }

    /// When all threads are through, no call is left in the table.
    fn nothing_flies(&self) {
        assert!(format!("{:?}", self.cache).contains("in_flight: 0"));
    }
}

fn wrapped(dek: u8) -> Result<WrappedKey, Error> {
    WrappedKey::new("kek".parse()?, vec![dek])
}

/// Runs `work` on another thread.
fn beside(bed: &Arc<Bed>, work: impl FnOnce(&Bed) + Send + 'static) -> thread::JoinHandle<()> {
    let bed = Arc::clone(bed);
    thread::spawn(move || work(&bed))
}

fn a_cold_dek_is_asked_for_once() -> u64 {
    explore(3, || {
        let bed = Bed::cold();
        let other = beside(&bed, |bed| assert_eq!(bed.open("a", 1), Ok(0)));
        assert_eq!(bed.open("a", 1), Ok(0));
        other.join().unwrap();
        assert_eq!(bed.begun(), 1);
        let stats = bed.cache.stats();
        assert_eq!((stats.provider_calls, stats.entries), (1, 1));
        assert_eq!(stats.hits + stats.coalesced + stats.provider_calls, 2);
        bed.nothing_flies();
    })
}

fn a_refusal_costs_one_call() -> u64 {
    explore(3, || {
        let refused = Err(ErrorKind::KeyDisabled);
        let bed = Bed::new(Some(ErrorKind::KeyDisabled), UnwrapCacheOptions::default());
        let other = beside(&bed, move |bed| assert_eq!(bed.open("a", 1), refused));
        assert_eq!(bed.open("a", 1), refused);
        other.join().unwrap();
        assert_eq!((bed.begun(), bed.cache.stats().entries), (1, 0));
        bed.nothing_flies();
    })
}

/// It is not remembered, so who comes late asks again. Nobody is left without an answer.
fn an_outage_is_no_matter_of_waiting() -> u64 {
    explore(2, || {
        let out = Err(ErrorKind::Unavailable);
        let bed = Bed::new(Some(ErrorKind::Unavailable), UnwrapCacheOptions::default());
        let other = beside(&bed, move |bed| assert_eq!(bed.open("a", 1), out));
        assert_eq!(bed.open("a", 1), out);
        other.join().unwrap();
        assert!((1..=2).contains(&bed.begun()));
        bed.nothing_flies();
    })
}

fn a_dropped_leader_leaves_the_call_to_the_others() -> u64 {
    explore(3, || {
        let bed = Bed::cold();
        let leader = beside(&bed, |bed| ask_once(bed.unwrap("a", 1)));
        assert_eq!(bed.open("a", 1), Ok(0));
        leader.join().unwrap();
        // Who came when the first call was already dropped has begun another.
        assert!(bed.begun() <= 2);
        assert_eq!(bed.ended(), 1);
        bed.nothing_flies();
    })
}

fn two_who_wait_outlive_a_leader() -> u64 {
    explore(3, || {
        let bed = Bed::cold();
        let leader = beside(&bed, |bed| ask_once(bed.unwrap("a", 1)));
        let other = beside(&bed, |bed| assert_eq!(bed.open("a", 1), Ok(0)));
        assert_eq!(bed.open("a", 1), Ok(0));
        leader.join().unwrap();
        other.join().unwrap();
        assert!(bed.begun() <= 2);
        assert_eq!(bed.ended(), 1);
        bed.nothing_flies();
    })
}

fn a_refresh_is_made_once() -> u64 {
    explore(2, || {
        let bed = Bed::cold();
        bed.open("a", 1).unwrap();
        // Due, a minute before its end.
        bed.clock.set(570);
        let other = beside(&bed, |bed| assert_eq!(bed.open("a", 1), Ok(0)));
        assert_eq!(bed.open("a", 1), Ok(0));
        other.join().unwrap();
        assert_eq!((bed.begun(), bed.cache.stats().refreshes), (2, 1));
        bed.nothing_flies();
    })
}

fn no_call_from_before_a_purge_is_kept() -> u64 {
    explore(3, || {
        let bed = Bed::cold();
        let other = beside(&bed, |bed| {
            bed.vault.calls.grow_older();
            bed.cache.purge_all();
            assert_eq!(bed.open("a", 1), Ok(1), "asked after the purge");
        });
        bed.open("a", 1).unwrap();
        other.join().unwrap();
        assert_eq!(bed.cached("a", 1), Some(1));
        bed.nothing_flies();
    })
}

/// One DEK in each of one partition, and three that want in.
fn the_bounds_hold_and_the_ledger_is_right() -> u64 {
    explore(2, || {
        let options = UnwrapCacheOptions::default()
            .with_capacity(1)
            .with_partitions(1);
        let bed = Bed::new(None, options);
        let other = beside(&bed, |bed| {
            bed.open("a", 1).unwrap();
            bed.cache.sweep();
        });
        bed.open("a", 2).unwrap();
        bed.open("b", 3).unwrap();
        other.join().unwrap();
        let there = [("a", 1), ("a", 2), ("b", 3)].map(|(tenant, dek)| bed.cached(tenant, dek));
        assert_eq!(there.iter().flatten().count(), 1);
        let stats = bed.cache.stats();
        assert_eq!((stats.entries, stats.evicted), (1, 2));
        // What is evicted leaves room: the next one has it.
        bed.clock.set(4200);
        bed.cache.sweep();
        assert_eq!(bed.cache.stats().entries, 0);
        bed.open("b", 1).unwrap();
        assert_eq!(bed.cache.stats().entries, 1);
        assert_eq!(bed.cache.stats().evicted, 2);
    })
}
