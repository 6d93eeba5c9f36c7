//! Tries again.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    CallOptions, Capabilities, Clock, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, SecretBytes,
    SecureRandom, Tick, UnwrapOptions, WrapOptions, WrappedKey, within,
};

/// How often and how long [`Retry`] tries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The most attempts, the first one included. 0 counts as 1.
    pub max_attempts: u32,
    /// The longest wait after the first attempt. It doubles with each further one.
    pub base_delay: Duration,
    /// What the longest wait does not grow beyond.
    pub max_delay: Duration,
    /// The time for a call whose caller gave no deadline: all attempts and waits.
    pub budget: Duration,
}

/// 4 attempts, waits of up to 50 ms that double up to 1 s, a budget of 10 s.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            base_delay: Duration::from_millis(50),
            max_delay: Duration::from_secs(1),
            budget: Duration::from_secs(10),
        }
    }
}

impl RetryPolicy {
    /// Sets the most attempts, the first one included.
    #[must_use]
    pub const fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets the longest wait after the first attempt.
    #[must_use]
    pub const fn with_base_delay(mut self, delay: Duration) -> Self {
        self.base_delay = delay;
        self
    }

    /// Sets what the longest wait does not grow beyond.
    #[must_use]
    pub const fn with_max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets the time for a call whose caller gave no deadline: all attempts and waits.
    #[must_use]
    pub const fn with_budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// The longest wait after this many attempts.
    fn longest_wait(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.base_delay.saturating_mul(factor).min(self.max_delay)
    }
}

/// Tries calls again that failed with a retryable kind ([`Error::is_retryable`]).
///
/// Every operation of a provider may be repeated: `unwrap` and the describing ones change nothing,
/// and a `wrap` whose answer was lost leaves nothing behind but that lost answer.
///
/// Between attempts it waits for a random time between nothing and a bound that doubles (full
/// jitter), and longer by [`Error::retry_after`] if the service has said so. It never waits to the
/// deadline or past it: where the wait would lead there, the error is returned at once, while the
/// caller can still use the time.
///
/// A call ends by its caller's deadline, or without one after [`RetryPolicy::budget`]. The inner
/// provider is told that end. An attempt that still runs then is dropped, and the call fails with
/// [`ErrorKind::DeadlineExceeded`], its source the error of the attempt before if there was one. So
/// an attempt that hangs takes all the time there is; a [`Timeout`](super::Timeout) inside leaves
/// some for another.
#[derive(Debug)]
pub struct Retry<P> {
    inner: P,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    policy: RetryPolicy,
}

impl<P: KeyProvider> Retry<P> {
    /// Retries by [`RetryPolicy::default`].
    #[must_use]
    pub fn new(inner: P, clock: Arc<dyn Clock>, random: Arc<dyn SecureRandom>) -> Self {
        Self {
            inner,
            clock,
            random,
            policy: RetryPolicy::default(),
        }
    }

    /// Retries by this policy.
    #[must_use]
    pub const fn with_policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// When a call ends that begins now.
    fn end(&self, call: &CallOptions) -> Tick {
        call.deadline
            .unwrap_or_else(|| self.clock.now() + self.policy.budget)
    }

    async fn retrying<T, F>(
        &self,
        end: Tick,
        operation: &'static str,
        mut attempt: impl FnMut() -> F + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        let mut attempts = 0_u32;
        let mut last = None;
        loop {
            let error = match within(&*self.clock, end, attempt()).await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => error,
                None => return Err(self.late(operation, last)),
            };
            attempts = attempts.saturating_add(1);
            if !error.is_retryable() || attempts >= self.policy.max_attempts {
                return Err(error);
            }
            let wait = self.jittered(self.policy.longest_wait(attempts));
            let wait = wait.saturating_add(error.retry_after().unwrap_or_default());
            let next = self.clock.now() + wait;
            if next >= end {
                return Err(error);
            }
            last = Some(error);
            self.clock.sleep_until(next).await;
        }
    }

    fn late(&self, operation: &str, last: Option<Error>) -> Error {
        let error = Error::new(
            ErrorKind::DeadlineExceeded,
            format!("{operation} has no answer by the end of its time"),
        )
        .with_provider(self.to_string());
        last.into_iter().fold(error, Error::with_source)
    }

    /// A random part of the bound; all of it if there is no randomness, which is not the fault
    /// that the caller should hear of.
    fn jittered(&self, bound: Duration) -> Duration {
        let mut bytes = [0; 8];
        if self.random.fill(&mut bytes).is_err() {
            return bound;
        }
        // bound × random ÷ 2^64. Both factors are 64 bits wide, so nothing is lost.
        let nanos = u128::from(u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX));
        let scaled = nanos.saturating_mul(u128::from(u64::from_be_bytes(bytes))) >> 64;
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
    }
}

/// The inner provider's name.
impl<P: fmt::Display> fmt::Display for Retry<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl<P: KeyProvider> KeyProvider for Retry<P> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        let end = self.end(options);
        let options = options.clone().with_deadline(end);
        self.retrying(end, "current_key", || self.inner.current_key(&options))
            .await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        let end = self.end(&options.call);
        let mut options = options.clone();
        options.call.deadline = Some(end);
        self.retrying(end, "wrap", || self.inner.wrap(dek, &options))
            .await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let end = self.end(&options.call);
        let mut options = options.clone();
        options.call.deadline = Some(end);
        self.retrying(end, "unwrap", || self.inner.unwrap(wrapped, &options))
            .await
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        let end = self.end(options);
        let options = options.clone().with_deadline(end);
        self.retrying(end, "describe_key", || {
            self.inner.describe_key(id, &options)
        })
        .await
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        let end = self.end(options);
        let options = options.clone().with_deadline(end);
        self.retrying(end, "list_keys", || self.inner.list_keys(&options))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_its_limit() {
        let policy = RetryPolicy::default();
        let waits = [1, 2, 3, 5, 6, 40, u32::MAX].map(|n| policy.longest_wait(n).as_millis());
        assert_eq!(waits, [50, 100, 200, 800, 1000, 1000, 1000]);
    }
}
