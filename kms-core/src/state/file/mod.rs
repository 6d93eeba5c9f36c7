//! State in a file.

mod frame;
mod options;
mod store;

pub use options::FileStateOptions;
pub use store::FileStateStore;
