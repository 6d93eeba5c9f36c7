//! The rotation state machine: named scenarios, laws, its text, its diagram, and an exhaustive search.

mod diagram;
mod evidence;
mod hand;
mod laws;
mod model;
mod scenarios;
mod text;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kms_core::{KeyId, KeyState};
use kms_envelope::rotation::{ObservedKey, ProviderName};

/// The cluster of all these tests.
const CLUSTER: &str = "cdf818194e3a8c32";

/// Some moment.
fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(name: &str) -> KeyId {
    name.parse().unwrap()
}

fn provider(name: &str) -> ProviderName {
    name.parse().unwrap()
}

fn enabled(name: &str) -> ObservedKey {
    ObservedKey::new(id(name), KeyState::Enabled)
}
