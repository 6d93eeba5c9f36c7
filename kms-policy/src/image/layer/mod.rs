//! Layers of images: their digest, their root hash, and the users in them.

mod index;
mod read;
mod tree;

pub use read::{LayerReading, LayerSummary};
