//! Layers of images: their digest, their root hash, and the users in them.

pub(super) mod archive;
mod hashing;
mod index;
mod read;
mod tree;

use std::io;

pub use read::{LayerReading, LayerSummary};
pub(super) use tree::names;

use crate::{Error, ErrorKind};

/// Tells a tar that is damaged from a disk that is.
fn broken(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            ErrorKind::Image
        }
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("a tar cannot be read: {error}")).with_source(error)
}
