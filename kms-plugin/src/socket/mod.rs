//! Unix sockets: addresses as an `EncryptionConfiguration` writes them, and a careful listener.

mod address;
mod file;
mod listener;
mod turn;

pub use address::SocketAddress;
pub use listener::{ListenOptions, Listener};
