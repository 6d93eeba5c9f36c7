//! The keyring file on disk: read with care, replaced as a whole, one writer at a time.

use core::fmt;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::document::MAX_LEN;
use crate::{Error, ErrorKind};

/// What makes written data last. Injected, so that a disk that fails can be tested.
pub(super) trait Disk: fmt::Debug + Send + Sync {
    /// Returns when what the handle stands for, a file or a directory, would survive a power
    /// failure.
    fn sync(&self, handle: &File) -> io::Result<()>;
}

/// The disk there is.
#[derive(Debug)]
pub(super) struct RealDisk;

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

/// One state of a file, held so that any later one is told from it without reading.
///
/// Writers that replace the file, as ours do, are always seen. A foreign one that overwrites it in
/// place is not, if it keeps the length and comes within the tick of the file system's clock in
/// which the file was last changed.
#[derive(Debug)]
pub(super) struct Pin {
    stamp: Stamp,
    /// As long as it is open, the file system cannot give its inode to a later file, so no two
    /// files share a stamp.
    handle: File,
}

impl Pin {
    /// Whether this very file, unchanged, lies at `path` now.
    pub(super) fn is_current(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| Stamp::new(&metadata) == self.stamp)
    }
}

#[derive(Debug, Eq, PartialEq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and the time of the last change of the inode, in s and ns.
    inode: [u64; 4],
}

impl Stamp {
    fn new(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
            inode: inode(metadata),
        }
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> [u64; 4] {
    use std::os::unix::fs::MetadataExt as _;
    [
        metadata.dev(),
        metadata.ino(),
        metadata.ctime().cast_unsigned(),
        metadata.ctime_nsec().cast_unsigned(),
    ]
}

#[cfg(not(unix))]
const fn inode(_: &Metadata) -> [u64; 4] {
    [0; 4]
}

/// A keyring file as it was read.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) pin: Pin,
    directory: PathBuf,
}

impl Contents {
    /// Makes sure that this file is still there after a power failure.
    ///
    /// A file that was put in place by a rename is seen before the rename is safe. Whoever wraps
    /// with a key from it must wait for that, or the data may outlive the key.
    pub(super) fn make_durable(&self, disk: &dyn Disk) -> Result<(), Error> {
        let file = if cfg!(unix) {
            disk.sync(&self.pin.handle)
        } else {
            // Elsewhere a handle that only reads cannot be synced.
            Ok(())
        };
        file.and_then(|()| sync_directory(disk, &self.directory))
            .map_err(|source| {
                io_error(
                    "the keyring file was changed, and cannot be synced: it is not used yet",
                    source,
                )
                .with_remedy("check the disk; the change is taken over when a sync succeeds")
            })
    }
}

/// Reads a keyring file. `wide` lets others than the owner have rights to it, and write to its
/// directory.
pub(super) fn read(path: &Path, wide: bool) -> Result<Contents, Error> {
    let cannot = |source| io_error("cannot read the keyring file", source);
    // What is read and what is synced must lie in one directory, wherever a link leads later.
    let target = fs::canonicalize(path)
        .map_err(|source| path_error("cannot read the keyring file", path, source))?;
    let (link, path) = (path, target.as_path());
    // Looked at before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "the keyring path is not a regular file",
        ));
    }
    let mut handle = File::open(path).map_err(cannot)?;
    let metadata = handle.metadata().map_err(cannot)?;
    if !wide {
        refuse_wide(path, &metadata)?;
        refuse_wide_directory(parent_of(path))?;
        // Who can replace the link decides what is read.
        if parent_of(link) != parent_of(path) {
            refuse_wide_directory(parent_of(link))?;
        }
    }
    let len = usize::try_from(metadata.len())
        .ok()
        .filter(|len| *len <= MAX_LEN)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "the keyring file is refused: it is over 4194304 bytes",
            )
        })?;
    let mut bytes = Zeroizing::new(vec![0; len]);
    // A file that shrinks under us is torn; one that grows has a cut-off end. Our own writer does
    // neither.
    handle.read_exact(&mut bytes).map_err(|source| {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            Error::new(
                ErrorKind::Corrupt,
                "the keyring file is refused: it became shorter while it was read",
            )
        } else {
            cannot(source)
        }
    })?;
    Ok(Contents {
        bytes,
        directory: parent_of(path).to_path_buf(),
        pin: Pin {
            stamp: Stamp::new(&metadata),
            handle,
        },
    })
}

