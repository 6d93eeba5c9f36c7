//! Writing a file as a whole, in turn.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::permissions::{keep_owner_and_mode, refuse_wide_directory};
use super::{Disk, Subject, io_error, parent_of, path_error, sync_directory};
use crate::{Error, ErrorKind};

/// The right to write one file. Given back when dropped, or when the process dies.
#[derive(Debug)]
pub(crate) struct Writer {
    target: PathBuf,
    directory: PathBuf,
    /// What begins the name of a file that is being written.
    prefix: OsString,
    subject: &'static Subject,
    disk: Arc<dyn Disk>,
    /// Holds the lock.
    _lock: File,
}

impl Writer {
    /// Waits for the right to replace the file that `path` leads to.
    pub(crate) fn for_existing(
        path: &Path,
        subject: &'static Subject,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, Error> {
        let resolve = || {
            fs::canonicalize(path).map_err(|source| {
                path_error(format!("cannot find the {subject} file"), path, source)
            })
        };
        let target = resolve()?;
        let lock = open_lock(&target, subject)?;
        lock.lock().map_err(|source| cannot_lock(subject, source))?;
        let writer = Self::holding(lock, target, subject, disk);
        // The lock belongs to the file, not to the link that led to it.
        if resolve()? != writer.target {
            return Err(led_elsewhere(subject));
        }
        Ok(writer)
    }

    /// Waits for the right to create `path`, where nothing may lie yet. `wide` lets others than
    /// the owner write to the directory.
    pub(crate) fn for_new(
        path: &Path,
        subject: &'static Subject,
        wide: bool,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, Error> {
        let target = new_target(path, subject)?;
        if !wide {
            refuse_wide_directory(parent_of(&target), subject)?;
        }
        // Before the lock file is made, so that a mistaken `create` leaves nothing behind.
        refuse_existing(&target, subject)?;
        let lock = open_lock(&target, subject)?;
        lock.lock().map_err(|source| cannot_lock(subject, source))?;
        let writer = Self::holding(lock, target, subject, disk);
        refuse_existing(&writer.target, subject)?;
        Ok(writer)
    }

    /// Takes the right to create or replace the file at `path`, or gives `None` if another writer
    /// has it now. Waits for nobody.
    pub(crate) fn if_free(
        path: &Path,
        subject: &'static Subject,
        wide: bool,
        disk: Arc<dyn Disk>,
    ) -> Result<Option<Self>, Error> {
        let resolve = || match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => new_target(path, subject),
            _ => fs::canonicalize(path).map_err(|source| {
                path_error(format!("cannot find the {subject} file"), path, source)
            }),
        };
        let target = resolve()?;
        if !wide {
            refuse_wide_directory(parent_of(&target), subject)?;
        }
        let lock = open_lock(&target, subject)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(cannot_lock(subject, source)),
        }
        let writer = Self::holding(lock, target, subject, disk);
        if resolve()? != writer.target {
            return Err(led_elsewhere(subject));
        }
        Ok(Some(writer))
    }

    fn holding(
        lock: File,
        target: PathBuf,
        subject: &'static Subject,
        disk: Arc<dyn Disk>,
    ) -> Self {
        let name = target
            .file_name()
            .unwrap_or_else(|| OsStr::new(subject.noun));
        let directory = parent_of(&target).to_path_buf();
        let prefix = [OsStr::new("."), name, OsStr::new(".kms-tmp-")]
            .into_iter()
            .collect();
        let writer = Self {
            target,
            directory,
            prefix,
            subject,
            disk,
            _lock: lock,
        };
        writer.remove_leftovers();
        writer
    }

    /// Removes what a crashed writer left, since it may hold keys. We have the lock, so nobody is writing.
    fn remove_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let ours = entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(self.prefix.as_encoded_bytes());
            if ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                // Not worth failing for: the next writer tries again.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Writes a new file. Never replaces one.
    pub(crate) fn create(&self, bytes: &[u8]) -> Result<(), Error> {
        let temporary = self.write(bytes, None)?;
        temporary
            .persist_noclobber(&self.target)
            .map_err(|failure| self.fault("cannot create the", failure.error))?;
        self.sync_directory()
    }

    /// Replaces the file as a whole: after a crash there is the old one or the new one.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<(), Error> {
        let old = fs::metadata(&self.target)
            .map_err(|source| self.fault("cannot look at the", source))?;
        let temporary = self.write(bytes, Some(&old))?;
        temporary
            .persist(&self.target)
            .map_err(|failure| self.fault("cannot replace the", failure.error))?;
        self.sync_directory()
    }

    fn write(&self, bytes: &[u8], old: Option<&Metadata>) -> Result<NamedTempFile, Error> {
        let cannot = |source| self.fault("cannot write the", source);
        // On Unix its mode is 0600 from the moment it exists.
        let mut temporary = tempfile::Builder::new()
            .prefix(&self.prefix)
            .tempfile_in(&self.directory)
            .map_err(cannot)?;
        if let Some(old) = old {
            keep_owner_and_mode(temporary.as_file(), self.subject, old)?;
        }
        temporary.write_all(bytes).map_err(cannot)?;
        self.disk.sync(temporary.as_file()).map_err(cannot)?;
        Ok(temporary)
    }

    /// Makes the rename last.
    fn sync_directory(&self) -> Result<(), Error> {
        sync_directory(&*self.disk, &self.directory).map_err(|source| {
            io_error(
                format!(
                    "the new {} file is in place, but its directory cannot be synced: \
                     the change may or may not survive a power failure",
                    self.subject
                ),
                source,
            )
            .with_remedy(self.subject.unsure)
        })
    }

    /// An error about the file; `what` comes before its name.
    fn fault(&self, what: &str, source: io::Error) -> Error {
        io_error(format!("{what} {} file", self.subject), source)
    }
}

