//! Re-encryption, over a store in memory that does what a test wants at each call.

mod cluster;
mod conflicts;
mod crash;
mod damaged;
mod kept;
mod laws;
mod leased;
mod outage;
mod places;
mod shared;
mod store;
mod targets;

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use kms_envelope::Error;
use kms_envelope::reencrypt::{
    CheckpointStore, MigrationEnd, MigrationOptions, MigrationReport, MigrationScope,
};

pub(crate) use cluster::{Cluster, config};
pub(crate) use store::{Call, Hooked, Reaction};

/// All Secrets, with a place to keep that loses nothing.
pub(crate) fn options() -> MigrationOptions {
    let scope = MigrationScope::new("/registry")
        .with_resources(["secrets"])
        .unwrap();
    MigrationOptions::new(scope).with_checkpoint_interval(std::time::Duration::ZERO)
}

/// The key of a Secret.
pub(crate) fn secret(number: usize) -> String {
    format!("/registry/secrets/ns-{}/{number:03}", number % 3)
}

#[track_caller]
pub(crate) fn assert_complete(report: &MigrationReport) {
    assert!(matches!(report.end, MigrationEnd::Complete), "{report:#?}");
}

/// A checkpoint in memory. What it is told to keep it keeps.
#[derive(Debug, Default)]
pub(crate) struct Kept(pub(crate) Mutex<Option<Vec<u8>>>);

#[async_trait]
impl CheckpointStore for Kept {
    async fn load(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn save(&self, bytes: &[u8]) -> Result<(), Error> {
        *self.0.lock().unwrap() = Some(bytes.to_vec());
        Ok(())
    }

    async fn clear(&self) -> Result<(), Error> {
        *self.0.lock().unwrap() = None;
        Ok(())
    }
}

/// How often each key was written, since the beginning.
pub(crate) fn writes(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in cluster.history() {
        if record.value.is_some() {
            *counts.entry(record.key.to_string()).or_default() += 1;
        }
    }
    counts
}
