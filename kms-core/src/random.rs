//! Randomness, injected.

use core::fmt;

use crate::{Error, ErrorKind};

/// A source of cryptographically secure random bytes.
///
/// Injected wherever keys and nonces are made, so that a test or a fuzzer can be deterministic.
pub trait SecureRandom: fmt::Debug + Send + Sync + 'static {
    /// Fills `bytes`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if there is no randomness to be had; `bytes` must not be used then.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error>;
}

/// The operating system's generator (`getrandom(2)` on Linux).
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl SecureRandom for OsRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(bytes).map_err(|source| {
            Error::new(
                ErrorKind::Internal,
                "the operating system gave no randomness",
            )
            .with_source(source)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        OsRandom.fill(&mut first).unwrap();
        OsRandom.fill(&mut second).unwrap();
        assert_ne!(first, second);
    }
}
