//! A whole cluster's objects: counted, checked, exported; from a snapshot or a live etcd.

mod census;
mod checker;
mod export;
mod html;
mod kube;
mod migrate;
mod opener;
pub(crate) mod own;
pub mod plan;
mod plugins;
pub mod replicas;
mod source;
mod text;
mod verify;

pub use census::{CensusOutcome, CensusRequest, SourceFacts, census};
pub use export::{ExportEvent, ExportFormat, ExportRequest, ExportSummary, export, get};
pub use html::html_report;
pub use kube::{
    KubeAddress, KubeMigration, KubeOutcome, KubeSelection, MissingRight, kube_text_report,
};
pub use migrate::{
    CheckpointFile, CheckpointPlace, MigrateOutcome, MigrateRequest, StoreFacts, WorkerName,
    migrate, migration_text,
};
pub use opener::{KekArgument, ObjectOpener, OpenerOptions};
pub use own::ROTATION_CHECKPOINT;
pub(crate) use plugins::open_plugins;
pub use source::ClusterSource;
pub use text::text_report;
pub(crate) use text::write_table;
pub use verify::{Blocker, PluginCheck, Verification};
