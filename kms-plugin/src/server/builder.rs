//! How a plugin is set up.

use core::fmt;
use core::num::NonZeroUsize;
use core::time::Duration;
use std::sync::Arc;

use kms_core::{Clock, Error, ErrorKind, KeyProvider, OsRandom, SecureRandom, TokioClock};

use super::engine::{Engine, Times};
use super::key_board::Patience;
use super::serve::{self, Services};
use super::service::{V1Beta1Service, V2Service};
use super::unwraps::Unwraps;
use crate::health::PluginHealth;
use crate::socket::Listener;

/// The least `degraded_after`, unless it is set.
const LEAST_DEGRADED_AFTER: Duration = Duration::from_secs(60);
/// The least that `failing_after` is longer than `degraded_after`, unless it is set.
const LEAST_TO_FAILING: Duration = Duration::from_secs(120);

/// What `Status` calls the API version. It must not change while an API server runs.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StatusVersion {
    /// `v2`, for Kubernetes 1.29 and later.
    #[default]
    V2,
    /// `v2beta1`, the one text that Kubernetes 1.27 and 1.28 accept, and that later releases
    /// accept too.
    V2Beta1,
}

impl StatusVersion {
    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }
}

/// How unwrapped keys are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CacheOptions {
    /// How many keys.
    pub entries: NonZeroUsize,
    /// For how long, counted from the provider's answer. What was unwrapped with a key that was
    /// switched off since goes sooner, at the next poll, if the provider
    /// [describes keys](kms_core::Capabilities::describes_keys) and answers.
    pub keep_for: Duration,
}

impl CacheOptions {
    /// Keeps up to `entries` keys for `keep_for`.
    #[must_use]
    pub const fn new(entries: NonZeroUsize, keep_for: Duration) -> Self {
        Self { entries, keep_for }
    }
}

/// 256 keys, 10 minutes.
impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            entries: NonZeroUsize::MIN.saturating_add(255),
            keep_for: Duration::from_secs(600),
        }
    }
}

/// Sets a [`Plugin`] up; every option has a default that suits kube-apiserver.
#[derive(Debug)]
pub struct PluginBuilder {
    provider: Arc<dyn KeyProvider>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    times: Times,
    /// Derived from the poll interval unless set.
    degraded_after: Option<Duration>,
    failing_after: Option<Duration>,
    stop_limit: Duration,
    cache: Option<CacheOptions>,
    max_unwraps: usize,
    status_version: StatusVersion,
    v1beta1: bool,
    runtime_name: Arc<str>,
}

impl PluginBuilder {
    fn new(provider: Arc<dyn KeyProvider>) -> Self {
        Self {
            provider,
            clock: Arc::new(TokioClock::new()),
            random: Arc::new(OsRandom),
            times: Times {
                call_limit: Duration::from_secs(3),
                poll_interval: Duration::from_secs(30),
                retry_interval: Duration::from_secs(5),
                patience: Patience {
                    prove_interval: Duration::from_secs(600),
                    degraded_after: LEAST_DEGRADED_AFTER,
                    failing_after: LEAST_DEGRADED_AFTER.saturating_add(LEAST_TO_FAILING),
                },
            },
            degraded_after: None,
            failing_after: None,
            stop_limit: Duration::from_secs(5),
            cache: Some(CacheOptions::default()),
            max_unwraps: 32,
            status_version: StatusVersion::default(),
            v1beta1: false,
            runtime_name: "kms-plugin".into(),
        }
    }

