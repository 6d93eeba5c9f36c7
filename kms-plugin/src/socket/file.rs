//! A socket file: made without a moment in which others may use it, and removed if it is ours.

use core::time::Duration;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use kms_core::{Error, ErrorKind};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixStream;

use super::{ListenOptions, turn};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;
/// How long a live server may take to take a connection before the socket counts as in use anyway.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// The file of a bound socket. Removed on drop, if it is still the one that was made.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn made_at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(&fs::symlink_metadata(path)?),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => {
                if let Err(error) = fs::remove_file(&self.path) {
                    tracing::warn!(path = %self.path.display(), %error, "socket file stays");
                }
            }
            Ok(_) => tracing::info!(
                path = %self.path.display(),
                "socket file is another server's by now, and stays"
            ),
            Err(_) => {}
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Binds and listens.
///
/// The order is what makes it safe. A socket that is bound and does not listen yet refuses every
/// connection, so its mode and owner are set between `bind` and `listen`, and nobody connects
/// under the wider ones that the umask gave it; the umask, which belongs to the whole process, is
/// left alone. `bind` itself never replaces a file. Looking for a stale file and removing it is
/// not one step, so two servers that start at once take turns by a lock on a file beside it.
pub(super) async fn listen(
    path: &Path,
    options: &ListenOptions,
) -> Result<(OwnedFd, SocketFile), Error> {
    let failed = |what: &str, error: io::Error| io_error(path, what, error);
    turn::check_directory(path)?;
    let _turn = turn::take(path).await?;
    remove_stale(path).await?;

    let address = SocketAddrUnix::new(path).map_err(|error| failed("address", error.into()))?;
    let socket = stream_socket().map_err(|error| failed("socket", error))?;
    rustix::net::bind(&socket, &address).map_err(|error| match error {
        Errno::ADDRINUSE => in_use(path, "something else appeared there"),
        error => failed("bind", error.into()),
    })?;
    // From here on an error removes the file again.
    let file = SocketFile::made_at(path).map_err(|error| failed("stat", error))?;
    if options.owner_uid.is_some() || options.owner_gid.is_some() {
        std::os::unix::fs::lchown(path, options.owner_uid, options.owner_gid)
            .map_err(|error| failed("change the owner of", error))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(options.mode))
        .map_err(|error| failed("set the mode of", error))?;
    rustix::net::listen(&socket, BACKLOG).map_err(|error| failed("listen on", error.into()))?;
    Ok((socket, file))
}

/// A new, unbound socket that is closed on exec and does not block.
pub(super) fn stream_socket() -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    #[cfg(not(target_os = "linux"))]
    let socket = {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        socket
    };
    Ok(socket)
}

#[cfg(target_os = "linux")]
pub(super) fn listen_abstract(name: &str) -> Result<OwnedFd, Error> {
    let shown = format!("@{name}");
    let shown = Path::new(&shown);
    let failed = |what: &str, error: io::Error| io_error(shown, what, error);
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())
        .map_err(|error| failed("address", error.into()))?;
    let socket = stream_socket().map_err(|error| failed("socket", error))?;
    rustix::net::bind(&socket, &address).map_err(|error| match error {
        Errno::ADDRINUSE => in_use(shown, "a server has this abstract name"),
        error => failed("bind", error.into()),
    })?;
    rustix::net::listen(&socket, BACKLOG).map_err(|error| failed("listen on", error.into()))?;
    Ok(socket)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn listen_abstract(name: &str) -> Result<OwnedFd, Error> {
    let _ = name;
    Err(Error::new(
        ErrorKind::Unsupported,
        "abstract sockets exist on Linux alone",
    ))
}

/// Removes the file that a crashed server left, and nothing else.
async fn remove_stale(path: &Path) -> Result<(), Error> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(path, "stat", error)),
    };
    if !found.file_type().is_socket() {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("{} exists and is not a socket", path.display()),
        )
        .with_remedy("give the plugin another path, or move that file away"));
    }
    match tokio::time::timeout(PROBE_LIMIT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(Ok(_)) => return Err(in_use(path, "a server listens on it")),
        Ok(Err(error)) => return Err(in_use(path, &format!("it may be alive: {error}"))),
        Err(_) => return Err(in_use(path, "its server does not answer, and is there")),
    }
    tracing::info!(path = %path.display(), "removing the socket file of a server that is gone");
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(path, "remove the stale socket", error))
        }
        _ => Ok(()),
    }
}

pub(super) fn in_use(path: &Path, why: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("socket {} is in use: {why}", path.display()),
    )
    .with_remedy("stop the other server, or give this one another path")
}

pub(super) fn io_error(path: &Path, what: &str, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Io,
        format!("cannot {what} {}: {error}", path.display()),
    )
    .with_source(error)
}
