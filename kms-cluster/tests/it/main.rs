//! Behaviour of the stores, seen from outside.

mod api;
mod broken;
mod embedded;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "api")]
mod kube;
mod migrate;
mod model;
mod retire;
mod rewriting;
mod snapshot;
mod state;
