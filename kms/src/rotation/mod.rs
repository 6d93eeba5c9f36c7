//! Rotation, driven and shown.
//!
//! [`Driver`] carries out what the state machine
//! ([`kms_envelope::rotation`]) asks for, over [`Parts`], and keeps the state in a
//! [`StateStore`](kms_core::state::StateStore). [`Registry`] shows which keys there are, who needs
//! them, and which may go.

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
mod retire;
mod writers;

pub use doubt::Doubt;
pub use driver::{DrivePlan, Driver, Outcome};
pub use keys::ProviderKeys;
pub use line::event_line;
pub use news::News;
pub use objects::{ClusterObjects, ClusterObjectsOptions};
pub use options::{DriverOptions, Until};
pub use parts::{
    CensusOrder, Convergence, KeySource, MigrationOrder, Objects, Parts, PassProgress, PassSummary,
    Verified, WriterStates, Writers,
};
pub use place::StatePlace;
pub use record::{DriverId, DriverNote, RotationRecord};
pub use registry::{Deletion, KeyRole, Registry, RegistryKey, RegistrySources, RotationStatus};
pub use retire::RecordedRetirement;
pub use writers::ReplicaWriters;
