//! Changing stored bytes.

use core::fmt;

use async_trait::async_trait;

use crate::object::{ObjectKey, ObjectSource, Revision};
use crate::{CallOptions, Error};

/// A source whose objects can be compared and swapped: a live etcd, a store in memory.
///
/// # Contract
///
/// - **Atomic.** A swap happens wholly or not at all, and only if the object is as expected at that
///   very moment. Of several swaps that expect the same, exactly one happens.
/// - **Ordered.** Every swap that happens gets a revision greater than all before it, on any
///   object; so an object that was deleted and made again never has its old revision back.
/// - **Faithful.** A replacement writes even if the bytes are the same, and changes nothing but
///   the bytes: the object's lease stays.
/// - **Idempotent.** Repeating a swap never does it twice, since the first takes its expectation
///   away. So after an error that leaves open what happened
///   ([`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded),
///   [`Unavailable`](crate::ErrorKind::Unavailable), a dropped future) it is safe to repeat; the
///   answer [`SwapOutcome::Changed`] may then mean that the first attempt came through, which a
///   [`fetch`](ObjectSource::fetch) tells.
/// - A lost race is an outcome, not an error.
#[async_trait]
pub trait ObjectStore: ObjectSource {
    /// Makes one change, if the object is as the change expects.
    ///
    /// # Errors
    ///
    /// Any kind; [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the value is
    /// longer than the store takes.
    async fn compare_and_swap(
        &self,
        key: &ObjectKey,
        swap: &Swap,
        options: &CallOptions,
    ) -> Result<SwapOutcome, Error>;
}

/// A change to one object, together with what it expects to find.
///
/// Not to be extended without thought for every store, hence exhaustive.
#[derive(Clone, Eq, PartialEq)]
pub enum Swap {
    /// Expects no object and makes one, without a lease.
    Create {
        /// What to store.
        value: Vec<u8>,
    },
    /// Expects the object that was written at this revision and gives it another value.
    Replace {
        /// The object's [`revision`](crate::object::StoredObject::revision).
        expected: Revision,
        /// What to store.
        value: Vec<u8>,
    },
    /// Expects the object that was written at this revision and deletes it.
    Delete {
        /// The object's [`revision`](crate::object::StoredObject::revision).
        expected: Revision,
    },
}

impl Swap {
    /// The revision the object must have; `None` if there must be no object.
    #[must_use]
    pub const fn expected(&self) -> Option<Revision> {
        match self {
            Self::Create { .. } => None,
            Self::Replace { expected, .. } | Self::Delete { expected } => Some(*expected),
        }
    }

    /// What is stored afterwards; `None` if nothing is.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Create { value } | Self::Replace { value, .. } => Some(value),
            Self::Delete { .. } => None,
        }
    }
}

/// Shows the length of the value alone: it may be in clear.
impl fmt::Debug for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Create { .. } => "Create",
            Self::Replace { .. } => "Replace",
            Self::Delete { .. } => "Delete",
        };
        f.debug_struct(name)
            .field("expected", &self.expected().map(Revision::get))
            .field("value_len", &self.value().map(<[u8]>::len))
            .finish()
    }
}

/// What became of a swap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "a swap that lost its race changed nothing"]
pub enum SwapOutcome {
    /// It happened.
    Swapped {
        /// The revision of the change.
        revision: Revision,
    },
    /// It did not: the object is not as expected.
    Changed {
        /// The object's revision now; `None` if there is no object.
        current: Option<Revision>,
    },
}

impl SwapOutcome {
    /// The revision of the change, if it happened.
    #[must_use]
    pub const fn swapped(self) -> Option<Revision> {
        match self {
            Self::Swapped { revision } => Some(revision),
            Self::Changed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_byte_of_the_value() {
        let swap = Swap::Replace {
            expected: Revision::new(3),
            value: b"hunter2".to_vec(),
        };
        assert_eq!(
            format!("{swap:?}"),
            "Replace { expected: Some(3), value_len: Some(7) }"
        );
    }
}
