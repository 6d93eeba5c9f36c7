//! Files that must not be lost: read with care, replaced as a whole, one writer at a time.
//!
//! Shared by the keyring ([`local`](crate::local)) and the state store ([`state`](crate::state)).

mod permissions;
mod pin;
mod read;
mod writer;

use core::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;

pub(crate) use self::pin::Pin;
pub(crate) use self::read::read;
pub(crate) use self::writer::{Writer, find_directory};
use crate::{Error, ErrorKind};

/// What a file holds: what errors call it, and how long it may be.
#[derive(Debug)]
pub(crate) struct Subject {
    /// As in "the keyring file".
    pub(crate) noun: &'static str,
    /// In bytes.
    pub(crate) max_len: usize,
    /// What to do when nobody knows whether a change is on the disk.
    pub(crate) unsure: &'static str,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.noun)
    }
}

/// What makes written data last. Injected, so that a disk that fails can be tested.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Returns when what the handle stands for, a file or a directory, would survive a power
    /// failure.
    fn sync(&self, handle: &File) -> io::Result<()>;
}

/// The disk there is.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn sync(&self, handle: &File) -> io::Result<()> {
        handle.sync_all()
    }
}

/// Makes the names in a directory last, and with them the last rename.
fn sync_directory(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(directory).and_then(|directory| disk.sync(&directory)) {
        // A file system that cannot sync a directory cannot do better.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// The directory of a path.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

fn io_error(what: impl Into<String>, source: io::Error) -> Error {
    Error::new(ErrorKind::Io, what).with_source(source)
}

/// An error about a path; if its directory is what is missing, it says so.
fn path_error(what: impl Into<String>, path: &Path, source: io::Error) -> Error {
    let directory = parent_of(path);
    let missing = source.kind() == io::ErrorKind::NotFound
        && fs::metadata(directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let error = io_error(what, source);
    if missing {
        error.with_remedy(format!(
            "create the directory {}, owned by the user who runs this, mode 0700",
            directory.display()
        ))
    } else {
        error
    }
}
