//! Trouble on order: what the next calls run into.

use core::time::Duration;

/// One kind of trouble. It meets a call that has a valid token, whatever else would come of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Answered, after so long on the double's clock.
    Slow(Duration),
    /// 429, with or without a `Retry-After` in whole seconds. The real service sends none.
    Throttled {
        /// What `Retry-After` says.
        retry_after: Option<Duration>,
    },
    /// An error with the service's own JSON body.
    Status(u16),
    /// An error with a body that is no JSON, as a proxy in between sends it.
    ProxyStatus(u16),
    /// The connection ends without an answer.
    Drop,
    /// No answer, ever.
    Hang,
    /// The answer names another key version than the one that was used.
    WrongKid,
    /// The answer ends in the middle of its body.
    Truncated,
}
