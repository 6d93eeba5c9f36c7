//! Keys, nonces and time out of one seed, so that a fuzzer's finding happens again (feature
//! `deterministic`).
//!
//! # Warning
//!
//! **Nothing that is made from here protects anything.** Whoever knows the seed has every key, and
//! two runs with one seed use the same nonces under the same keys, which for AES-GCM gives the
//! plaintexts away and lets anybody forge.
//!
//! So it cannot get into a release by accident: even with the feature on, this module is there only in
//! builds with debug assertions or with `--cfg fuzzing`, which cargo-fuzz, afl and honggfuzz set. A
//! release build that names it does not compile.
//!
//! ```
//! use kms_core::EncryptionContext;
//! use kms_envelope::Purpose;
//! use kms_testkit::deterministic::Deterministic;
//!
//! let sealed = || {
//!     let world = Deterministic::new(7);
//!     let provider = std::sync::Arc::new(world.static_provider()?);
//!     let envelope = world.envelope().recipient("main", provider).build()?;
//!     let purpose = Purpose::new(EncryptionContext::new());
//!     let call = envelope.seal(&purpose, b"row 7", b"alice@example.com");
//!     Ok::<_, Box<dyn std::error::Error>>(world.clock().run(call).ok_or("it hangs")??)
//! };
//! assert_eq!(sealed()?, sealed()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::{Clock, Error, KeyId, SecureRandom};
use kms_envelope::{Envelope, EnvelopeBuilder};

use crate::random::Seeded;
use crate::{ManualClock, StaticProvider};

/// A clock that stands still, randomness out of a seed, and providers and envelopes that have
/// nothing else.
///
/// The same calls in the same order give the same bytes. From several threads, which call gets
/// which bytes depends on their order.
///
/// **For fuzzing and tests alone**; see the [module documentation](self).
#[derive(Debug)]
pub struct Deterministic {
    clock: ManualClock,
    random: Arc<Seeded>,
}

impl Deterministic {
    /// The world of this seed, at its beginning: 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            clock: ManualClock::new(),
            random: Arc::new(Seeded::new(seed)),
        }
    }

    /// The clock. [`ManualClock::run`] runs a future to its end without a runtime.
    #[must_use]
    pub const fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The clock, for who wants to share it.
    #[must_use]
    pub fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    /// The randomness: SHA-256 over a label, the seed and a counter. All that comes from this world
    /// draws from the same one.
    #[must_use]
    pub fn random(&self) -> Arc<dyn SecureRandom> {
        Arc::clone(&self.random) as Arc<dyn SecureRandom>
    }

    /// A provider in memory with one key, `static-1`, and with a seeded key for each rotation.
    ///
    /// # Errors
    ///
    /// None today.
    pub fn static_provider(&self) -> Result<StaticProvider, Error> {
        let mut key = [0; 32];
        self.random.fill(&mut key)?;
        Ok(StaticProvider::new(KeyId::new("static-1")?, key).with_random(self.random()))
    }

    /// A new keyring file, the same to the byte for the same seed.
    ///
    /// # Errors
    ///
    /// As [`LocalProvider::create`].
    pub fn local_provider(&self, path: impl Into<PathBuf>) -> Result<LocalProvider, Error> {
        let options = LocalOptions::new(self.shared_clock()).with_random(self.random());
        LocalProvider::create(path, options)
    }

    /// An envelope that lacks only its recipients.
    #[must_use]
    pub fn envelope(&self) -> EnvelopeBuilder {
        Envelope::builder(self.shared_clock()).random(self.random())
    }
}
