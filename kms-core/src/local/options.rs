//! How a local keyring is created and opened.

use core::time::Duration;
use std::sync::Arc;

use super::PassphraseCost;
use crate::disk::{Disk, RealDisk};
use crate::{Clock, OsRandom, SecretBytes, SecureRandom};

/// How to create or open a keyring.
#[derive(Debug)]
#[non_exhaustive]
pub struct LocalOptions {
    /// Where wall time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where keys and nonces come from. Default: the operating system.
    pub random: Arc<dyn SecureRandom>,
    /// The passphrase, 1 to 1,024 bytes. Default: none; then whoever reads the file has the keys.
    pub passphrase: Option<SecretBytes>,
    /// What a passphrase costs to try, for a keyring that is created. One that is opened says so
    /// itself.
    pub passphrase_cost: PassphraseCost,
    /// The shortest grace period that a destruction may be scheduled with. Default: 7 days.
    pub min_grace: Duration,
    /// Whether the file may give rights to others than its owner, and its directory the right to
    /// write. Default: no; then a file wider than 0600 is refused, and a directory that group or
    /// others can write to and that is not sticky (on Unix, the only place where it is looked at).
    pub wide_permissions: bool,
    pub(super) disk: Arc<dyn Disk>,
}

impl LocalOptions {
    /// The default of [`LocalOptions::min_grace`]: 7 days.
    pub const DEFAULT_MIN_GRACE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// The defaults, with this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            random: Arc::new(OsRandom),
            passphrase: None,
            passphrase_cost: PassphraseCost::default(),
            min_grace: Self::DEFAULT_MIN_GRACE,
            wide_permissions: false,
            disk: Arc::new(RealDisk),
        }
    }

    /// Sets where keys and nonces come from.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn SecureRandom>) -> Self {
        self.random = random;
        self
    }

    /// Sets the passphrase.
    #[must_use]
    pub fn with_passphrase(mut self, passphrase: SecretBytes) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// Sets what a passphrase costs to try.
    #[must_use]
    pub const fn with_passphrase_cost(mut self, cost: PassphraseCost) -> Self {
        self.passphrase_cost = cost;
        self
    }

    /// Sets the shortest grace period.
    #[must_use]
    pub const fn with_min_grace(mut self, grace: Duration) -> Self {
        self.min_grace = grace;
        self
    }

    /// Sets whether file and directory may give rights to others than their owner, as those of a
    /// mounted Kubernetes Secret do.
    #[must_use]
    pub const fn with_wide_permissions(mut self, yes: bool) -> Self {
        self.wide_permissions = yes;
        self
    }
}
