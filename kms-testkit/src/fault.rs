//! A provider that misbehaves to order.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Clock, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, SecretBytes,
    SecureRandom as _, Tick, UnwrapOptions, WrapOptions, WrappedKey,
};

use crate::random::Seeded;

/// One of the calls of [`KeyProvider`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Operation {
    /// [`KeyProvider::current_key`].
    CurrentKey,
    /// [`KeyProvider::wrap`].
    Wrap,
    /// [`KeyProvider::unwrap`].
    Unwrap,
    /// [`KeyProvider::describe_key`].
    DescribeKey,
    /// [`KeyProvider::list_keys`].
    ListKeys,
}

/// What becomes of one call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The wrapped provider answers.
    Pass,
    /// An error of this kind, without asking the wrapped provider.
    Fail(ErrorKind),
    /// This very error, without asking the wrapped provider.
    FailWith(Error),
    /// No answer, ever.
    Hang,
    /// The wrapped provider answers, this much later than it would.
    Delay(Duration),
    /// The wrapped provider answers, and one byte of the answer is wrong: the last of the
    /// ciphertext of `wrap`, the first of the DEK of `unwrap`. Other operations pass.
    FlippedByte,
    /// The wrapped provider answers, under the id of a key that does not exist. `unwrap` and
    /// `list_keys` pass.
    WrongKeyId,
}

/// Wraps a provider and makes it slow, failing, hanging or lying, for each operation apart.
///
/// A call first waits for the latency of its operation, then does what the script says next. When
/// the script is over, the error rate decides: deterministically, from the seed, in the order of
/// calls. Time passes on the clock that is given, so with a [`ManualClock`](crate::ManualClock)
/// nothing takes long.
///
/// ```
/// use std::sync::Arc;
/// use kms_core::{ErrorKind, KeyProvider as _};
/// use kms_testkit::{FaultProvider, ManualClock, Operation, Outcome, StaticProvider};
///
/// let clock = ManualClock::new();
/// let provider = FaultProvider::new(StaticProvider::generate()?, Arc::new(clock.clone()));
/// provider.script(Operation::CurrentKey, [Outcome::Fail(ErrorKind::Throttled), Outcome::Hang]);
///
/// let mut call = || clock.run(provider.current_key(&Default::default()));
/// assert_eq!(call().unwrap().unwrap_err().kind(), ErrorKind::Throttled);
/// assert!(call().is_none(), "it hangs");
/// assert!(call().unwrap().is_ok());
/// assert_eq!(provider.calls(Operation::CurrentKey), 3);
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Debug)]
pub struct FaultProvider<P> {
    inner: P,
    clock: Arc<dyn Clock>,
    random: Seeded,
    plans: Mutex<BTreeMap<Operation, Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    latency: Duration,
    /// In thousandths of all calls.
    error_rate: u16,
    error_kind: Option<ErrorKind>,
    script: VecDeque<Outcome>,
    calls: u64,
    cancelled: u64,
}

impl<P> FaultProvider<P> {
    /// Wraps a provider, without any fault yet. The seed is 0.
    #[must_use]
    pub fn new(inner: P, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            clock,
            random: Seeded::new(0),
            plans: Mutex::default(),
        }
    }

    /// Sets the seed of everything that is decided by rate.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.random = Seeded::new(seed);
        self
    }

    /// The provider that is wrapped.
    #[must_use]
    pub const fn inner(&self) -> &P {
        &self.inner
    }

    /// Lets every call of an operation wait first.
    pub fn set_latency(&self, operation: Operation, latency: Duration) {
        self.plan(operation, |plan| plan.latency = latency);
    }

    /// Lets `per_mille` of 1,000 calls of an operation fail with errors of this kind.
    pub fn set_error_rate(&self, operation: Operation, per_mille: u16, kind: ErrorKind) {
        self.plan(operation, |plan| {
            plan.error_rate = per_mille;
            plan.error_kind = Some(kind);
        });
    }

    /// Says what becomes of the next calls of an operation, after those said before.
    pub fn script(&self, operation: Operation, outcomes: impl IntoIterator<Item = Outcome>) {
        self.plan(operation, |plan| plan.script.extend(outcomes));
    }

    /// How many calls of an operation have been made. A call counts from its first poll.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.plan(operation, |plan| plan.calls)
    }

    /// How many calls of an operation were dropped before they had an answer.
    #[must_use]
    pub fn cancelled(&self, operation: Operation) -> u64 {
        self.plan(operation, |plan| plan.cancelled)
    }

    fn plan<T>(&self, operation: Operation, with: impl FnOnce(&mut Plan) -> T) -> T {
        with(self.lock().entry(operation).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Operation, Plan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: KeyProvider> FaultProvider<P> {
    /// Waits, then decides. An error is the outcome already; what is returned asks the wrapped
    /// provider, and changes its answer perhaps.
    async fn before(&self, operation: Operation) -> Result<Outcome, Error> {
        let (latency, scripted, rate, kind) = self.plan(operation, |plan| {
            plan.calls = plan.calls.saturating_add(1);
            let scripted = plan.script.pop_front();
            (plan.latency, scripted, plan.error_rate, plan.error_kind)
        });
        let outcome = match (scripted, kind) {
            (Some(outcome), _) => outcome,
            (None, Some(kind)) if self.strikes(rate)? => Outcome::Fail(kind),
            (None, _) => Outcome::Pass,
        };
        self.wait(latency).await;
        let error = match outcome {
            Outcome::Fail(kind) => Error::new(kind, "injected fault"),
            Outcome::FailWith(error) => error,
            Outcome::Hang => core::future::pending().await,
            Outcome::Delay(delay) => {
                self.wait(delay).await;
                return Ok(Outcome::Pass);
            }
            other => return Ok(other),
        };
        Err(error.with_provider(self.to_string()))
    }

    /// Whether a call is one of the `rate` in 1,000 that fail.
    fn strikes(&self, rate: u16) -> Result<bool, Error> {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes)?;
        let draw = u64::from_be_bytes(bytes).checked_rem(1000);
        Ok(draw.is_some_and(|draw| draw < u64::from(rate)))
    }

    async fn wait(&self, duration: Duration) {
        if !duration.is_zero() {
            let until: Tick = self.clock.now() + duration;
            self.clock.sleep_until(until).await;
        }
    }

    fn counting_cancellation(&self, operation: Operation) -> Pending<'_, P> {
        Pending {
            provider: self,
            operation,
            answered: false,
        }
    }
}

