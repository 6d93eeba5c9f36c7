//! What a policy has to know of an image.
//!
//! [`ImageFacts`] are an image's configuration, its layers with their dm-verity root hashes, and its
//! users and groups. An [`ImageLock`] holds them for many images, so that a policy is made offline and
//! comes out the same on every machine.

mod facts;
mod layer;
mod lock;
mod verity;

pub use facts::{ImageConfig, ImageFacts, LayerFacts};
pub use layer::{LayerReading, LayerSummary};
pub use lock::ImageLock;
pub use verity::{HASH_LEN, VerityHasher, VerityOptions};
