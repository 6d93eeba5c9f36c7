//! The layers keep the rules of a provider and do what they are there for.

mod coalesce;
mod conforming;
#[cfg(feature = "metrics")]
mod metered;
mod retry;
mod timeout;
mod union;

use std::sync::Arc;
use std::time::Duration;

use kms_core::{KeyProvider, SecretBytes, WrapOptions, WrappedKey};
use kms_testkit::{FaultProvider, ManualClock, StaticProvider};

const SECOND: Duration = Duration::from_secs(1);
const KEY: [u8; 32] = [9; 32];

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