/// Where a file of this path is to lie, links in its directory resolved.
fn new_target(path: &Path, subject: &Subject) -> Result<PathBuf, Error> {
    let name = path.file_name().ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("the {subject} path names no file"),
        )
    })?;
    Ok(find_directory(path, subject)?.join(name))
}

/// The directory of a path, links resolved. It must be there.
pub(crate) fn find_directory(path: &Path, subject: &Subject) -> Result<PathBuf, Error> {
    fs::canonicalize(parent_of(path)).map_err(|source| {
        path_error(
            format!("cannot find the directory of the {subject}"),
            path,
            source,
        )
    })
}

fn cannot_lock(subject: &Subject, source: io::Error) -> Error {
    io_error(format!("cannot lock the {subject} for writing"), source)
}

fn led_elsewhere(subject: &Subject) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("the {subject} path was made to lead elsewhere"),
    )
}

/// Opens the file beside the target that writers lock. It stays for ever: if it were removed, two
/// writers could hold two locks.
fn open_lock(target: &Path, subject: &Subject) -> Result<File, Error> {
    let mut path = target.as_os_str().to_owned();
    path.push(".lock");
    let mut create = OpenOptions::new();
    create.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut create, 0o600);
    let opened = match create.open(&path) {
        Ok(lock) => {
            // The target's owner must be able to write after root was here first.
            #[cfg(unix)]
            if let Ok(owned) = fs::metadata(target) {
                use std::os::unix::fs::MetadataExt as _;
                let _ = std::os::unix::fs::fchown(&lock, Some(owned.uid()), Some(owned.gid()));
            }
            Ok(lock)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(&path)
        }
        Err(error) => Err(error),
    };
    opened.map_err(|source| cannot_lock(subject, source))
}

fn refuse_existing(target: &Path, subject: &Subject) -> Result<(), Error> {
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error(
            format!("cannot look for an existing {subject}"),
            source,
        )),
        Ok(_) => Err(Error::new(
            ErrorKind::InvalidInput,
            format!("there is something at the {subject} path already; it is left as it is"),
        )
        .with_remedy("open it instead, or choose another path")),
    }
}
