//! One small piece of state that several programs share, changed by compare-and-swap.
//!
//! A rotation that takes days must not forget where it was: not when its process is killed, not
//! when the power fails, and not when two of them run at once. [`StateStore`] keeps its bytes and
//! gives them back with a version; a change names the version that it was made from, and does
//! nothing if that is no longer the newest.
//!
//! | store | where | for |
//! |---|---|---|
//! | [`FileStateStore`] (feature `local`) | a file | one machine |
//! | [`ObjectStateStore`] | a key of an [`ObjectStore`](crate::object::ObjectStore) | several machines, in the etcd that they share; tests, in memory |
//!
//! The conformance suite is in `kms-testkit`.
//!
//! ```
//! use kms_core::state::{StateStore, StateSwap};
//! use kms_core::{CallOptions, Error};
//!
//! /// Counts up, however many do so at once.
//! async fn count_up(store: &dyn StateStore, call: &CallOptions) -> Result<u64, Error> {
//!     loop {
//!         let now = store.load(call).await?;
//!         let count = match &now {
//!             Some(state) => u64::from_be_bytes(*state.bytes.first_chunk().unwrap_or(&[0; 8])),
//!             None => 0,
//!         };
//!         let next = count.saturating_add(1);
//!         let expected = now.map(|state| state.version);
//!         match store.swap(expected, &next.to_be_bytes(), call).await? {
//!             StateSwap::Swapped { .. } => return Ok(next),
//!             StateSwap::Changed { .. } => {} // Another was first: look again.
//!         }
//!     }
//! }
//! ```

#[cfg(feature = "local")]
mod file;
mod object;
mod store;

#[cfg(feature = "local")]
pub use file::{FileStateOptions, FileStateStore};
pub use object::ObjectStateStore;
pub use store::{MAX_STATE_LEN, StateStore, StateSwap, StateVersion, VersionedState};
