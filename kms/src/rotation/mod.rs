//! Rotation, driven and shown.

mod doubt;
mod driver;
mod keys;
mod news;
mod options;
mod parts;
mod record;

pub use doubt::Doubt;
pub use driver::{Driver, Outcome};
pub use keys::ProviderKeys;
pub use news::News;
pub use options::DriverOptions;
pub use parts::{
    CensusOrder, Convergence, KeySource, MigrationOrder, Objects, PassProgress, PassSummary,
    Parts, Verified, Writers,
};
pub use record::{DriverId, DriverNote, RotationRecord};