    /// The clock that the provider uses too: deadlines are ticks of this one. A
    /// [`TokioClock`] of the plugin's own unless told.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where proofs and jitter come from; the operating system unless told.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn SecureRandom>) -> Self {
        self.random = random;
        self
    }

    /// The longest that one call may take, whatever its caller allows. 3 s, which is
    /// kube-apiserver's default.
    #[must_use]
    pub const fn call_limit(mut self, limit: Duration) -> Self {
        self.times.call_limit = limit;
        self
    }

    /// How often the provider is asked for its current key; each pause is up to a tenth shorter,
    /// at random. 30 s: a new key is seen within that, and kube-apiserver asks once a minute. A
    /// longer one puts off [`degraded_after`](Self::degraded_after) and
    /// [`failing_after`](Self::failing_after) too, unless they are set.
    #[must_use]
    pub const fn poll_interval(mut self, interval: Duration) -> Self {
        self.times.poll_interval = interval;
        self
    }

    /// How soon it is asked again after a failure. 5 s.
    #[must_use]
    pub const fn retry_interval(mut self, interval: Duration) -> Self {
        self.times.retry_interval = interval;
        self
    }

    /// How old the proof of the current key may be. 10 minutes.
    #[must_use]
    pub const fn prove_interval(mut self, interval: Duration) -> Self {
        self.times.patience.prove_interval = interval;
        self
    }

    /// How long a fault that may pass is not said in `Status`, counted from the last success.
    ///
    /// Unless set, time for one more look at the provider after one that failed: the longest of
    /// 60 s, twice the [`poll_interval`](Self::poll_interval), and the `poll_interval` and four
    /// times the [`call_limit`](Self::call_limit). 60 s with the defaults.
    #[must_use]
    pub const fn degraded_after(mut self, duration: Duration) -> Self {
        self.degraded_after = Some(duration);
        self
    }

    /// When `Status` becomes an error, counted from the last success.
    ///
    /// Unless set, after `degraded_after` by two minutes or one
    /// [`poll_interval`](Self::poll_interval), whichever is longer. 3 minutes with the defaults.
    #[must_use]
    pub const fn failing_after(mut self, duration: Duration) -> Self {
        self.failing_after = Some(duration);
        self
    }

    /// How long calls in flight may take when the plugin stops. 5 s.
    #[must_use]
    pub const fn stop_limit(mut self, limit: Duration) -> Self {
        self.stop_limit = limit;
        self
    }

    /// How unwrapped keys are kept; `None` keeps none.
    #[must_use]
    pub const fn cache(mut self, cache: Option<CacheOptions>) -> Self {
        self.cache = cache;
        self
    }

    /// How many different keys may be unwrapped by the provider at once. 32.
    #[must_use]
    pub const fn max_unwraps(mut self, count: usize) -> Self {
        self.max_unwraps = count;
        self
    }

    /// What `Status` calls the API version.
    #[must_use]
    pub const fn status_version(mut self, version: StatusVersion) -> Self {
        self.status_version = version;
        self
    }

    /// Serves KMS v1 too. It keeps neither key id nor annotations, so the provider must be able to
    /// unwrap without a key id ([`Capabilities`](kms_core::Capabilities)), each proof tries that,
    /// and `Encrypt` of KMS v1 is refused if the wrapped key has annotations.
    #[must_use]
    pub const fn serve_v1beta1(mut self, yes: bool) -> Self {
        self.v1beta1 = yes;
        self
    }

    /// What KMS v1 calls the plugin. `kms-plugin`.
    #[must_use]
    pub fn runtime_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.runtime_name = name.into();
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the provider cannot wrap (kube-apiserver needs `Encrypt` even
    /// of a plugin that it only reads with), or cannot unwrap without a key id and KMS v1 is asked
    /// for; [`ErrorKind::InvalidInput`], naming the option, for a time of zero or times that
    /// contradict each other.
    pub fn build(self) -> Result<Plugin, Error> {
        let capabilities = self.provider.capabilities();
        if !capabilities.wraps {
            return Err(self.lacks("cannot wrap, and KMS v2 needs that even to read"));
        }
        if self.v1beta1 && !capabilities.unwraps_without_key_id {
            return Err(self.lacks("cannot unwrap without a key id, and KMS v1 has none"));
        }
        let times = self.times();
        let patience = times.patience;
        for (option, time) in [
            ("call_limit", times.call_limit),
            ("poll_interval", times.poll_interval),
            ("retry_interval", times.retry_interval),
            ("prove_interval", patience.prove_interval),
        ] {
            if time.is_zero() {
                return Err(bad_option(format!("{option} is zero")));
            }
        }
        if patience.degraded_after <= times.poll_interval {
            return Err(bad_option(
                "degraded_after is not longer than poll_interval",
            ));
        }
        if patience.failing_after < patience.degraded_after {
            return Err(bad_option("failing_after is shorter than degraded_after"));
        }
        let max_unwraps =
            NonZeroUsize::new(self.max_unwraps).ok_or_else(|| bad_option("max_unwraps is zero"))?;

        let unwraps = Unwraps::new(
            Arc::clone(&self.provider),
            Arc::clone(&self.clock),
            times.call_limit,
            max_unwraps,
            self.cache,
        );
        let engine = Arc::new(Engine::new(
            self.provider,
            self.clock,
            self.random,
            times,
            self.v1beta1,
            unwraps,
        ));
        let v1beta1 = self.v1beta1.then(|| V1Beta1Service {
            engine: Arc::clone(&engine),
            runtime_name: self.runtime_name,
        });
        let v2 = V2Service {
            engine: Arc::clone(&engine),
            version: self.status_version,
        };
        Ok(Plugin {
            services: Services::new(v2, v1beta1, times.call_limit.saturating_mul(2)),
            engine,
            retry_interval: times.retry_interval,
            stop_limit: self.stop_limit,
        })
    }

    /// The times, with those that were not set derived from the others.
    fn times(&self) -> Times {
        let mut times = self.times;
        let poll = times.poll_interval;
        let degraded = self.degraded_after.unwrap_or_else(|| {
            let whole_look = poll.saturating_add(times.call_limit.saturating_mul(4));
            LEAST_DEGRADED_AFTER
                .max(poll.saturating_mul(2))
                .max(whole_look)
        });
        times.patience.degraded_after = degraded;
        times.patience.failing_after = self
            .failing_after
            .unwrap_or_else(|| degraded.saturating_add(LEAST_TO_FAILING.max(poll)));
        times
    }

    fn lacks(&self, what: &str) -> Error {
        Error::new(ErrorKind::Unsupported, format!("the provider {what}"))
            .with_provider(self.provider.to_string())
    }
}

