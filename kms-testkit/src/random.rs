//! Randomness that can be had again.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use kms_core::{Error, SecureRandom};
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

/// SHA-256 over a label, the seed and a block counter. Each call begins a new block. Clones would
/// repeat each other, so there are none.
pub(crate) struct Seeded {
    seed: u64,
    next_block: AtomicU64,
}

impl Seeded {
    /// A generator for this seed, at its beginning.
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            seed,
            next_block: AtomicU64::new(0),
        }
    }
}

impl SecureRandom for Seeded {
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

impl fmt::Debug for Seeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seeded").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw<const N: usize>(random: &Seeded) -> [u8; N] {
        let mut bytes = [0; N];
        random.fill(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn two_draws_and_two_seeds_differ() {
        let random = Seeded::new(1);
        let first: [u8; 32] = draw(&random);
        assert_ne!(first, draw(&random));
        assert_ne!(first, draw(&Seeded::new(2)));
        assert_eq!(first, draw(&Seeded::new(1)));
    }

    #[test]
    fn a_long_draw_does_not_repeat_a_block() {
        let bytes: [u8; 96] = draw(&Seeded::new(1));
        assert_ne!(bytes[..32], bytes[32..64]);
        assert_ne!(bytes[32..64], bytes[64..]);
    }
}
