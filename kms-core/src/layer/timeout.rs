//! Ends calls in time.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    CallOptions, Capabilities, Clock, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, SecretBytes,
    Tick, UnwrapOptions, WrapOptions, WrappedKey, within,
};

/// Ends every call by its caller's deadline or after a limit of its own, whichever comes first.
///
/// What runs late fails with [`ErrorKind::DeadlineExceeded`], and the inner call is dropped. A call
/// whose deadline has passed already is not made at all. The inner provider is told the earlier
/// deadline, so that it can plan its own retries.
#[derive(Debug)]
pub struct Timeout<P> {
    inner: P,
    clock: Arc<dyn Clock>,
    limit: Duration,
}

impl<P: KeyProvider> Timeout<P> {
    /// Allows each call `limit` at most.
    #[must_use]
    pub const fn new(inner: P, clock: Arc<dyn Clock>, limit: Duration) -> Self {
        Self {
            inner,
            clock,
            limit,
        }
    }

    fn deadline(&self, call: &CallOptions) -> Tick {
        let own = self.clock.now() + self.limit;
        call.deadline.map_or(own, |given| given.min(own))
    }

    async fn bounded<T>(
        &self,
        deadline: Tick,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let late = || {
            Error::new(
                ErrorKind::DeadlineExceeded,
                format!("{operation} has no answer by its deadline"),
            )
            .with_provider(self.to_string())
        };
        if self.clock.now() >= deadline {
            return Err(late());
        }
        let answer = within(&*self.clock, deadline, call).await;
        answer.unwrap_or_else(|| Err(late()))
    }
}

/// The inner provider's name.
impl<P: fmt::Display> fmt::Display for Timeout<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl<P: KeyProvider> KeyProvider for Timeout<P> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        let deadline = self.deadline(options);
        let options = options.clone().with_deadline(deadline);
        let call = self.inner.current_key(&options);
        self.bounded(deadline, "current_key", call).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        let deadline = self.deadline(&options.call);
        let mut options = options.clone();
        options.call.deadline = Some(deadline);
        let call = self.inner.wrap(dek, &options);
        self.bounded(deadline, "wrap", call).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let deadline = self.deadline(&options.call);
        let mut options = options.clone();
        options.call.deadline = Some(deadline);
        let call = self.inner.unwrap(wrapped, &options);
        self.bounded(deadline, "unwrap", call).await
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        let deadline = self.deadline(options);
        let options = options.clone().with_deadline(deadline);
        let call = self.inner.describe_key(id, &options);
        self.bounded(deadline, "describe_key", call).await
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        let deadline = self.deadline(options);
        let options = options.clone().with_deadline(deadline);
        let call = self.inner.list_keys(&options);
        self.bounded(deadline, "list_keys", call).await
    }
}
