//! Trouble on order: what the next requests run into.

use core::time::Duration;

/// One kind of trouble. It meets a request that has logged in, whatever else would come of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// 429, with or without a `Retry-After` in whole seconds.
    Throttled {
        /// What `Retry-After` says.
        retry_after: Option<Duration>,
    },
    /// An error with a `Status` as its body.
    Status(u16),
    /// An error with a body that is no JSON, as a proxy in between sends it.
    ProxyStatus(u16),
    /// 401, as after a token was revoked.
    Unauthorized,
    /// The connection ends before anything was done.
    Drop,
    /// The request is carried out, and the connection ends before the answer.
    LostAnswer,
    /// No answer, ever.
    Hang,
    /// The answer ends in the middle of its body.
    Truncated,
    /// The answer holds whole objects, whatever was asked for.
    WholeObjects,
    /// Somebody else changes the object before the request does.
    Overtaken,
}
