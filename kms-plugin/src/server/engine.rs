//! What the gRPC services ask: the board, kept true, and the provider behind its limits.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kms_core::{
    CallOptions, Clock, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, KeyState, SecretBytes,
    SecureRandom, Tick, UnwrapOptions, WrapOptions, WrappedKey,
};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, SemaphorePermit, watch};

use super::LIFECYCLE;
use super::key_board::{KeyBoard, News, Patience, StatusAnswer, Verdict};
use super::unwraps::Unwraps;
use crate::deadline::within;
use crate::grpc::text_of;
use crate::health::PluginHealth;
use crate::proto::check_wrapped;

/// How often to start over when the key changes between two calls.
const ROUNDS: usize = 3;
/// How many Encrypt calls may be at the provider at once; kube-apiserver makes one a minute.
const MAX_WRAPS: usize = 16;
/// How many random bytes a proof wraps: what kube-apiserver's seeds are.
const PROOF_LEN: usize = 32;

pub(super) struct Engine {
    provider: Arc<dyn KeyProvider>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    times: Times,
    /// Whether KMS v1 is served, so that a proof must cover it.
    v1beta1: bool,
    board: Mutex<KeyBoard>,
    /// One refresh at a time.
    turn: AsyncMutex<()>,
    /// Whether the provider has been asked at all.
    asked: watch::Sender<bool>,
    /// When the background task last came round, and when it must come round again.
    next_round: Mutex<Option<Tick>>,
    wraps: Semaphore,
    unwraps: Arc<Unwraps>,
}

/// The times that the builder sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) call_limit: Duration,
    pub(super) poll_interval: Duration,
    pub(super) retry_interval: Duration,
    pub(super) patience: Patience,
}

impl Engine {
    pub(super) fn new(
        provider: Arc<dyn KeyProvider>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
        times: Times,
        v1beta1: bool,
        unwraps: Unwraps,
    ) -> Self {
        Self {
            provider,
            clock,
            random,
            times,
            v1beta1,
            board: Mutex::default(),
            turn: AsyncMutex::default(),
            asked: watch::Sender::new(false),
            next_round: Mutex::default(),
            wraps: Semaphore::new(MAX_WRAPS),
            unwraps: Arc::new(unwraps),
        }
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// When a call that may take `timeout` by its caller's wish must be over.
    pub(super) fn deadline(&self, timeout: Option<Duration>) -> Tick {
        let limit = self.times.call_limit;
        self.clock.now() + timeout.map_or(limit, |timeout| timeout.min(limit))
    }

    fn board(&self) -> MutexGuard<'_, KeyBoard> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What Status says; waits for the provider's very first answer, and for no other.
    pub(super) async fn status(&self, deadline: Tick) -> StatusAnswer {
        let mut asked = self.asked.subscribe();
        let first = within(&*self.clock, deadline, "the first look at the key", async {
            let _ = asked.wait_for(|asked| *asked).await;
            Ok(())
        });
        // Without an answer in time the board says so.
        let _ = first.await;
        self.board().status(self.clock.now(), &self.times.patience)
    }

    pub(super) fn health(&self) -> PluginHealth {
        let now = self.clock.now();
        let next = *self
            .next_round
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Not live: the task should have come round long ago, the longest refresh included.
        let grace = self.times.call_limit.saturating_mul(16);
        let live = next.is_none_or(|next| now.since(next) <= grace);
        self.board().health(now, &self.times.patience, live)
    }

    pub(super) async fn encrypt(
        &self,
        plaintext: &SecretBytes,
        deadline: Tick,
        request_id: Option<String>,
    ) -> Result<WrappedKey, Error> {
        self.check_plaintext(plaintext)?;
        within(&*self.clock, deadline, "encrypting", async {
            let _permit = self.permit().await?;
            if self.board().current().is_none() {
                self.refresh().await?;
            }
            for _ in 0..ROUNDS {
                let wrapped = self.wrap(plaintext, deadline, request_id.clone()).await?;
                let id = check_wrapped(&wrapped).map_err(as_our_fault)?;
                if self.is_current(id) {
                    return Ok(wrapped);
                }
                self.refresh().await?;
                if self.is_current(id) {
                    return Ok(wrapped);
                }
            }
            Err(Error::new(
                ErrorKind::Unavailable,
                "the current key changes faster than it can be proven",
            ))
        })
        .await
    }

    /// Wraps for KMS v1, which keeps neither key ids nor annotations. What needs an annotation to
    /// be opened would be lost, and only the provider knows what it needs, so none is dropped.
    pub(super) async fn encrypt_v1beta1(
        &self,
        plaintext: &SecretBytes,
        deadline: Tick,
    ) -> Result<WrappedKey, Error> {
        self.check_plaintext(plaintext)?;
        within(&*self.clock, deadline, "encrypting", async {
            let _permit = self.permit().await?;
            let wrapped = self.wrap(plaintext, deadline, None).await?;
            if wrapped.annotations().is_empty() {
                return Ok(wrapped);
            }
            Err(Error::new(
                ErrorKind::Unsupported,
                "the provider's wrapped keys have annotations, which KMS v1 does not keep; \
                 without them this key might never be opened again",
            )
            .with_provider(self.provider.to_string())
            .with_remedy("write with KMS v2, or use a provider whose wrapped keys have none"))
        })
        .await
    }

    /// The turn of an Encrypt call. Proofs need none, so that a flood does not hold them up.
    async fn permit(&self) -> Result<SemaphorePermit<'_>, Error> {
        let permit = self.wraps.acquire().await;
        permit.map_err(|_closed| Error::new(ErrorKind::Internal, "the plugin has stopped"))
    }