fn bad_option(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

/// A KMS plugin: a provider, made to answer kube-apiserver.
///
/// What it answers when is the subject of [the module](crate::server). Clones share their state.
#[derive(Clone)]
pub struct Plugin {
    engine: Arc<Engine>,
    services: Services,
    retry_interval: Duration,
    stop_limit: Duration,
}

impl Plugin {
    /// Starts to set a plugin up.
    #[must_use]
    pub fn builder(provider: Arc<dyn KeyProvider>) -> PluginBuilder {
        PluginBuilder::new(provider)
    }

    /// What the plugin knows of itself, from memory.
    #[must_use]
    pub fn health(&self) -> PluginHealth {
        self.engine.health()
    }

    /// Serves until `shutdown` is ready, then stops gracefully: no new connection or call is
    /// taken, the socket file goes at once so that a successor can start, and the calls in flight
    /// have [`stop_limit`](PluginBuilder::stop_limit) to finish. Connections without a call are not
    /// waited for.
    ///
    /// No client can make it end, and neither can a failing provider: the background task is
    /// started again if the provider panics in it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DeadlineExceeded`] if calls were still in flight when the time was up; they
    /// were cut off, and everything has stopped all the same.
    pub async fn serve(
        &self,
        listener: Listener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let background = serve::Background {
            engine: Arc::clone(&self.engine),
            retry_interval: self.retry_interval,
        };
        serve::run(
            listener,
            &self.services,
            background,
            self.stop_limit,
            shutdown,
        )
        .await
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use kms_core::{
        CallOptions, Capabilities, KeyInfo, SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
    };

    use super::*;

    /// A provider with these capabilities, which is never called.
    #[derive(Debug)]
    struct Claims(Capabilities);

    impl fmt::Display for Claims {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("claims")
        }
    }

    #[async_trait]
    impl KeyProvider for Claims {
        fn capabilities(&self) -> Capabilities {
            self.0
        }

        async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
            Err(Error::crypto())
        }

        async fn wrap(&self, _: &SecretBytes, _: &WrapOptions) -> Result<WrappedKey, Error> {
            Err(Error::crypto())
        }

        async fn unwrap(&self, _: &WrappedKey, _: &UnwrapOptions) -> Result<SecretBytes, Error> {
            Err(Error::crypto())
        }
    }

    fn builder(capabilities: Capabilities) -> PluginBuilder {
        Plugin::builder(Arc::new(Claims(capabilities)))
    }

    fn refusal(builder: PluginBuilder) -> ErrorKind {
        builder.build().unwrap_err().kind()
    }

    #[tokio::test]
    async fn a_provider_must_be_able_to_do_what_is_asked_of_it() {
        let basic = Capabilities::basic();
        assert!(builder(basic).build().is_ok());
        assert_eq!(
            refusal(builder(basic.with_wraps(false))),
            ErrorKind::Unsupported
        );
        assert_eq!(
            refusal(builder(basic).serve_v1beta1(true)),
            ErrorKind::Unsupported
        );
        let v1 = basic.with_unwraps_without_key_id(true);
        assert!(builder(v1).serve_v1beta1(true).build().is_ok());
    }

    #[tokio::test]
    async fn contradictions_are_refused() {
        let seconds = Duration::from_secs;
        let basic = || builder(Capabilities::basic());
        for bad in [
            basic().call_limit(Duration::ZERO),
            basic().poll_interval(Duration::ZERO),
            basic().retry_interval(Duration::ZERO),
            basic().prove_interval(Duration::ZERO),
            basic()
                .poll_interval(seconds(60))
                .degraded_after(seconds(60)),
            basic().degraded_after(seconds(30)),
            basic().failing_after(seconds(59)),
            basic().max_unwraps(0),
        ] {
            assert_eq!(refusal(bad), ErrorKind::InvalidInput);
        }
    }

    #[tokio::test]
    async fn what_is_not_set_follows_the_poll_interval() {
        let seconds = Duration::from_secs;
        let times = |builder: &PluginBuilder| {
            let patience = builder.times().patience;
            (
                patience.degraded_after.as_secs(),
                patience.failing_after.as_secs(),
            )
        };
        let basic = || builder(Capabilities::basic());
        for (builder, expected) in [
            (basic(), (60, 180)),
            (basic().poll_interval(seconds(1)), (60, 180)),
            (basic().poll_interval(seconds(60)), (120, 240)),
            (basic().poll_interval(seconds(600)), (1200, 1800)),
            (basic().call_limit(seconds(60)), (270, 390)),
            (basic().degraded_after(seconds(600)), (600, 720)),
            (basic().failing_after(seconds(61)), (60, 61)),
            (basic().poll_interval(Duration::MAX / 2), {
                let most = Duration::MAX.as_secs();
                (most, most)
            }),
        ] {
            assert_eq!(times(&builder), expected, "{builder:?}");
            assert!(builder.build().is_ok());
        }
    }
}
