//! The plugin over real Unix sockets.

mod abstract_socket;
#[cfg(feature = "arbitrary")]
mod arbitrary;
mod conformance;
mod failures;
mod foreign;
mod lifecycle;
mod limits;
mod logs;
mod socket_file;
mod support;
mod unwrapping;
mod v1beta1;
mod wire;
