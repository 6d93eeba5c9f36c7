//! How much a DEK may still encrypt.

use super::sync::{AtomicU64, Ordering};

/// What is left of a DEK's limits. It is taken from before use, and never goes below zero: together
/// the takers get no more than the limit, whatever the order and however large the numbers.
///
/// The two counters are apart, so a taker for whom the bytes do not suffice has used up a message
/// all the same. That errs on the safe side, and such a DEK is about to be replaced anyway.
#[derive(Debug)]
pub(super) struct Budget {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// What is left, or what was left before a message was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Left {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Budget {
    pub(super) fn new(messages: u64, bytes: u64) -> Self {
        Self {
            messages: AtomicU64::new(messages),
            bytes: AtomicU64::new(bytes),
        }
    }

    /// Takes one message of this many bytes, or nothing if that is more than is left.
    pub(super) fn take(&self, bytes: u64) -> Option<Left> {
        Some(Left {
            messages: take_from(&self.messages, 1)?,
            bytes: take_from(&self.bytes, bytes)?,
        })
    }

    /// Whether a message of this many bytes fits, at this moment.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let left = self.left();
        left.messages >= 1 && left.bytes >= bytes
    }

    /// What is left at this moment. Nothing else is read on the strength of these counters, so they
    /// need no ordering.
    pub(super) fn left(&self) -> Left {
        Left {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

fn take_from(counter: &AtomicU64, amount: u64) -> Option<u64> {
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(amount)
        })
        .ok()
}
