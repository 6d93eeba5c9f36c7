//! Rewriting through the Kubernetes API, for clusters whose etcd cannot be reached.

mod checkpoint;
mod gate;
mod object;
mod options;
mod place;
mod progress;
mod report;
mod run;
mod trouble;
mod unit;

pub use options::{ApiMigrationOptions, ApiScope};
pub use progress::{ApiMigrationPhase, ApiMigrationProgress};
pub use report::{
    ApiMigrationCounts, ApiMigrationEnd, ApiMigrationReport, ApiStopReason, LeftObject, LeftReason,
    UnreadPlace,
};
pub use run::ApiMigration;
