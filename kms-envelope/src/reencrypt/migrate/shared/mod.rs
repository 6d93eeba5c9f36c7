//! Several workers, on several machines, on one migration.

mod board;
mod place;
mod worker;

pub use worker::{SharedMigration, WorkerOptions};
