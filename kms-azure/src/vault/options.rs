//! How a vault is used.

use core::num::NonZeroU32;
use std::sync::Arc;

use kms_core::{Clock, OsRandom, SecureRandom};

use crate::key_url::Service;

/// Half of what Key Vault allows: other programs use the vault too.
pub(crate) const DEFAULT_UNITS: u32 = 2000;

/// How a [`Vault`](super::Vault) is used.
#[derive(Clone, Debug)]
pub struct VaultOptions {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn SecureRandom>,
    pub(super) verify_challenge: bool,
    pub(super) units: Option<NonZeroU32>,
}

impl VaultOptions {
    /// The usual way, by this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            random: Arc::new(OsRandom),
            verify_challenge: true,
            units: NonZeroU32::new(DEFAULT_UNITS),
        }
    }

    /// Where jitter comes from.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn SecureRandom>) -> Self {
        self.random = random;
        self
    }

    /// How much of a Key Vault's limits this program may use in 10 seconds, in operations of
    /// RSA-2048 keys in software; larger keys and HSMs weigh more ([`KeyKind::units`]). 2,000
    /// unless told, half of what is documented; `None` is no limit. A Managed HSM does not
    /// throttle and is not limited.
    ///
    /// [`KeyKind::units`]: super::KeyKind::units
    #[must_use]
    pub const fn with_units_in_ten_seconds(mut self, units: Option<NonZeroU32>) -> Self {
        self.units = units;
        self
    }

    /// Does not check that the resource in the vault's challenge is the vault's own domain. Only
    /// for a service of one's own that names another: it lets any host that is reached ask for
    /// tokens of any service.
    #[must_use]
    pub const fn without_challenge_check(mut self) -> Self {
        self.verify_challenge = false;
        self
    }

    pub(super) const fn units_for(&self, service: Service) -> Option<NonZeroU32> {
        match service {
            Service::KeyVault => self.units,
            Service::ManagedHsm => None,
        }
    }
}
