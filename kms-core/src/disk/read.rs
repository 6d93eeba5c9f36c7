//! Reading a file with care.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::permissions::{refuse_wide, refuse_wide_directory};
use super::pin::{Pin, Stamp};
use super::{Disk, Subject, io_error, parent_of, path_error, sync_directory};
use crate::{Error, ErrorKind};

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) pin: Pin,
    directory: PathBuf,
    subject: &'static Subject,
}

impl Contents {
    /// Makes sure that this file is still there after a power failure.
    ///
    /// A file that was put in place by a rename is seen before the rename is safe. Whoever wraps
    /// with a key from it must wait for that, or the data may outlive the key.
    pub(crate) fn make_durable(&self, disk: &dyn Disk) -> Result<(), Error> {
        let file = if cfg!(unix) {
            disk.sync(&self.pin.handle)
        } else {
            // Elsewhere a handle that only reads cannot be synced.
            Ok(())
        };
        file.and_then(|()| sync_directory(disk, &self.directory))
            .map_err(|source| {
                io_error(
                    format!(
                        "the {} file was changed, and cannot be synced: it is not used yet",
                        self.subject
                    ),
                    source,
                )
                .with_remedy("check the disk; the change is taken over when a sync succeeds")
            })
    }
}

/// Reads a file. `wide` lets others than the owner have rights to it, and write to its
/// directory.
pub(crate) fn read(path: &Path, subject: &'static Subject, wide: bool) -> Result<Contents, Error> {
    let cannot = |source| io_error(format!("cannot read the {subject} file"), source);
    // What is read and what is synced must lie in one directory, wherever a link leads later.
    let target = fs::canonicalize(path)
        .map_err(|source| path_error(format!("cannot read the {subject} file"), path, source))?;
    let (link, path) = (path, target.as_path());
    // Looked at before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the {subject} path is not a regular file"),
        ));
    }
    let mut handle = File::open(path).map_err(cannot)?;
    let metadata = handle.metadata().map_err(cannot)?;
    if !wide {
        refuse_wide(path, subject, &metadata)?;
        refuse_wide_directory(parent_of(path), subject)?;
        // Who can replace the link decides what is read.
        if parent_of(link) != parent_of(path) {
            refuse_wide_directory(parent_of(link), subject)?;
        }
    }
    let len = usize::try_from(metadata.len())
        .ok()
        .filter(|len| *len <= subject.max_len)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format!(
                    "the {subject} file is refused: it is over {} bytes",
                    subject.max_len
                ),
            )
        })?;
    let mut bytes = Zeroizing::new(vec![0; len]);
    // A file that shrinks under us is torn; one that grows has a cut-off end. Our own writer does
    // neither.
    handle.read_exact(&mut bytes).map_err(|source| {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            Error::new(
                ErrorKind::Corrupt,
                format!("the {subject} file is refused: it became shorter while it was read"),
            )
        } else {
            cannot(source)
        }
    })?;
    Ok(Contents {
        bytes,
        directory: parent_of(path).to_path_buf(),
        subject,
        pin: Pin {
            stamp: Stamp::new(&metadata),
            handle,
        },
    })
}
