//! `kms_envelope::cache`, room by room, on other locks and atomics.
#![expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "their own unit tests run elsewhere, and not all of them is used here"
)]

#[path = "../../src/cache/budget.rs"]
mod budget;
#[path = "../../src/cache/encrypt/mod.rs"]
mod encrypt;
#[path = "../../src/cache/flying.rs"]
mod flying;
#[path = "../../src/cache/limits.rs"]
mod limits;
#[path = "../../src/cache/options.rs"]
mod options;
#[path = "../../src/cache/partition.rs"]
mod partition;
#[path = "../../src/cache/shelf/mod.rs"]
mod shelf;
#[path = "../../src/cache/stats.rs"]
mod stats;
#[path = "../../src/cache/unwrap/mod.rs"]
mod unwrap;

use crate::sync;

pub(crate) use encrypt::EncryptCache;
pub(crate) use limits::DekLimits;
pub(crate) use options::UnwrapCacheOptions;
pub(crate) use partition::Partition;
pub(crate) use unwrap::UnwrapCache;
