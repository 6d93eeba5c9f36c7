//! Pauses that grow, and that no two machines keep alike.

use core::time::Duration;

use kms_core::SecureRandom;

/// `base`, doubled as many times as something has failed, up to `most`.
pub(crate) fn doubling(base: Duration, most: Duration, failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    base.saturating_mul(factor).min(most)
}

/// A random time from half of the pause to all of it; all of it if there is no randomness.
pub(crate) fn upper_half(random: &dyn SecureRandom, pause: Duration) -> Duration {
    let half = pause.checked_div(2).unwrap_or_default();
    pause.saturating_sub(up_to(random, half))
}

/// A random time up to the bound; none if there is no randomness.
pub(crate) fn up_to(random: &dyn SecureRandom, bound: Duration) -> Duration {
    let mut bytes = [0; 8];
    if random.fill(&mut bytes).is_err() {
        return Duration::ZERO;
    }
    // bound × random ÷ 2^64. Both factors are 64 bits wide, so nothing is lost.
    let nanos = u128::from(u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX));
    let scaled = nanos.saturating_mul(u128::from(u64::from_be_bytes(bytes))) >> 64;
    Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use kms_core::OsRandom;

    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let pauses = [0, 1, 2, 5, 6, 40, u32::MAX]
            .map(|n| doubling(Duration::from_secs(1), Duration::from_secs(60), n).as_secs());
        assert_eq!(pauses, [1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn jitter_stays_in_its_bounds() {
        let pause = Duration::from_secs(10);
        for _ in 0..100 {
            let jittered = upper_half(&OsRandom, pause);
            assert!((pause / 2..=pause).contains(&jittered));
            assert!(up_to(&OsRandom, pause) < pause);
        }
    }
}
