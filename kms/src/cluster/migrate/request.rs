//! What to migrate, and how.

use core::time::Duration;
use std::path::PathBuf;

use kms_envelope::kubernetes::{DekSourceType, EncryptionConfiguration};
use kms_envelope::reencrypt::{MigrationOptions, TargetSelector, WorkerOptions};

use crate::cluster::KekArgument;
use crate::cluster::replicas::Replicas;

/// What to migrate, and how.
#[derive(Debug)]
#[non_exhaustive]
pub struct MigrateRequest {
    /// The configuration that API servers use.
    pub config: EncryptionConfiguration,
    /// Who stands in for its plugins.
    pub keks: Vec<KekArgument>,
    /// What to bring objects to.
    pub target: TargetSelector,
    /// Which objects, and how.
    pub options: MigrationOptions,
    /// The source type that API servers write KMS v2 values with.
    pub kms_v2_source_type: DekSourceType,
    /// Who is asked whether API servers write with the target already.
    pub replicas: Replicas,
    /// Whether to wait until API servers have followed their plugins, where only those were asked.
    pub settle: bool,
    /// Where the checkpoint is kept.
    pub checkpoint: CheckpointPlace,
}

/// Where the place of a migration is kept.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum CheckpointPlace {
    /// In the store, outside the API server's keys, until it is done.
    #[default]
    Store,
    /// In a file.
    File(PathBuf),
    /// On a board that several workers share.
    Shared(WorkerName),
}

/// How a worker takes part: its name, or none for a random one; and its options.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerName {
    /// The name.
    pub name: Option<String>,
    /// How long it may be silent before its work goes to others; the default of
    /// [`WorkerOptions`] if there is none.
    pub time_to_live: Option<Duration>,
}

impl WorkerName {
    /// A worker of this name.
    #[must_use]
    pub const fn new(name: Option<String>) -> Self {
        Self {
            name,
            time_to_live: None,
        }
    }

    pub(super) fn options(
        &self,
        random: impl FnOnce() -> Result<String, crate::Failure>,
        prefix: String,
    ) -> Result<WorkerOptions, crate::Failure> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => random()?,
        };
        let options = WorkerOptions::new(name, prefix)?;
        Ok(match self.time_to_live {
            Some(time_to_live) => options.with_time_to_live(time_to_live),
            None => options,
        })
    }
}

impl MigrateRequest {
    /// A migration to what API servers write with.
    #[must_use]
    pub fn new(config: EncryptionConfiguration, options: MigrationOptions) -> Self {
        Self {
            config,
            keks: Vec::new(),
            target: TargetSelector::default(),
            options,
            kms_v2_source_type: DekSourceType::default(),
            replicas: Replicas::new(Vec::new()),
            settle: true,
            checkpoint: CheckpointPlace::default(),
        }
    }

    /// Sets who stands in for the plugins.
    #[must_use]
    pub fn with_keks(mut self, keks: Vec<KekArgument>) -> Self {
        self.keks = keks;
        self
    }

    /// Sets what to bring objects to.
    #[must_use]
    pub fn with_target(mut self, target: TargetSelector) -> Self {
        self.target = target;
        self
    }

    /// Sets the source type that API servers write.
    #[must_use]
    pub const fn with_kms_v2_source_type(mut self, written: DekSourceType) -> Self {
        self.kms_v2_source_type = written;
        self
    }

    /// Sets who is asked whether API servers write with the target already.
    #[must_use]
    pub fn with_replicas(mut self, replicas: Replicas) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets whether to wait until API servers have followed their plugins.
    #[must_use]
    pub const fn with_settle(mut self, settle: bool) -> Self {
        self.settle = settle;
        self
    }

    /// Sets where the checkpoint is kept.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: CheckpointPlace) -> Self {
        self.checkpoint = checkpoint;
        self
    }
}
