//! A bound socket, and who may connect to it.

use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;

use kms_core::{Error, ErrorKind};
use tokio::net::{UnixListener, UnixStream};

use super::SocketAddress;
use super::file::{self, SocketFile};

/// How to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Mode of the socket file; connecting needs the write bit. 0600 unless told.
    pub mode: u32,
    /// Owner of the socket file; needs the right to change owners.
    pub owner_uid: Option<u32>,
    /// Group of the socket file.
    pub owner_gid: Option<u32>,
    /// Users who may connect to an abstract socket, besides root and the plugin's own.
    pub peer_uids: Vec<u32>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            mode: 0o600,
            owner_uid: None,
            owner_gid: None,
            peer_uids: Vec::new(),
        }
    }
}

impl ListenOptions {
    /// Sets the mode of the socket file, such as `0o660` for a group.
    #[must_use]
    pub const fn with_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the owner of the socket file.
    #[must_use]
    pub const fn with_owner_uid(mut self, uid: u32) -> Self {
        self.owner_uid = Some(uid);
        self
    }

    /// Sets the group of the socket file.
    #[must_use]
    pub const fn with_owner_gid(mut self, gid: u32) -> Self {
        self.owner_gid = Some(gid);
        self
    }

    /// Lets one more user connect to an abstract socket.
    #[must_use]
    pub fn with_peer_uid(mut self, uid: u32) -> Self {
        self.peer_uids.push(uid);
        self
    }
}

/// A listening Unix socket.
///
/// - A **socket file** has mode 0600 from the first moment in which anyone can connect. A file
///   that a crashed server left is removed, if it is a socket and nothing listens on it; any other
///   file is left alone and is an error. When the listener is dropped its file goes too, unless
///   another server has put its own there. The directory must exist; who may write to it may
///   replace the socket, so it should belong to the plugin's user or to root, and one that
///   everybody may write to, without the sticky bit, is refused. Servers that start at once
///   take turns by a lock on the file `PATH.lock` (mode 0600), which stays.
/// - An **abstract socket** has no file and so no mode: everyone in the network namespace may
///   connect. Each connection's user is asked of the kernel (`SO_PEERCRED`), and only root, the
///   plugin's own user and [`ListenOptions::peer_uids`] are let in. The kernel names users as the
///   plugin's user namespace sees them.
#[derive(Debug)]
pub struct Listener {
    /// Dropped first: while the socket is open nobody takes its file for a stale one, and the
    /// file's inode number is not used again.
    _file: Option<SocketFile>,
    inner: UnixListener,
    address: SocketAddress,
    /// The only users who may connect; no check if `None`, the file's mode does it.
    peers: Option<Vec<u32>>,
}

impl Listener {
    /// Binds and listens. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] if a server listens there already or the path is another kind of
    /// file; [`ErrorKind::InvalidInput`] for a mode over 0777; [`ErrorKind::PermissionDenied`] for
    /// a directory in which others may replace the socket, or a lock file that others could hold;
    /// [`ErrorKind::Unsupported`] for an abstract socket on a system without; [`ErrorKind::Io`] for
    /// everything that the operating system refuses.
    pub async fn bind(address: &SocketAddress, options: &ListenOptions) -> Result<Self, Error> {
        if options.mode > 0o777 {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("socket mode {:o} is over 777", options.mode),
            ));
        }
        let (socket, peers, socket_file) = match (address.path(), address.abstract_name()) {
            (Some(path), _) => {
                let (socket, file) = file::listen(path, options).await?;
                (socket, None, Some(file))
            }
            (None, name) => {
                let socket = file::listen_abstract(name.unwrap_or_default())?;
                let mut peers = vec![0, rustix::process::geteuid().as_raw()];
                peers.extend_from_slice(&options.peer_uids);
                (socket, Some(peers), None)
            }
        };
        let inner = UnixListener::from_std(StdUnixListener::from(socket)).map_err(|error| {
            Error::new(
                ErrorKind::Io,
                format!("cannot listen on {address}: {error}"),
            )
            .with_source(error)
        })?;
        Ok(Self {
            _file: socket_file,
            inner,
            address: address.clone(),
            peers,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> &SocketAddress {
        &self.address
    }

    /// The next connection from a user who may connect; others are closed and logged.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.inner.accept().await?;
            let Some(peers) = &self.peers else {
                return Ok(stream);
            };
            match stream.peer_cred() {
                Ok(peer) if peers.contains(&peer.uid()) => return Ok(stream),
                Ok(peer) => tracing::warn!(
                    address = %self.address,
                    uid = peer.uid(),
                    pid = peer.pid(),
                    "connection refused: this user may not use the abstract socket"
                ),
                Err(error) => tracing::warn!(
                    address = %self.address,
                    %error,
                    "connection refused: the kernel does not say whose it is"
                ),
            }
        }
    }
}
