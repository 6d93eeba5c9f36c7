//! Where a socket may lie, and whose turn it is to bind there.

use core::time::Duration;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kms_core::{Error, ErrorKind};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::file::{in_use, io_error};

/// How long another process may be in the middle of binding the same path.
const LOCK_ATTEMPTS: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Write permission for everybody. The group is trusted: on many systems each user has one of
/// their own, and directories open to it.
const WRITABLE_BY_ALL: u32 = 0o002;
/// Only the owner of a file may remove it from a directory that has this bit.
const STICKY: u32 = 0o1000;

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Who may write to a directory may put another socket in the place of ours, and would be sent the
/// keys in the clear.
pub(super) fn check_directory(path: &Path) -> Result<(), Error> {
    let directory = directory_of(path);
    let found = fs::metadata(directory).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let error = io_error(directory, "find the directory of the socket,", error);
        if missing {
            error.with_remedy(format!(
                "create the directory, owned by {}, mode 0700 \
                 (0755 if others than its owner are to connect)",
                own_user()
            ))
        } else {
            error
        }
    })?;
    if !found.is_dir() {
        return Err(io_error(
            directory,
            "use as the directory of the socket",
            io::ErrorKind::NotADirectory.into(),
        ));
    }
    let mode = found.mode() & 0o7777;
    if mode & WRITABLE_BY_ALL != 0 && mode & STICKY == 0 {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "the directory of the socket, {}, has mode {mode:04o}: \
                 everybody may replace the socket",
                directory.display()
            ),
        )
        .with_remedy(format!("chmod o-w {}", directory.display())));
    }
    Ok(())
}

fn own_user() -> String {
    match rustix::process::geteuid().as_raw() {
        0 => "root".to_owned(),
        uid => format!("user {uid}"),
    }
}

/// Held while binding. The lock goes with the descriptor, so a crash releases it.
///
/// It is on a file of its own, `PATH.lock`, which nobody else can open: everyone who may read a
/// directory may lock it, and could keep a plugin from starting. The file stays for ever; if it
/// were removed, two servers could hold two locks.
pub(super) async fn take(path: &Path) -> Result<File, Error> {
    let beside = lock_path(path);
    let lock = open(&beside)?;
    for _ in 0..LOCK_ATTEMPTS {
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK | Errno::INTR) => tokio::time::sleep(LOCK_PAUSE).await,
            Err(error) => return Err(io_error(&beside, "lock", error.into())),
        }
    }
    Err(in_use(
        path,
        &format!("another process holds a lock on {}", beside.display()),
    ))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn open(beside: &Path) -> Result<File, Error> {
    // A link would let us lock, or create, a file of someone else's choice; a pipe would make us
    // wait for its reader.
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let remedy = || format!("remove {}: the plugin makes its own", beside.display());
    let lock = rustix::fs::open(beside, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| {
        let error = io_error(beside, "open the lock file", errno.into());
        match errno {
            Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::ISDIR | Errno::NXIO
                if fs::symlink_metadata(beside).is_ok() =>
            {
                error.with_remedy(remedy())
            }
            _ => error,
        }
    })?;
    let lock = File::from(lock);
    let found = lock
        .metadata()
        .map_err(|error| io_error(beside, "stat the lock file", error))?;
    let fault = if !found.is_file() {
        "is not a regular file"
    } else if found.uid() != 0 && found.uid() != rustix::process::geteuid().as_raw() {
        "belongs to another user"
    } else if found.mode() & 0o077 != 0 {
        "can be opened, and so locked, by others than its owner"
    } else {
        return Ok(lock);
    };
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!("the lock file {} {fault}", beside.display()),
    )
    .with_remedy(remedy()))
}
