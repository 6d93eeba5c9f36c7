//! Counts and times calls.

use core::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use metrics::{SharedString, Unit};

use crate::{
    CallOptions, Capabilities, Clock, Error, KeyId, KeyInfo, KeyProvider, SecretBytes, Tick,
    UnwrapOptions, WrapOptions, WrappedKey,
};

/// Reports calls to the `metrics` facade.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `kms_provider_calls_total` | counter | `provider`, `operation`, `outcome` |
/// | `kms_provider_call_duration_seconds` | histogram | `provider`, `operation`, `outcome` |
/// | `kms_provider_key_expiry_timestamp_seconds` | gauge | `provider` |
///
/// `operation` is the name of the method. `outcome` is `ok`, the name of an
/// [`ErrorKind`](crate::ErrorKind), or `cancelled` for a call that was dropped before it had an
/// answer. `provider` is given at construction. No label comes from a caller, so their number is
/// bounded. Durations are by the injected clock. The gauge is when the current key ends, in seconds
/// since 1970, by the last answer of `current_key`; `+Inf` if it does not end.
///
/// Help texts and units are described once, at construction: install the recorder before.
#[derive(Debug)]
pub struct Metered<P> {
    inner: P,
    clock: Arc<dyn Clock>,
    provider: SharedString,
}

impl<P> Metered<P> {
    /// The counter of calls.
    pub const CALLS: &'static str = "kms_provider_calls_total";
    /// The histogram of durations, in seconds.
    pub const DURATION: &'static str = "kms_provider_call_duration_seconds";
    /// The gauge of the current key's end, in seconds since 1970.
    pub const KEY_EXPIRY: &'static str = "kms_provider_key_expiry_timestamp_seconds";

    /// Reports calls to this provider under a label of its own, such as `vault-1`.
    #[must_use]
    pub fn new(inner: P, clock: Arc<dyn Clock>, provider: impl Into<Arc<str>>) -> Self {
        metrics::describe_counter!(
            Self::CALLS,
            Unit::Count,
            "Calls to a key provider, by operation and outcome."
        );
        metrics::describe_histogram!(
            Self::DURATION,
            Unit::Seconds,
            "How long calls to a key provider took, by operation and outcome."
        );
        metrics::describe_gauge!(
            Self::KEY_EXPIRY,
            Unit::Seconds,
            "When the current key ends, in seconds since 1970; +Inf if it does not."
        );
        Self {
            inner,
            clock,
            provider: SharedString::from(provider.into()),
        }
    }

    fn note_expiry(&self, key: &KeyInfo) {
        let end = key.expires.map_or(f64::INFINITY, |end| {
            let since = end.duration_since(UNIX_EPOCH);
            since.unwrap_or_default().as_secs_f64()
        });
        metrics::gauge!(Self::KEY_EXPIRY, "provider" => self.provider.clone()).set(end);
    }

    async fn observed<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let mut observation = Observation {
            metered: self,
            operation,
            start: self.clock.now(),
            outcome: "cancelled",
        };
        let answer = call.await;
        observation.outcome = match &answer {
            Ok(_) => "ok",
            Err(error) => error.kind().as_str(),
        };
        answer
    }
}

/// Reports when dropped, so that a call that is cancelled is reported too.
struct Observation<'a, P> {
    metered: &'a Metered<P>,
    operation: &'static str,
    start: Tick,
    outcome: &'static str,
}

impl<P> Drop for Observation<'_, P> {
    fn drop(&mut self) {
        let labels = [
            ("provider", self.metered.provider.clone()),
            ("operation", SharedString::const_str(self.operation)),
            ("outcome", SharedString::const_str(self.outcome)),
        ];
        let duration = self.metered.clock.now().since(self.start);
        metrics::counter!(Metered::<P>::CALLS, &labels).increment(1);
        metrics::histogram!(Metered::<P>::DURATION, &labels).record(duration);
    }
}

/// The inner provider's name.
impl<P: fmt::Display> fmt::Display for Metered<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl<P: KeyProvider> KeyProvider for Metered<P> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        let key = self
            .observed("current_key", self.inner.current_key(options))
            .await?;
        self.note_expiry(&key);
        Ok(key)
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.observed("wrap", self.inner.wrap(dek, options)).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.observed("unwrap", self.inner.unwrap(wrapped, options))
            .await
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.observed("describe_key", self.inner.describe_key(id, options))
            .await
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        self.observed("list_keys", self.inner.list_keys(options))
            .await
    }
}
