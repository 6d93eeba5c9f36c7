//! Providers that wrap providers.
//!
//! Each layer is a [`KeyProvider`](crate::KeyProvider) around another one. It keeps the other's
//! name (`Display`) and tells the truth about its [`Capabilities`](crate::Capabilities). `Arc` and
//! `Box` of a provider are providers too, so a layer fits around an `Arc<dyn KeyProvider>`.
//!
//! # In which order
//!
//! From the caller inwards, with the reason for each place:
//!
//! 1. `Metered` (feature `metrics`): sees what callers see, cancelled calls and time-outs included.
//! 2. [`Timeout`]: ends each call by its caller's own deadline.
//! 3. [`Coalesce`]: below the caller's deadline, because a shared call must not end with the first
//!    caller's time; above the retries, so that a thousand callers share one series of attempts
//!    and do not multiply it.
//! 4. [`Retry`]: its budget ends the shared call, which has no deadline of its own, even in the
//!    middle of an attempt. Without that end, or another `Timeout` here, a call that hangs would be
//!    joined by new callers for ever.
//! 5. [`Timeout`]: once more, for a single attempt, so that one that hangs leaves time for another.
//! 6. The provider; or a [`Union`] of several, in which each member has layers 4 and 5 of its own,
//!    so that an old vault that is down cannot use up the time of the others.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use kms_core::layer::{Coalesce, Retry, RetryPolicy, Timeout, Union};
//! use kms_core::{Clock, KeyProvider, SecureRandom};
//!
//! struct Environment {
//!     clock: Arc<dyn Clock>,
//!     random: Arc<dyn SecureRandom>,
//! }
//!
//! impl Environment {
//!     /// Layers 4 and 5: up to four attempts of a second each, in five seconds.
//!     fn reliable<P: KeyProvider>(&self, provider: P) -> Retry<Timeout<P>> {
//!         let attempt = Timeout::new(provider, self.clock.clone(), Duration::from_secs(1));
//!         Retry::new(attempt, self.clock.clone(), self.random.clone())
//!             .with_policy(RetryPolicy::default().with_budget(Duration::from_secs(5)))
//!     }
//!
//!     /// Layers 2 and 3, around a vault and the one it replaces.
//!     fn stack(&self, new: impl KeyProvider, old: impl KeyProvider) -> impl KeyProvider {
//!         let both = Union::new(self.reliable(new)).with_older(self.reliable(old));
//!         Timeout::new(Coalesce::new(both), self.clock.clone(), Duration::from_secs(10))
//!     }
//! }
//! ```

mod coalesce;
mod flight;
#[cfg(feature = "metrics")]
mod metered;
mod pointer;
mod retry;
/// The lock of [`flight`]: a test puts a model checker's in its place.
mod sync {
    pub(super) use std::sync::{Mutex, MutexGuard};
}
mod timeout;
mod union;

pub use coalesce::Coalesce;
pub use flight::{Flight, Flights};
#[cfg(feature = "metrics")]
pub use metered::Metered;
pub use retry::{Retry, RetryPolicy};
pub use timeout::Timeout;
pub use union::Union;
