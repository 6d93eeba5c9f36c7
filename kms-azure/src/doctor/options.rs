//! What to examine, and how.

use core::time::Duration;
use std::sync::Arc;

use kms_core::{Clock, OsRandom, SecureRandom};

use crate::credential::{Authority, Identity};
use crate::key_url::KeyUrl;
use crate::provider::{AesMode, Operations};
use crate::transport::TransportOptions;

/// Who asks the vault.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Caller {
    /// An identity.
    Identity(Identity),
    /// A system-assigned managed identity, which cannot be used: the report says why (R8).
    SystemAssigned,
}

/// What to examine, and how. Only the key and the caller have to be given.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    pub(super) key: KeyUrl,
    pub(super) caller: Caller,
    pub(super) authority: Option<Authority>,
    pub(super) transport: TransportOptions,
    pub(super) operations: Operations,
    pub(super) aes: AesMode,
    pub(super) expiry_warning: Duration,
    pub(super) verify_challenge: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn SecureRandom>,
}

impl DoctorOptions {
    /// Examines this key for this caller.
    #[must_use]
    pub fn new(key: KeyUrl, caller: Caller, clock: Arc<dyn Clock>) -> Self {
        Self {
            key,
            caller,
            authority: None,
            transport: TransportOptions::default(),
            operations: Operations::default(),
            aes: AesMode::default(),
            expiry_warning: Duration::from_secs(30 * 24 * 3600),
            verify_challenge: true,
            clock,
            random: Arc::new(OsRandom),
        }
    }

    /// Who hands out the tokens, if not the token service of the vault's cloud.
    #[must_use]
    pub fn with_authority(mut self, authority: Authority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// How vault and token service are reached.
    #[must_use]
    pub fn with_transport(mut self, options: TransportOptions) -> Self {
        self.transport = options;
        self
    }

    /// Which operations the plugin will use.
    #[must_use]
    pub const fn with_operations(mut self, operations: Operations) -> Self {
        self.operations = operations;
        self
    }

    /// How the plugin will use an AES key.
    #[must_use]
    pub const fn with_aes(mut self, mode: AesMode) -> Self {
        self.aes = mode;
        self
    }

    /// How long before its end a key is warned of. 30 days.
    #[must_use]
    pub const fn with_expiry_warning(mut self, ahead: Duration) -> Self {
        self.expiry_warning = ahead;
        self
    }

    /// As [`VaultOptions::without_challenge_check`](crate::vault::VaultOptions::without_challenge_check).
    #[must_use]
    pub const fn without_challenge_check(mut self) -> Self {
        self.verify_challenge = false;
        self
    }

    /// Where the 32 bytes come from that are wrapped.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn SecureRandom>) -> Self {
        self.random = random;
        self
    }

    pub(super) fn authority(&self) -> Authority {
        let of_cloud = || Authority::of(self.key.host().cloud());
        self.authority.clone().unwrap_or_else(of_cloud)
    }
}
