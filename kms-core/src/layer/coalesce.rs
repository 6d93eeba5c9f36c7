//! Turns a stampede into one call.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::flight::Flights;
use crate::{
    CallOptions, Capabilities, EncryptionContext, Error, KeyId, KeyInfo, KeyProvider, SecretBytes,
    UnwrapOptions, WrapOptions, WrappedKey,
};

/// Lets callers who unwrap the same key under the same context at the same time share one call;
/// likewise those who ask for the current key.
///
/// - **Cancellation:** whoever waits drives the shared call. If the caller who began it is dropped,
///   the others carry on with it; when the last one is dropped, so is the call.
/// - **Errors** reach those who wait, and are not remembered: the next caller tries again.
/// - **Deadlines:** the shared call has none, since it belongs to callers with different ones. Put
///   a [`Timeout`](super::Timeout) outside, which ends the wait of each caller by itself, and a
///   bound inside ([`Retry`](super::Retry) with its budget, or another `Timeout`): as long as
///   callers keep coming, nothing else ends a call that hangs. The request id is that of the
///   caller who began it.
/// - **Memory:** it keeps what is in flight and nothing else. It is no cache.
/// - **Secrets:** each caller has a copy of its own; the shared one is zeroized when the last
///   waiter has its answer or is dropped.
/// - **Age:** an answer may be as old as the shared call. A caller who must see a change made just
///   now, such as a rotation, asks a second time.
///
/// Calls of `wrap` are never shared, as each must give another ciphertext.
#[derive(Debug)]
pub struct Coalesce<P> {
    inner: Arc<P>,
    unwraps: Flights<Question, Arc<SecretBytes>>,
    current_keys: Flights<(), KeyInfo>,
}

/// Everything the answer depends on. Bounded by [`WrappedKey`] and [`EncryptionContext`].
#[derive(Eq, Hash, PartialEq)]
struct Question {
    wrapped: WrappedKey,
    context: EncryptionContext,
}

impl<P: KeyProvider> Coalesce<P> {
    /// Shares the calls to this provider.
    #[must_use]
    pub fn new(inner: P) -> Self {
        Self {
            inner: Arc::new(inner),
            unwraps: Flights::new(),
            current_keys: Flights::new(),
        }
    }

    /// How many shared calls are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.unwraps.len().saturating_add(self.current_keys.len())
    }
}

/// What a shared call is told: no deadline, and the id of who began it.
fn shared_options(options: &CallOptions) -> CallOptions {
    let mut shared = options.clone();
    shared.deadline = None;
    shared
}

/// The inner provider's name.
impl<P: fmt::Display> fmt::Display for Coalesce<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl<P: KeyProvider> KeyProvider for Coalesce<P> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        let flight = self.current_keys.join((), |_| {
            let inner = Arc::clone(&self.inner);
            let options = shared_options(options);
            async move { inner.current_key(&options).await }
        });
        flight.await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.inner.wrap(dek, options).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let question = Question {
            wrapped: wrapped.clone(),
            context: options.context.clone(),
        };
        let flight = self.unwraps.join(question, |question| {
            let inner = Arc::clone(&self.inner);
            let options = UnwrapOptions {
                call: shared_options(&options.call),
                context: question.context.clone(),
            };
            async move {
                inner
                    .unwrap(&question.wrapped, &options)
                    .await
                    .map(Arc::new)
            }
        });
        let dek = flight.await?;
        Ok(Arc::try_unwrap(dek)
            .unwrap_or_else(|shared| SecretBytes::copy_from_slice(shared.expose())))
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.inner.describe_key(id, options).await
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        self.inner.list_keys(options).await
    }
}