    pub(super) async fn decrypt(
        &self,
        wrapped: WrappedKey,
        deadline: Tick,
        request_id: Option<String>,
    ) -> Result<Arc<SecretBytes>, Error> {
        self.unwraps.unwrap(wrapped, deadline, request_id).await
    }

    fn check_plaintext(&self, plaintext: &SecretBytes) -> Result<(), Error> {
        let limit = self.provider.capabilities().max_plaintext_len;
        match plaintext.len() {
            0 => Err(Error::new(ErrorKind::InvalidInput, "plaintext is empty")),
            length if length > limit => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("plaintext of {length} bytes is over the provider's limit of {limit}"),
            )),
            _ => Ok(()),
        }
    }

    async fn wrap(
        &self,
        plaintext: &SecretBytes,
        deadline: Tick,
        request_id: Option<String>,
    ) -> Result<WrappedKey, Error> {
        let mut call = CallOptions::default().with_deadline(deadline);
        call.request_id = request_id;
        let options = WrapOptions::default().with_call(call);
        self.provider.wrap(plaintext, &options).await
    }

    fn is_current(&self, id: &KeyId) -> bool {
        self.board().current() == Some(id)
    }

    /// Asks the provider for its current key and brings the board up to date. Callers who come
    /// while this goes on wait for it and take its outcome.
    pub(super) async fn refresh(&self) -> Result<(), Error> {
        let seen = self.board().attempts();
        let _turn = self.turn.lock().await;
        {
            let board = self.board();
            if board.attempts() != seen {
                return board.failure().cloned().map_or(Ok(()), Err);
            }
        }
        let outcome = self.look().await;
        let (now, wall) = (self.clock.now(), self.clock.wall_time());
        let recorded = match outcome {
            Ok(Found::Confirmed(id)) => {
                let news = self.board().confirmed(now, wall);
                log_success(&id, &news);
                Ok(())
            }
            Ok(Found::Proven(id)) => {
                let news = self.board().proven(id.clone(), now, wall);
                log_success(&id, &news);
                Ok(())
            }
            Err(error) => {
                if self.board().failed(error.clone()) {
                    tracing::warn!(
                        target: LIFECYCLE,
                        kind = error.kind().as_str(),
                        error = text_of(&error),
                        "the current key could not be confirmed"
                    );
                }
                if !error.is_retryable() {
                    // No permission any more, or no key: then no key of the past either, unless
                    // the provider itself says so.
                    self.unwraps.clear();
                }
                Err(error)
            }
        };
        self.asked.send_replace(true);
        recorded
    }

    async fn look(&self) -> Result<Found, Error> {
        for _ in 0..ROUNDS {
            let info = self.current_key().await?;
            let verdict = self
                .board()
                .judge(&info.id, self.clock.now(), &self.times.patience);
            match verdict {
                Verdict::Confirm => return Ok(Found::Confirmed(info.id)),
                Verdict::Refuse(error) => return Err(error),
                Verdict::Prove => {}
            }
            if self.prove(&info.id).await? {
                return Ok(Found::Proven(info.id));
            }
        }
        Err(Error::new(
            ErrorKind::Protocol,
            "the provider wraps with another key than the one it calls current",
        ))
    }

    async fn current_key(&self) -> Result<KeyInfo, Error> {
        let deadline = self.deadline(None);
        let options = CallOptions::default().with_deadline(deadline);
        let asked = self.provider.current_key(&options);
        let info = within(&*self.clock, deadline, "the provider's current_key", asked).await?;
        let kind = match info.state {
            state if state.can_wrap() => return Ok(info),
            KeyState::NotYetValid => ErrorKind::KeyNotYetValid,
            KeyState::Expired => ErrorKind::KeyExpired,
            KeyState::Destroyed => ErrorKind::KeyDestroyed,
            _ => ErrorKind::KeyDisabled,
        };
        Err(Error::new(kind, format!("the current key is {}", info.state)).with_key_id(info.id))
    }

    /// Wraps fresh random bytes and unwraps them. False if another key than `id` wrapped them: it
    /// has changed just now.
    async fn prove(&self, id: &KeyId) -> Result<bool, Error> {
        let secret = SecretBytes::random(&*self.random, PROOF_LEN)?;
        let deadline = self.deadline(None);
        let wrapped = within(
            &*self.clock,
            deadline,
            "the provider's wrap",
            self.wrap(&secret, deadline, None),
        )
        .await?;
        if check_wrapped(&wrapped).map_err(as_our_fault)? != id {
            return Ok(false);
        }
        self.prove_unwrap(&wrapped, &secret, id).await?;
        // As KMS v1 would give it back. What has annotations is not answered to KMS v1.
        if self.v1beta1 && wrapped.annotations().is_empty() {
            let bare = WrappedKey::without_key_id(wrapped.ciphertext().to_vec())?;
            self.prove_unwrap(&bare, &secret, id)
                .await
                .map_err(as_fault_of_v1beta1)?;
        }
        Ok(true)
    }

    async fn prove_unwrap(
        &self,
        wrapped: &WrappedKey,
        secret: &SecretBytes,
        id: &KeyId,
    ) -> Result<(), Error> {
        let deadline = self.deadline(None);
        let options =
            UnwrapOptions::default().with_call(CallOptions::default().with_deadline(deadline));
        let asked = self.provider.unwrap(wrapped, &options);
        let again = within(&*self.clock, deadline, "the provider's unwrap", asked).await?;
        if again == *secret {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Protocol,
            "the provider unwrapped something else than it had wrapped",
        )
        .with_key_id(id.clone()))
    }

    /// The background task.
    pub(super) async fn keep_up(&self) {
        loop {
            let outcome = self.refresh().await;
            self.unwraps.sweep();
            let pause = match outcome {
                Ok(()) => {
                    let current = self.board().current().cloned();
                    self.unwraps.review(current.as_ref()).await;
                    self.times.poll_interval
                }
                Err(_) => self.times.retry_interval.min(self.times.poll_interval),
            };
            let next = self.clock.now() + self.jittered(pause);
            *self
                .next_round
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(next);
            self.clock.sleep_until(next).await;
        }
    }

    /// Up to a tenth less, so that the plugins of several machines do not ask in step.
    fn jittered(&self, pause: Duration) -> Duration {
        let mut byte = [0];
        // Without randomness there is no jitter; keys are another matter.
        let _ = self.random.fill(&mut byte);
        let [byte] = byte;
        let step = pause.checked_div(2560).unwrap_or_default();
        pause.saturating_sub(step.saturating_mul(u32::from(byte)))
    }
}

enum Found {
    Confirmed(KeyId),
    Proven(KeyId),
}

fn log_success(id: &KeyId, news: &News) {
    if news.first {
        tracing::info!(target: LIFECYCLE, key_id = %id, "ready");
    }
    if let Some(old) = &news.replaced {
        tracing::info!(target: LIFECYCLE, key_id = %id, replaced = %old, "key changed");
    }
    if news.recovered {
        tracing::info!(target: LIFECYCLE, key_id = %id, "recovered after failure");
    }
}

/// The provider claims to unwrap without a key id, and opened this one with it.
fn as_fault_of_v1beta1(error: Error) -> Error {
    if error.is_retryable() {
        return error;
    }
    Error::new(
        ErrorKind::Protocol,
        format!("what the provider wraps does not open without its key id, as KMS v1 gives it back: {error}"),
    )
    .with_remedy("turn KMS v1 off, or use a provider that finds the key by itself")
}

/// An answer of the provider's beyond the limits is our side's fault, not the caller's.
fn as_our_fault(error: Error) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!(
            "the provider's answer does not fit KMS v2: {}",
            error.message()
        ),
    )
    .with_remedy("use an algorithm or key size whose wrapped keys fit, and shorter annotations")
}
