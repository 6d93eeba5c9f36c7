//! What to examine, and how.

use core::time::Duration;
use std::sync::Arc;

use kms_core::{Clock, OsRandom, SecureRandom};

use crate::credential::{Authority, Identity};
use crate::key_url::KeyUrl;
use crate::provider::{AesMode, DEFAULT_POLL, Operations};
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
    pub(super) poll_interval: Duration,
    pub(super) proof_interval: Duration,
    pub(super) wraps_remotely: bool,
    pub(super) deks: Option<u32>,
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
            poll_interval: DEFAULT_POLL,
            proof_interval: Duration::from_secs(3600),
            wraps_remotely: false,
            deks: None,
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

    /// How often the plugin will ask for the newest version. 5 minutes, as
    /// [`ProviderOptions::with_poll_interval`](crate::provider::ProviderOptions::with_poll_interval).
    #[must_use]
    pub const fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// How often the plugin will prove to itself that it wraps and unwraps. An hour.
    #[must_use]
    pub const fn with_proof_interval(mut self, interval: Duration) -> Self {
        self.proof_interval = interval;
        self
    }

    /// The plugin will wrap in the vault even where the public key would do.
    #[must_use]
    pub const fn wrapping_remotely(mut self) -> Self {
        self.wraps_remotely = true;
        self
    }

    /// How many DEKs all API servers together ask for when they start: those that a census counts
    /// under this key, once for each API server.
    #[must_use]
    pub const fn with_deks(mut self, count: Option<u32>) -> Self {
        self.deks = count;
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
