//! Facts of images, from where images are.

mod archive;
mod hostile;
mod layer;
mod layout;
mod made;
#[cfg(feature = "registry")]
mod registry;
mod verity;
