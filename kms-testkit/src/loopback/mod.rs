//! What the loopback services of this crate have in common.

pub(crate) mod certificates;
pub(crate) mod form;
pub(crate) mod script;
pub(crate) mod wire;

use std::net::SocketAddr;

use kms_core::{Error, ErrorKind};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Listens, and where.
pub(crate) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed =
        |source| Error::new(ErrorKind::Io, format!("listening on {address}")).with_source(source);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves every connection, until it is dropped; the connections end with it.
pub(crate) async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that is gone already, or no more descriptors: the next one may do.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
