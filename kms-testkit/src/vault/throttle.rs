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
    limit_creation: bool,
    window: u128,
    spent: u64,
}

impl Throttle {
    /// `scale` is the part of the documented capacity there is; `None` never throttles.
    pub(super) fn new(scale: Option<f64>, limit_creation: bool) -> Self {
        let capacity = scale.map(|scale| (CAPACITY as f64 * scale) as u64);
        Self {
            capacity,
            limit_creation,
            window: 0,
            spent: 0,
        }
    }

    /// Whether the call is served. `key` is its kind, and whether hardware holds it.
    pub(super) fn admit(
        &mut self,
        operation: Operation,
        key: Option<(KeyKind, bool)>,
        now: Tick,
    ) -> bool {
        let Some(capacity) = self.capacity else {
            return true;
        };
        if makes_key(operation) && !self.limit_creation {
            return true;
        }
        let cost = cost(operation, key);
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
const fn cost(operation: Operation, key: Option<(KeyKind, bool)>) -> u64 {
    let Some((kind, hsm)) = key else {
        return 1;
    };
    if makes_key(operation) {
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

const fn makes_key(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Create | Operation::Import | Operation::Rotate
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Option<(KeyKind, bool)> = Some((KeyKind::Rsa(2048), false));

    /// The vendor's table: so many calls of a kind fit into one window, and no more.
    #[test]
    fn each_row_of_the_table_of_limits() {
        let row = |operation, kind, hsm| {
            let mut throttle = Throttle::new(Some(1.0), true);
            (0..5_000)
                .take_while(|_| throttle.admit(operation, Some((kind, hsm)), Tick::ORIGIN))
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
        let get = |throttle: &mut Throttle, now| throttle.admit(Operation::Get, CHEAP, now);
        let mut throttle = Throttle::new(Some(0.0005), true);
        let end = Tick::ORIGIN + Duration::from_millis(9_999);
        assert!(get(&mut throttle, Tick::ORIGIN) && get(&mut throttle, Tick::ORIGIN));
        assert!(!get(&mut throttle, end));
        assert!(get(&mut throttle, Tick::ORIGIN + WINDOW));
    }

    #[test]
    fn what_is_not_limited() {
        let mut throttle = Throttle::new(Some(0.0), false);
        assert!(throttle.admit(Operation::Create, CHEAP, Tick::ORIGIN));
        assert!(!throttle.admit(Operation::Get, CHEAP, Tick::ORIGIN));
        let mut throttle = Throttle::new(None, true);
        assert!(throttle.admit(Operation::Get, CHEAP, Tick::ORIGIN));
    }
}
