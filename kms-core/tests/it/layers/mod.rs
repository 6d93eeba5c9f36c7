//! The layers keep the rules of a provider and do what they are there for.

mod coalesce;
mod conforming;
#[cfg(feature = "metrics")]
mod metered;
mod retry;
mod timeout;
mod union;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kms_core::{Error, KeyProvider, SecretBytes, SecureRandom, WrapOptions, WrappedKey};
use kms_testkit::{FaultProvider, ManualClock, StaticProvider};

const SECOND: Duration = Duration::from_secs(1);
const KEY: [u8; 32] = [9; 32];

/// Jitter that a failing case has again; SplitMix64, of no cryptographic worth.
#[derive(Debug)]
struct Jitter(AtomicU64);

impl Jitter {
    fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl SecureRandom for Jitter {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        for chunk in bytes.chunks_mut(8) {
            let step = 0x9e37_79b9_7f4a_7c15_u64;
            let mut z = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_be_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

type Faults = Arc<FaultProvider<StaticProvider>>;

/// A static provider with the key `first`, that fails to order.
fn faults() -> (Faults, ManualClock) {
    let clock = ManualClock::new();
    let keys = StaticProvider::new("first".parse().unwrap(), KEY);
    let faults = FaultProvider::new(keys, Arc::new(clock.clone()));
    (Arc::new(faults), clock)
}

fn dek() -> SecretBytes {
    SecretBytes::from_vec(vec![7; 32])
}

/// The DEK under a provider's current key.
fn wrapped_by(provider: &dyn KeyProvider) -> WrappedKey {
    let options = WrapOptions::default();
    ManualClock::new()
        .run(provider.wrap(&dek(), &options))
        .unwrap()
        .unwrap()
}
