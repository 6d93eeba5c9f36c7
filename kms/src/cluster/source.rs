//! Where the objects are.

use core::fmt;
use std::path::Path;

use kms_cluster::etcd::{EtcdOptions, EtcdStore};
use kms_cluster::snapshot::Snapshot;
use kms_core::object::ObjectSource;

use crate::Failure;

/// Where a cluster's objects are read from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClusterSource {
    /// A snapshot, or the database of a member that is stopped.
    Snapshot(Snapshot),
    /// A live etcd.
    Etcd(EtcdStore),
}

impl ClusterSource {
    /// Opens a snapshot file and checks its digest. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file.
    pub fn snapshot(path: &Path) -> Result<Self, Failure> {
        Ok(Self::Snapshot(Snapshot::open(path)?))
    }

    /// Connects to a live etcd.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the end points.
    pub async fn etcd(options: EtcdOptions) -> Result<Self, Failure> {
        Ok(Self::Etcd(EtcdStore::connect(options).await?))
    }

    /// The objects, page by page.
    #[must_use]
    pub fn objects(&self) -> &dyn ObjectSource {
        match self {
            Self::Snapshot(snapshot) => snapshot,
            Self::Etcd(store) => store,
        }
    }
}

impl fmt::Display for ClusterSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.objects(), f)
    }
}
