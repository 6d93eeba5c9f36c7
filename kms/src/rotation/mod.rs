//! Rotation, driven and shown.

mod doubt;
mod driver;
mod keys;
mod line;
mod news;
mod objects;
mod options;
mod parts;
mod place;
mod record;
mod registry;
mod writers;

pub use doubt::Doubt;
pub use driver::{DrivePlan, Driver, Outcome};
pub use keys::ProviderKeys;
pub use line::event_line;
pub use news::News;
pub use objects::{ClusterObjects, ClusterObjectsOptions};
pub use options::DriverOptions;
pub use parts::{
    CensusOrder, Convergence, KeySource, MigrationOrder, Objects, Parts, PassProgress, PassSummary,
    Verified, Writers,
};
pub use place::StatePlace;
pub use record::{DriverId, DriverNote, RotationRecord};
pub use registry::{KeyRole, Registry, RegistryKey, RegistrySources, RotationStatus};
pub use writers::ReplicaWriters;
