//! How a provider behaves.

use core::time::Duration;

use kms_core::{Error, ErrorKind};

use super::algorithm::AesMode;
use crate::error::Operation;

/// How often the newest version is asked for.
pub(crate) const DEFAULT_POLL: Duration = Duration::from_secs(300);
/// What clocks may differ by.
const SKEW: Duration = Duration::from_secs(60);

/// Which operations of the service are used. For RSA they give the same bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Operations {
    /// `wrapKey` and `unwrapKey`: the role "Key Vault Crypto Service Encryption User" is enough.
    #[default]
    WrapUnwrap,
    /// `encrypt` and `decrypt`, for keys and access policies that allow only these (R19).
    EncryptDecrypt,
}

impl Operations {
    pub(super) const fn wrap(self) -> Operation {
        match self {
            Self::WrapUnwrap => Operation::WrapKey,
            Self::EncryptDecrypt => Operation::Encrypt,
        }
    }

    pub(super) const fn unwrap(self) -> Operation {
        match self {
            Self::WrapUnwrap => Operation::UnwrapKey,
            Self::EncryptDecrypt => Operation::Decrypt,
        }
    }
}

/// How a [`KeyVaultProvider`](super::KeyVaultProvider) behaves. Every option has a default that
/// suits a cluster.
#[derive(Clone, Copy, Debug)]
pub struct ProviderOptions {
    pub(super) poll_interval: Duration,
    pub(super) retry_interval: Duration,
    pub(super) activation_delay: Option<Duration>,
    pub(super) stale_after: Option<Duration>,
    pub(super) budget: Duration,
    pub(super) max_attempts: u32,
    pub(super) operations: Operations,
    pub(super) aes: AesMode,
    pub(super) wraps_locally: bool,
}

impl Default for ProviderOptions {
    fn default() -> Self {
        Self {
            poll_interval: DEFAULT_POLL,
            retry_interval: Duration::from_secs(30),
            activation_delay: None,
            stale_after: None,
            budget: Duration::from_secs(10),
            max_attempts: 4,
            operations: Operations::default(),
            aes: AesMode::default(),
            wraps_locally: true,
        }
    }
}

impl ProviderOptions {
    /// How often the vault is asked for the newest version. 5 minutes: one call each, made up to a
    /// tenth sooner, at random. (AKS looks every 6 hours, R58.)
    #[must_use]
    pub const fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// The longest pause after a look that failed. 30 s; the first is 5 s.
    #[must_use]
    pub const fn with_retry_interval(mut self, interval: Duration) -> Self {
        self.retry_interval = interval;
        self
    }

    /// How long after its creation a new version becomes active. Two polls and a minute unless
    /// told, so 11 minutes; the same for all replicas. See [`activation`](crate::activation).
    #[must_use]
    pub const fn with_activation_delay(mut self, delay: Duration) -> Self {
        self.activation_delay = Some(delay);
        self
    }

    /// How long the last look at the key counts while the vault cannot be reached. Three polls
    /// unless told: longer, and data could be wrapped under a key that has been deleted meanwhile.
    #[must_use]
    pub const fn with_stale_after(mut self, duration: Duration) -> Self {
        self.stale_after = Some(duration);
        self
    }

    /// The time for a call whose caller gave no deadline, retries included. 10 s. Calls that are
    /// shared by callers with different deadlines have this too.
    #[must_use]
    pub const fn with_budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// The most attempts of one call, the first included. 4.
    #[must_use]
    pub const fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Which operations of the service are used.
    #[must_use]
    pub const fn with_operations(mut self, operations: Operations) -> Self {
        self.operations = operations;
        self
    }

    /// How an AES key wraps.
    #[must_use]
    pub const fn with_aes(mut self, mode: AesMode) -> Self {
        self.aes = mode;
        self
    }

    /// Wraps in the vault even where the public key would do: for an audit log of every wrap.
    #[must_use]
    pub const fn wrapping_remotely(mut self) -> Self {
        self.wraps_locally = false;
        self
    }

    pub(super) fn activation_delay(&self) -> Duration {
        self.activation_delay.unwrap_or_else(|| self.least_delay())
    }

    pub(super) fn stale_after(&self) -> Duration {
        let three_polls = self.poll_interval.saturating_mul(3);
        self.stale_after.unwrap_or(three_polls)
    }

    fn least_delay(&self) -> Duration {
        self.poll_interval.saturating_mul(2).saturating_add(SKEW)
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let fault = if self.poll_interval.is_zero() {
            "the poll interval is zero"
        } else if self.retry_interval.is_zero() {
            "the retry interval is zero"
        } else if self.budget.is_zero() {
            "the budget is zero"
        } else if self.activation_delay() < self.least_delay() {
            "the activation delay is shorter than two poll intervals and a minute, so replicas \
             would not change over together"
        } else if self.stale_after() <= self.poll_interval {
            "the last look at the key would be stale before the next one"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidInput, fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_refused() {
        let seconds = Duration::from_secs;
        let options = ProviderOptions::default();
        assert_eq!(options.activation_delay(), seconds(660));
        assert_eq!(options.stale_after(), seconds(900));
        assert!(options.check().is_ok());
        assert!(options.with_poll_interval(seconds(1)).check().is_ok());
        for bad in [
            options.with_poll_interval(Duration::ZERO),
            options.with_retry_interval(Duration::ZERO),
            options.with_budget(Duration::ZERO),
            options.with_activation_delay(seconds(659)),
            options.with_stale_after(seconds(300)),
        ] {
            assert_eq!(bad.check().unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}