#[cfg(unix)]
fn refuse_wide(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!("the keyring file has mode {mode:04o}: others than its owner have rights to it"),
    )
    .with_remedy(format!("chmod 600 {}", path.display())))
}

/// Refuses a directory in which everybody could put a file in the place of the keyring. Its group
/// is trusted: on many systems each user has one of their own, and directories open to it.
#[cfg(unix)]
fn refuse_wide_directory(directory: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(directory)
        .map_err(|source| io_error("cannot look at the directory of the keyring", source))?;
    let mode = metadata.permissions().mode() & 0o7777;
    // Where the sticky bit is set, as in /tmp, nobody can replace the files of another user.
    if mode & 0o002 == 0 || mode & 0o1000 != 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!(
            "the directory of the keyring has mode {mode:04o}: \
             everybody can replace the keyring file"
        ),
    )
    .with_remedy(format!("chmod o-w {}", directory.display())))
}

#[cfg(not(unix))]
const fn refuse_wide_directory(_: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(not(unix))]
const fn refuse_wide(_: &Path, _: &Metadata) -> Result<(), Error> {
    Ok(())
}

/// The right to write one keyring file. Given back when dropped, or when the process dies.
#[derive(Debug)]
pub(super) struct Writer {
    target: PathBuf,
    directory: PathBuf,
    /// What begins the name of a file that is being written.
    prefix: OsString,
    disk: Arc<dyn Disk>,
    /// Holds the lock.
    _lock: File,
}

