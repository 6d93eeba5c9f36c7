//! Rewriting what is stored under another key.

pub(super) mod checkpoint;
mod configured;
mod feed;
pub(super) mod limiter;
mod object_checkpoints;
mod options;
pub(super) mod progress;
mod protection;
mod reencryptor;
mod report;
mod run;
mod scope;
mod shared;
mod step;
mod sweep;
mod target;
mod verify;
mod work;

pub use checkpoint::{Checkpoint, CheckpointStore};
pub use configured::{ConfiguredReencryptors, Lookup, ReencryptorOptions, Reencryptors};
pub use object_checkpoints::ObjectCheckpoints;
pub use options::{MigrationOptions, OnKeyChange};
pub use progress::{MigrationPhase, MigrationProgress};
pub use protection::Protection;
pub use reencryptor::{Reading, Reencryptor, TransformerPair};
pub use report::{
    MigrationCounts, MigrationEnd, MigrationReport, MigrationVerification, Remaining,
    RemainingReason, StopReason,
};
pub use run::Migration;
pub use scope::MigrationScope;
pub use shared::{SharedMigration, WorkerOptions};
pub use target::TargetSelector;
