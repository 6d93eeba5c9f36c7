//! The documented limits of a vault: weighted, summed, per window of ten seconds.

use core::time::Duration;

use kms_core::Tick;

use super::material::KeyKind;
use super::operation::Operation;

const WINDOW: Duration = Duration::from_secs(10);
/// The window's capacity, in calls of the cheapest kind: RSA-2048 in software, but not creating.
const CAPACITY: u64 = 4_000;

/// Counts what one vault was asked for in this window. Calls that are refused do not count.
#[derive(Debug)]
pub(super) struct Throttle {
    capacity: Option<u64>,
    window: u128,
    spent: u64,
}

impl Throttle {
    /// `scale` is the part of the documented capacity there is; `None` never throttles.
    pub(super) fn new(scale: Option<f64>) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a float as an integer saturates, and a small integer as a float is exact"
        )]
        let capacity = scale.map(|scale| (CAPACITY as f64 * scale) as u64);
        Self {
            capacity,
            window: 0,
            spent: 0,
        }
    }

    /// Whether the call is served.
    pub(super) fn admit(&mut self, cost: u64, now: Tick) -> bool {
        let Some(capacity) = self.capacity else {
            return true;
        };
        let window = now
            .since(Tick::ORIGIN)
            .as_millis()
            .checked_div(WINDOW.as_millis())
            .unwrap_or_default();
        if window != self.window {
            self.window = window;
            self.spent = 0;
        }
        let spent = self.spent.saturating_add(cost);
        if spent > capacity {
            return false;
        }
        self.spent = spent;
        true
    }
}

/// What a call weighs, from the table of service limits: the capacity over the limit of its row.
pub(super) const fn cost(operation: Operation, key: Option<(KeyKind, bool)>) -> u64 {
    let Some((kind, hsm)) = key else {
        return 1;
    };
    if matches!(
        operation,
        Operation::Create | Operation::Import | Operation::Rotate
    ) {
        return if hsm { 400 } else { 200 };
    }
    match (kind, hsm) {
        (KeyKind::Rsa(4096), true) => 16,
        (KeyKind::Rsa(4096), false) | (KeyKind::Rsa(3072), true) => 8,
        (KeyKind::Rsa(3072), false) => 4,
        (_, true) => 2,
        (_, false) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts of the vendor's table: so many calls of a kind fit into one window, and no more.
    #[test]
    fn each_row_of_the_table_of_limits() {
        let row = |operation, kind, hsm| {
            let mut throttle = Throttle::new(Some(1.0));
            let cost = cost(operation, Some((kind, hsm)));
            (0..5_000)
                .take_while(|_| throttle.admit(cost, Tick::ORIGIN))
                .count()
        };
        for (bits, other) in [
            (2048, [4_000, 2_000]),
            (3072, [1_000, 500]),
            (4096, [500, 250]),
        ] {
            let kind = KeyKind::Rsa(bits);
            assert_eq!(row(Operation::UnwrapKey, kind, false), other[0]);
            assert_eq!(row(Operation::UnwrapKey, kind, true), other[1]);
            assert_eq!(row(Operation::Create, kind, false), 20);
            assert_eq!(row(Operation::Create, kind, true), 10);
        }
    }

    #[test]
    fn a_new_window_is_empty_and_a_refused_call_costs_nothing() {
        let mut throttle = Throttle::new(Some(0.001));
        assert!(throttle.admit(4, Tick::ORIGIN));
        assert!(!throttle.admit(1, Tick::ORIGIN + Duration::from_millis(9_999)));
        assert!(throttle.admit(4, Tick::ORIGIN + WINDOW));
        let mut throttle = Throttle::new(None);
        assert!(throttle.admit(u64::MAX, Tick::ORIGIN) && throttle.admit(1, Tick::ORIGIN));
    }
}
