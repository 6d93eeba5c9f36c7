//! Re-encrypting a cluster's objects, from the check of its API servers to the report.

mod checkpoint_file;
pub(super) mod preflight;
mod request;
mod run;
mod text;

pub use checkpoint_file::CheckpointFile;
pub use request::{CheckpointPlace, MigrateRequest, WorkerName};
pub use run::{MigrateOutcome, StoreFacts, migrate};
pub use text::migration_text;