/// Counts a call as cancelled unless it is told of the answer.
struct Pending<'a, P> {
    provider: &'a FaultProvider<P>,
    operation: Operation,
    answered: bool,
}

impl<P> Drop for Pending<'_, P> {
    fn drop(&mut self) {
        if !self.answered {
            self.provider.plan(self.operation, |plan| {
                plan.cancelled = plan.cancelled.saturating_add(1);
            });
        }
    }
}

impl<P> Pending<'_, P> {
    async fn watch<T>(mut self, call: impl Future<Output = T>) -> T {
        let answer = call.await;
        self.answered = true;
        answer
    }
}

fn no_such_key() -> Result<KeyId, Error> {
    KeyId::new("kms-testkit/no-such-key")
}

fn flip(byte: Option<&mut u8>) {
    if let Some(byte) = byte {
        *byte ^= 1;
    }
}

fn change_wrapped(wrapped: WrappedKey, outcome: &Outcome) -> Result<WrappedKey, Error> {
    let mut ciphertext = wrapped.ciphertext().to_vec();
    let key_id = match outcome {
        Outcome::WrongKeyId => Some(no_such_key()?),
        Outcome::FlippedByte => {
            flip(ciphertext.last_mut());
            wrapped.key_id().cloned()
        }
        _ => return Ok(wrapped),
    };
    let changed = match key_id {
        Some(key_id) => WrappedKey::new(key_id, ciphertext),
        None => WrappedKey::without_key_id(ciphertext),
    };
    wrapped
        .annotations()
        .iter()
        .try_fold(changed?, |changed, (name, value)| {
            changed.with_annotation(name.clone(), value.clone())
        })
}

fn change_dek(dek: SecretBytes, outcome: &Outcome) -> SecretBytes {
    if !matches!(outcome, Outcome::FlippedByte) {
        return dek;
    }
    let mut bytes = dek.expose().to_vec();
    flip(bytes.first_mut());
    SecretBytes::from_vec(bytes)
}

fn change_info(mut info: KeyInfo, outcome: &Outcome) -> Result<KeyInfo, Error> {
    if matches!(outcome, Outcome::WrongKeyId) {
        info.id = no_such_key()?;
    }
    Ok(info)
}

/// The wrapped provider's name.
impl<P: fmt::Display> fmt::Display for FaultProvider<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl<P: KeyProvider> KeyProvider for FaultProvider<P> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        let operation = Operation::CurrentKey;
        let call = async {
            let outcome = self.before(operation).await?;
            change_info(self.inner.current_key(options).await?, &outcome)
        };
        self.counting_cancellation(operation).watch(call).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        let operation = Operation::Wrap;
        let call = async {
            let outcome = self.before(operation).await?;
            change_wrapped(self.inner.wrap(dek, options).await?, &outcome)
        };
        self.counting_cancellation(operation).watch(call).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let operation = Operation::Unwrap;
        let call = async {
            let outcome = self.before(operation).await?;
            Ok(change_dek(
                self.inner.unwrap(wrapped, options).await?,
                &outcome,
            ))
        };
        self.counting_cancellation(operation).watch(call).await
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        let operation = Operation::DescribeKey;
        let call = async {
            let outcome = self.before(operation).await?;
            change_info(self.inner.describe_key(id, options).await?, &outcome)
        };
        self.counting_cancellation(operation).watch(call).await
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        let operation = Operation::ListKeys;
        let call = async {
            self.before(operation).await?;
            self.inner.list_keys(options).await
        };
        self.counting_cancellation(operation).watch(call).await
    }
}
