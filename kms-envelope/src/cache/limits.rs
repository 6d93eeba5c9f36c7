//! How much one DEK may encrypt, and where the numbers come from.

use core::time::Duration;

/// How much, and how long, one DEK may encrypt. Whichever is reached first ends it.
///
/// The limits are taken from before use, so none is ever exceeded, by any number of threads.
/// Before one is reached a new DEK is made while the old one goes on: when an eighth of the
/// messages or bytes is left, or [`refresh_before`](Self::refresh_before) of the age.
///
/// The defaults, 2^24 messages, 64 GiB and 10 minutes, are far below what breaks AES-GCM (see the
/// constants), so that they also hold for a format that uses the DEK itself for each message.
/// One that derives a key for each message could allow more, but a new DEK costs one
/// wrap, and a young one limits what a leak exposes.
///
/// ```
/// use std::time::Duration;
/// use kms_envelope::cache::DekLimits;
///
/// let limits = DekLimits::default()
///     .with_max_messages(1 << 20)
///     .with_max_age(Duration::from_secs(60));
/// assert!(limits.max_messages < DekLimits::GCM_RANDOM_NONCE_MESSAGES);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DekLimits {
    /// The most messages. Zero is one.
    pub max_messages: u64,
    /// The most bytes of plaintext, and so the longest message.
    pub max_bytes: u64,
    /// The first clock: how long after it was made a DEK may encrypt. Also bounds how long a
    /// rotation or a revocation of the KEK goes unnoticed. Below [`DekLimits::LEAST_AGE`] it is
    /// that, so that a DEK does not end before those who waited for it could use it.
    pub max_age: Duration,
    /// How long before `max_age` is over a new DEK is made while the old one goes on.
    pub refresh_before: Duration,
    /// How long nothing more is tried after making a new DEK ahead of time was begun or failed.
    pub retry_every: Duration,
    /// The most purposes in each partition that have a live DEK. The least recently used goes
    /// first. At least one.
    pub purposes: usize,
    /// The most partitions, as
    /// [`UnwrapCacheOptions::partitions`](super::UnwrapCacheOptions::partitions).
    pub partitions: usize,
    /// When making a DEK is given up.
    pub call_limit: Duration,
}

impl DekLimits {
    /// The most messages under one AES-GCM key whose nonces are random 96-bit values: 2^32, over
    /// all who use the key. NIST SP 800-38D, section 8.3 (probability of a repeated nonce at most
    /// 2^-32).
    pub const GCM_RANDOM_NONCE_MESSAGES: u64 = 1 << 32;

    /// The most bytes of plaintext in one AES-GCM call: 2^39 - 256 bits. NIST SP 800-38D, section
    /// 5.2.1.1.
    pub const GCM_MESSAGE_BYTES: u64 = (1 << 36) - 32;

    /// The most bytes under one AES-GCM key that leave an attacker's advantage against
    /// confidentiality at 2^-50: about 2^39.5 blocks of 16 bytes, rounded down to a power of two.
    /// From the bound for AES-GCM in draft-irtf-cfrg-aead-limits, `q <= (p^(1/2) * 2^(129/2) - 1) /
    /// (L + 1)`, with `q` messages of `L` blocks and `p` = 2^-50.
    pub const GCM_BYTES: u64 = 1 << 43;

    /// The shortest age limit.
    pub const LEAST_AGE: Duration = Duration::from_secs(1);

    /// Sets the most messages.
    #[must_use]
    pub const fn with_max_messages(mut self, messages: u64) -> Self {
        self.max_messages = messages;
        self
    }

    /// Sets the most bytes.
    #[must_use]
    pub const fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how long a DEK may encrypt.
    #[must_use]
    pub const fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets how long before its end a DEK is replaced.
    #[must_use]
    pub const fn with_refresh_before(mut self, duration: Duration) -> Self {
        self.refresh_before = duration;
        self
    }

    /// Sets the pause between two attempts to replace a DEK ahead of time.
    #[must_use]
    pub const fn with_retry_every(mut self, duration: Duration) -> Self {
        self.retry_every = duration;
        self
    }

    /// Sets the most purposes in each partition.
    #[must_use]
    pub const fn with_purposes(mut self, purposes: usize) -> Self {
        self.purposes = purposes;
        self
    }

    /// Sets the most partitions.
    #[must_use]
    pub const fn with_partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets when making a DEK is given up.
    #[must_use]
    pub const fn with_call_limit(mut self, limit: Duration) -> Self {
        self.call_limit = limit;
        self
    }
}

impl Default for DekLimits {
    fn default() -> Self {
        Self {
            max_messages: 1 << 24,
            max_bytes: 1 << 36,
            max_age: Duration::from_secs(600),
            refresh_before: Duration::from_secs(60),
            retry_every: Duration::from_secs(1),
            purposes: 256,
            partitions: 64,
            call_limit: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_far_below_what_the_standards_allow() {
        let limits = DekLimits::default();
        assert!(limits.max_messages <= DekLimits::GCM_RANDOM_NONCE_MESSAGES / 256);
        assert!(limits.max_bytes <= DekLimits::GCM_BYTES / 128);
        assert!(limits.refresh_before < limits.max_age);
    }

    #[test]
    fn the_constants_are_what_their_sources_say() {
        // Table of the draft's formula at p = 2^-50 and L = 64 blocks (1 KiB): q <= 2^33.5.
        let blocks = (-50.0_f64 / 2.0 + 129.0 / 2.0).exp2();
        assert!((blocks.log2() - 39.5).abs() < 1e-9);
        assert!(DekLimits::GCM_BYTES as f64 <= blocks * 16.0);
        assert_eq!(DekLimits::GCM_MESSAGE_BYTES * 8, (1 << 39) - 256);
    }
}
