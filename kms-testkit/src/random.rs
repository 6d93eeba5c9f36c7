//! Randomness that can be had again.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use kms_core::{Error, SecureRandom};
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

/// The same bytes for the same seed, every time. **For tests and fuzzing alone:** whoever knows
/// the seed knows every key and nonce that is made from it, and a seed used twice repeats nonces.
///
/// SHA-256 over a label, the seed and a block counter. Each call begins a new block. Clones would
/// repeat each other, so there are none; share it behind an `Arc`. From several threads, which
/// call gets which bytes depends on their order.
///
/// ```
/// use kms_core::SecureRandom as _;
/// use kms_testkit::SeededRandom;
///
/// let (mut one, mut two) = ([0; 40], [0; 40]);
/// SeededRandom::new(7).fill(&mut one)?;
/// SeededRandom::new(7).fill(&mut two)?;
/// assert_eq!(one, two);
/// # Ok::<(), kms_core::Error>(())
/// ```
pub struct SeededRandom {
    seed: u64,
    next_block: AtomicU64,
}

impl SeededRandom {
    /// A generator for this seed, at its beginning.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            next_block: AtomicU64::new(0),
        }
    }
}

impl SecureRandom for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        for chunk in bytes.chunks_mut(SHA256_OUTPUT_LEN) {
            let block = self.next_block.fetch_add(1, Ordering::Relaxed);
            let mut hash = Context::new(&SHA256);
            hash.update(b"kms-testkit seeded random v1");
            hash.update(&self.seed.to_be_bytes());
            hash.update(&block.to_be_bytes());
            for (byte, random) in chunk.iter_mut().zip(hash.finish().as_ref()) {
                *byte = *random;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SeededRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeededRandom").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw<const N: usize>(random: &SeededRandom) -> [u8; N] {
        let mut bytes = [0; N];
        random.fill(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn two_draws_and_two_seeds_differ() {
        let random = SeededRandom::new(1);
        let first: [u8; 32] = draw(&random);
        assert_ne!(first, draw(&random));
        assert_ne!(first, draw(&SeededRandom::new(2)));
        assert_eq!(first, draw(&SeededRandom::new(1)));
    }

    #[test]
    fn a_long_draw_does_not_repeat_a_block() {
        let bytes: [u8; 96] = draw(&SeededRandom::new(1));
        assert_ne!(bytes[..32], bytes[32..64]);
        assert_ne!(bytes[32..64], bytes[64..]);
    }
}