impl Writer {
    /// Waits for the right to replace the file that `path` leads to.
    pub(super) fn for_existing(path: &Path, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        let resolve = || {
            fs::canonicalize(path)
                .map_err(|source| path_error("cannot find the keyring file", path, source))
        };
        let target = resolve()?;
        let writer = Self::lock(target, disk)?;
        // The lock belongs to the file, not to the link that led to it.
        if resolve()? != writer.target {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the keyring path was made to lead elsewhere",
            ));
        }
        Ok(writer)
    }

    /// Waits for the right to create `path`, where nothing may lie yet. `wide` lets others than
    /// the owner write to the directory.
    pub(super) fn for_new(path: &Path, wide: bool, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        let name = path
            .file_name()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the keyring path names no file"))?;
        let directory = fs::canonicalize(parent_of(path)).map_err(|source| {
            path_error("cannot find the directory of the keyring", path, source)
        })?;
        if !wide {
            refuse_wide_directory(&directory)?;
        }
        let target = directory.join(name);
        // Before the lock file is made, so that a mistaken `create` leaves nothing behind.
        refuse_existing(&target)?;
        let writer = Self::lock(target, disk)?;
        refuse_existing(&writer.target)?;
        Ok(writer)
    }

    fn lock(target: PathBuf, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        let cannot = |source| io_error("cannot lock the keyring for writing", source);
        let name = target.file_name().unwrap_or_else(|| OsStr::new("keyring"));
        let directory = parent_of(&target).to_path_buf();
        let prefix = [OsStr::new("."), name, OsStr::new(".kms-tmp-")]
            .into_iter()
            .collect();
        let lock = open_lock(&target).map_err(cannot)?;
        lock.lock().map_err(cannot)?;
        let writer = Self {
            target,
            directory,
            prefix,
            disk,
            _lock: lock,
        };
        writer.remove_leftovers();
        Ok(writer)
    }

    /// Removes what a crashed writer left: it holds keys. We have the lock, so nobody is writing.
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
    pub(super) fn create(&self, bytes: &[u8]) -> Result<(), Error> {
        let temporary = self.write(bytes, None)?;
        temporary
            .persist_noclobber(&self.target)
            .map_err(|failure| io_error("cannot create the keyring file", failure.error))?;
        self.sync_directory()
    }

    /// Replaces the file as a whole: after a crash there is the old one or the new one.
    pub(super) fn replace(&self, bytes: &[u8]) -> Result<(), Error> {
        let old = fs::metadata(&self.target)
            .map_err(|source| io_error("cannot look at the keyring file", source))?;
        let temporary = self.write(bytes, Some(&old))?;
        temporary
            .persist(&self.target)
            .map_err(|failure| io_error("cannot replace the keyring file", failure.error))?;
        self.sync_directory()
    }

    fn write(&self, bytes: &[u8], old: Option<&Metadata>) -> Result<NamedTempFile, Error> {
        let cannot = |source| io_error("cannot write the keyring file", source);
        // On Unix its mode is 0600 from the moment it exists.
        let mut temporary = tempfile::Builder::new()
            .prefix(&self.prefix)
            .tempfile_in(&self.directory)
            .map_err(cannot)?;
        if let Some(old) = old {
            keep_owner_and_mode(temporary.as_file(), old)?;
        }
        temporary.write_all(bytes).map_err(cannot)?;
        self.disk.sync(temporary.as_file()).map_err(cannot)?;
        Ok(temporary)
    }

    /// Makes the rename last.
    fn sync_directory(&self) -> Result<(), Error> {
        sync_directory(&*self.disk, &self.directory).map_err(|source| {
            io_error(
                "the new keyring file is in place, but its directory cannot be synced: \
                 the change may or may not survive a power failure",
                source,
            )
            .with_remedy("check the disk, then look which versions there are before you try again")
        })
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

/// Opens the file beside the keyring that writers lock. It stays for ever: if it were removed, two
/// writers could hold two locks.
fn open_lock(target: &Path) -> io::Result<File> {
    let mut path = target.as_os_str().to_owned();
    path.push(".lock");
    let mut create = OpenOptions::new();
    create.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut create, 0o600);
    match create.open(&path) {
        Ok(lock) => {
            // The keyring's owner must be able to write after root was here first.
            #[cfg(unix)]
            if let Ok(keyring) = fs::metadata(target) {
                use std::os::unix::fs::MetadataExt as _;
                let _ = std::os::unix::fs::fchown(&lock, Some(keyring.uid()), Some(keyring.gid()));
            }
            Ok(lock)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(&path)
        }
        Err(error) => Err(error),
    }
}

/// Gives a new file the owner and mode of the one it replaces, so that a keyring rotated by root
/// can still be read by the service that owns it.
#[cfg(unix)]
fn keep_owner_and_mode(file: &File, old: &Metadata) -> Result<(), Error> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let cannot = |source| io_error("cannot look at the new keyring file", source);
    let new = file.metadata().map_err(cannot)?;
    let mode = old.permissions().mode() & 0o777;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        let kept = fchown(file, Some(old.uid()), Some(old.gid()));
        // The group is of no consequence while it has no rights.
        if let Err(source) = kept
            && (new.uid() != old.uid() || mode & 0o070 != 0)
        {
            return Err(
                io_error("cannot keep the owner of the keyring file", source)
                    .with_remedy("run this as the owner of the keyring file, or as root"),
            );
        }
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
        .map_err(|source| io_error("cannot keep the mode of the keyring file", source))
}

#[cfg(not(unix))]
const fn keep_owner_and_mode(_: &File, _: &Metadata) -> Result<(), Error> {
    Ok(())
}

fn refuse_existing(target: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error("cannot look for an existing keyring", source)),
        Ok(_) => Err(Error::new(
            ErrorKind::InvalidInput,
            "there is something at the keyring path already; it is left as it is",
        )
        .with_remedy("open it instead, or choose another path")),
    }
}

fn io_error(what: &str, source: io::Error) -> Error {
    Error::new(ErrorKind::Io, what).with_source(source)
}

/// An error about a path; if its directory is what is missing, it says so.
fn path_error(what: &str, path: &Path, source: io::Error) -> Error {
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
