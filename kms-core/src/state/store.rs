//! The trait, and what it speaks.

use core::fmt;

use async_trait::async_trait;

use crate::{CallOptions, Error, ErrorKind};

/// The longest state that a store takes, in bytes: 1 MiB. Every store takes that much; an etcd
/// with default settings takes no more than half as much again.
pub const MAX_STATE_LEN: usize = 1024 * 1024;

/// Keeps one piece of state, a byte string, and changes it by compare-and-swap.
///
/// `Display` names the store in errors and logs and must not show credentials; `Debug` must not
/// show the state. The conformance suite in `kms-testkit` checks what follows, as far as that can
/// be done without cutting the power.
///
/// # Contract
///
/// - **Atomic.** A swap happens wholly or not at all, and only if the state is at the expected
///   version at that very moment. Of several swaps that expect the same, exactly one happens,
///   whichever processes or machines they come from.
/// - **Ordered.** Each swap that happens gives the state a version greater than all before it. A
///   version never comes back with other bytes.
/// - **Durable before it answers.** What [`swap`](StateStore::swap) has confirmed survives a crash
///   and a power failure. So does what [`load`](StateStore::load) has returned: nobody acts on a
///   state that may yet be undone.
/// - **Fresh.** A load sees every swap that was confirmed before it began.
/// - **Faithful.** The bytes come back as they were given. The same bytes again are a change like
///   any other. An empty state is a state; [`None`] means that there never was one.
/// - **Never silently empty.** What cannot be read, is torn or is not ours, is an error
///   ([`ErrorKind::Corrupt`]) and stays as it is; it is neither taken for [`None`] nor written over.
/// - **A lost answer.** After an error of which the caller cannot tell whether the swap happened
///   ([`Io`](ErrorKind::Io), [`Unavailable`](ErrorKind::Unavailable),
///   [`DeadlineExceeded`](ErrorKind::DeadlineExceeded), a dropped future), it happened wholly, did
///   not happen, or will happen later if it still can. Repeating it is safe, as it never happens
///   twice; but the answer [`Changed`](StateSwap::Changed) may then mean that the first attempt
///   came through. Load and go on from what is there. Whoever must know whether it was their own
///   swap puts something into the bytes that nobody else would write.
/// - **Bounded.** A state over [`MAX_STATE_LEN`] is refused with [`ErrorKind::InvalidInput`].
/// - A lost race is an outcome, not an error.
#[async_trait]
pub trait StateStore: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Reads the state, or `None` if there never was one.
    ///
    /// # Errors
    ///
    /// Any kind; [`ErrorKind::Corrupt`] if what is there is not a state.
    async fn load(&self, options: &CallOptions) -> Result<Option<VersionedState>, Error>;

    /// Puts `bytes` in the place of the state if that is at version `expected`; with `None`, if
    /// there is none.
    ///
    /// # Errors
    ///
    /// Any kind; see the contract above for which of them leave open what happened.
    async fn swap(
        &self,
        expected: Option<StateVersion>,
        bytes: &[u8],
        options: &CallOptions,
    ) -> Result<StateSwap, Error>;
}

/// Which of its states a store is at. Means nothing to another store.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StateVersion(u64);

impl StateVersion {
    /// The version of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A state as it was loaded.
///
/// `Debug` shows the length of the bytes alone.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct VersionedState {
    /// What a swap that builds on this state expects.
    pub version: StateVersion,
    /// The state.
    pub bytes: Vec<u8>,
}

impl VersionedState {
    /// A state at a version.
    #[must_use]
    pub const fn new(version: StateVersion, bytes: Vec<u8>) -> Self {
        Self { version, bytes }
    }
}

impl fmt::Debug for VersionedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionedState")
            .field("version", &self.version.get())
            .field("len", &self.bytes.len())
            .finish()
    }
}

/// What became of a swap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "a swap that lost its race changed nothing"]
pub enum StateSwap {
    /// It happened.
    Swapped {
        /// The version of the new state.
        version: StateVersion,
    },
    /// It did not: the state is not as expected.
    Changed {
        /// The version it is at; `None` if there is no state.
        current: Option<StateVersion>,
    },
}

impl StateSwap {
    /// The version of the new state, if the swap happened.
    #[must_use]
    pub const fn swapped(self) -> Option<StateVersion> {
        match self {
            Self::Swapped { version } => Some(version),
            Self::Changed { .. } => None,
        }
    }
}

/// Refuses a state that is too long to be stored.
pub(super) fn check_len(bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() <= MAX_STATE_LEN {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        "the state is over 1048576 bytes",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_byte_of_the_state() {
        let state = VersionedState::new(StateVersion::new(3), b"hunter2".to_vec());
        assert_eq!(
            format!("{state:?}"),
            "VersionedState { version: 3, len: 7 }"
        );
    }

    #[test]
    fn the_message_names_the_bound() {
        assert!(check_len(&vec![0; MAX_STATE_LEN]).is_ok());
        let error = check_len(&vec![0; MAX_STATE_LEN + 1]).unwrap_err();
        assert!(error.message().contains(&MAX_STATE_LEN.to_string()));
    }
}
