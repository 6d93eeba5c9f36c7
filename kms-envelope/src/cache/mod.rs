//! DEKs kept in memory, so that data is sealed and opened without a provider call each time.
//!
//! - [`UnwrapCache`], for opening: DEKs that a [`KeyProvider`](kms_core::KeyProvider) has unwrapped.
//! - [`EncryptCache`], for sealing: for each purpose one live DEK, with limits on what it encrypts.
//!
//! Both are async and need no runtime; both share one call among all who wait for the same, and go
//! on with it when the caller who began it is dropped; in both, an answer from the cache takes no
//! async lock and makes no call. Time is injected as a [`Clock`](kms_core::Clock), and only its
//! monotonic side is used: a date that jumps changes nothing.
//!
//! # Three clocks
//!
//! | clock | question | where | default |
//! |---|---|---|---|
//! | encryption | how long, and how much, may a DEK encrypt? | [`DekLimits`] | 10 minutes, 2^24 messages, 64 GiB |
//! | retention | how long may an unwrapped DEK be kept without asking the KMS again? | [`UnwrapCacheOptions::keep_for`] | 10 minutes |
//! | outage | how much longer may it serve while the KMS cannot be reached? | [`UnwrapCacheOptions::serve_stale_for`] | 1 hour |
//!
//! The three answer to different people. The first is cryptography and rotation; the second bounds
//! for how long a revoked key still opens data here; the third is what an outage may cost in
//! availability or in freshness of that revocation. None follows from another.
//!
//! **When a revocation takes effect.** Say the owner disables a key and calls nobody. Where its DEK
//! is in use, the refresh notices at the latest `keep_for` after the last time the KMS was asked;
//! where the KMS cannot be reached, at the latest `keep_for + serve_stale_for` after it. For a DEK
//! that encrypts it is [`DekLimits::max_age`]. Who cannot wait calls the `purge` methods.
//!
//! # Who waits
//!
//! Nobody, as long as an entry is used and the KMS answers: both caches replace an entry
//! before its time is over, while it goes on serving. A library without a runtime cannot run
//! anything by itself. So give the cache a way to spawn, [`UnwrapCache::with_spawner`] and
//! [`EncryptCache::with_spawner`]; without one, the first caller who sees that a refresh is due
//! carries it out and waits for it, and the others do not.
//!
//! # What holds where
//!
//! - **In one process** everything here holds, over all threads.
//! - **After a restart** the caches are empty. A DEK that was encrypting is never used to encrypt
//!   again: the new process makes its own. So the limits hold for each DEK over its whole life, and
//!   a restart costs one call for each purpose and each DEK that is read.
//! - **Over replicas** nothing is shared. Each has its own DEKs and counts for itself, so limits
//!   that are set for a DEK ("over all instances" in the words of SP 800-38D) still hold: no two
//!   replicas encrypt with one DEK. Calls to the KMS multiply by the number of replicas, and a
//!   purge must reach each of them.
//! - **A copied process** is what breaks this: a virtual machine resumed twice from one snapshot, or
//!   a process that forks. Both copies then hold the same DEK and count from the same number. The
//!   limits below leave room for that, and a format that derives a key for each message from a
//!   random salt does not depend on the count; one with a counter for a nonce would be broken.
//! - **Swap, core dumps, suspend to disk** are the operating system's: what is in memory may be
//!   written out there.
//!
//! # What hostile input can do
//!
//! Wrapped keys come from storage that may be hostile. Only what the KMS has unwrapped is entered,
//! so made-up ones evict nothing; their errors are remembered in a store of its own, by fingerprint,
//! bounded, and for a short time. Entries are found by a hash under a key of the process
//! and then compared in full. What a partition may hold is bounded, and so are the partitions, and
//! what is in flight is no more than the callers who wait.
//!
//! What a provider does not check, such as an annotation that it does not read, can be varied, and
//! each variant is an entry. So whoever writes one tenant's values can evict that tenant's
//! entries, and nobody else's. Distinct made-up keys cost a provider call each; a limit on those is
//! a matter for the provider's own layers.
//!
//! # Memory
//!
//! A DEK is wiped when its last holder lets go, which is the cache on eviction, expiry
//! ([`UnwrapCache::sweep`]) and purge, unless a caller is using it just then.

mod budget;
mod encrypt;
mod flying;
mod limits;
mod options;
mod partition;
mod shelf;
mod stats;
/// All that threads meet at, and what is random: a test puts a model checker's in their place.
mod sync {
    pub(super) use core::sync::atomic::{AtomicU64, Ordering};
    pub(super) use std::hash::RandomState;
    pub(super) use std::sync::{Mutex, MutexGuard};

    pub(super) use kms_core::layer::{Flight, Flights};
}
mod unwrap;

pub use encrypt::EncryptCache;
pub use flying::Background;
pub use limits::DekLimits;
pub use options::UnwrapCacheOptions;
pub use partition::Partition;
pub use stats::CacheStats;
pub use unwrap::UnwrapCache;
