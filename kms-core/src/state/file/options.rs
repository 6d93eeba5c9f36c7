//! How a state file is used.

use core::time::Duration;
use std::sync::Arc;

use crate::disk::{Disk, RealDisk};
use crate::{Clock, OsRandom, SecureRandom};

/// How to use a state file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileStateOptions {
    /// What waiting for another writer is measured by.
    pub clock: Arc<dyn Clock>,
    /// Where the first version of a new file comes from. Default: the operating system.
    pub random: Arc<dyn SecureRandom>,
    /// How long to wait for another writer, at most. Default: 30 s.
    pub patience: Duration,
    /// Whether the file may give rights to others than its owner, and its directory the right to
    /// write. Default: no; then a file wider than 0600 is refused, and a directory that everybody
    /// can write to and that is not sticky (on Unix, the only place where it is looked at).
    pub wide_permissions: bool,
    pub(super) disk: Arc<dyn Disk>,
}

impl FileStateOptions {
    /// The default of [`FileStateOptions::patience`]: 30 s. A swap takes milliseconds.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

    /// The defaults, with this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            random: Arc::new(OsRandom),
            patience: Self::DEFAULT_PATIENCE,
            wide_permissions: false,
            disk: Arc::new(RealDisk),
        }
    }

    /// Sets where the first version of a new file comes from.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn SecureRandom>) -> Self {
        self.random = random;
        self
    }

    /// Sets how long to wait for another writer, at most.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets whether file and directory may give rights to others than their owner.
    #[must_use]
    pub const fn with_wide_permissions(mut self, yes: bool) -> Self {
        self.wide_permissions = yes;
        self
    }
}
