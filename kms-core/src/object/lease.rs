//! Claims that end with their holder.

use core::time::Duration;

use async_trait::async_trait;

use crate::object::{LeaseId, ObjectKey, ObjectStore, SwapOutcome};
use crate::{CallOptions, Error};

/// A lease as a store granted it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GrantedLease {
    /// Which one.
    pub id: LeaseId,
    /// How long it lives from now on, unless it is kept alive. A store may give more than was
    /// asked.
    pub time_to_live: Duration,
}

impl GrantedLease {
    /// A lease that lives this long.
    #[must_use]
    pub const fn new(id: LeaseId, time_to_live: Duration) -> Self {
        Self { id, time_to_live }
    }
}

/// A store with leases, for those who share work: a claim is an object that hangs on its
/// claimant's lease, and is gone when the claimant is.
///
/// # Contract
///
/// - An object that was made with a lease exists no longer than the lease does. A lease that was
///   kept alive does not run out before its time.
/// - That a lease is gone is known only from an answer that says so. Who got no answer counts from
///   the last success.
#[async_trait]
pub trait LeaseStore: ObjectStore {
    /// Takes a lease. `time_to_live` counts in whole seconds, at least one.
    ///
    /// # Errors
    ///
    /// Any kind. After an error a lease may have been granted; it runs out by itself.
    async fn grant_lease(
        &self,
        time_to_live: Duration,
        options: &CallOptions,
    ) -> Result<GrantedLease, Error>;

    /// Lets a lease live as long as when it was granted, from now on; how long that is. `None` if
    /// the lease is gone, and with it all that hung on it.
    ///
    /// # Errors
    ///
    /// Any kind. What counts then is the time since the last success.
    async fn keep_lease_alive(
        &self,
        lease: LeaseId,
        options: &CallOptions,
    ) -> Result<Option<Duration>, Error>;

    /// Gives a lease back; all objects that hang on it are deleted. Does nothing if it is gone.
    ///
    /// # Errors
    ///
    /// Any kind.
    async fn revoke_lease(&self, lease: LeaseId, options: &CallOptions) -> Result<(), Error>;

    /// Makes an object that hangs on a lease, if there is none of this key.
    ///
    /// # Errors
    ///
    /// As [`compare_and_swap`](ObjectStore::compare_and_swap); in particular
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the lease is gone.
    async fn create_with_lease(
        &self,
        key: &ObjectKey,
        value: Vec<u8>,
        lease: LeaseId,
        options: &CallOptions,
    ) -> Result<SwapOutcome, Error>;
}
