//! Several workers, on several machines, on one migration.

mod board;
mod migration;
mod place;
mod worker;

pub use migration::{SharedMigration, WorkerOptions};
