//! Where a cluster keeps its objects: implementations of the traits of [`kms_core::object`].
//!
//! - `api` (feature `api`): a Kubernetes API server, which rewrites objects without showing them.
//! - [`embedded`]: in memory, for tests, for the quickstart, and for state that need not survive.
//! - `etcd` (feature `etcd`): a live etcd.
//! - [`snapshot`]: a snapshot file of etcd, or the database of a member that is stopped.
//!
//! Nothing here decrypts: values are bytes.

#[cfg(feature = "api")]
pub mod api;
pub mod embedded;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(feature = "snapshot")]
pub mod snapshot;
