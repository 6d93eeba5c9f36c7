//! What a policy has to know of an image.
//!
//! [`ImageFacts`] are an image's configuration, its layers with their dm-verity root hashes, and its
//! users and groups. An [`ImageLock`] holds them for many images, so that a policy is made offline and
//! comes out the same on every machine.
//!
//! Facts are taken from an [`OciLayout`], a [`DockerArchive`], or with the feature `registry` from a
//! registry. Whatever has a digest is compared with it, and each layer with the configuration's diff
//! id. Nothing is unpacked and nothing is written: layers are hashed as they stream by.

mod archive;
mod collect;
mod compression;
mod digest;
mod facts;
mod hashed;
mod layer;
mod layout;
mod lock;
mod lock_file;
mod oci;
mod platform;
mod reference;
#[cfg(feature = "registry")]
mod registry;
mod verity;

pub use archive::DockerArchive;
pub use collect::{CollectOptions, CollectedImage, LayerDone, layer_names};
pub use digest::Digest;
pub use facts::{ImageConfig, ImageFacts, LayerFacts};
pub use hashed::HashedLayers;
pub use layer::{LayerReading, LayerSummary};
pub use layout::OciLayout;
pub use lock::ImageLock;
pub use platform::Platform;
pub use reference::ImageReference;
#[cfg(feature = "registry")]
#[cfg_attr(docsrs, doc(cfg(feature = "registry")))]
pub use registry::{DockerConfig, Registry, RegistryOptions, ResolvedImage};
pub use verity::{HASH_LEN, VerityHasher, VerityOptions};
