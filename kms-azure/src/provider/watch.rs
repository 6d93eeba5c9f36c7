//! Looks at the key in its vault, now and then and on demand.

use core::pin::pin;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::select;
use kms_core::{CallOptions, Clock, Error, ErrorKind, KeyInfo, SecureRandom, Tick, within};
use tokio::sync::{Mutex as AsyncMutex, Notify};

use super::board::{ActiveKey, Board, Wanted};
use super::options::ProviderOptions;
use crate::error::{Fault, Operation, VaultError};
use crate::jitter;
use crate::key_url::{KeyUrl, KeyVersion};
use crate::span::traced;
use crate::vault::{KeyBundle, Vault, VersionFacts};

/// The first pause after a look that failed.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The most calls of one look; a rotation makes two or three.
const MAX_STEPS: usize = 40;

/// One key and what is known of it.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) vault: Vault,
    pub(super) key: KeyUrl,
    pub(super) options: ProviderOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn SecureRandom>,
    board: Mutex<Board>,
    /// One look at a time.
    turn: AsyncMutex<()>,
    /// How many looks have begun.
    begun: Mutex<u64>,
    /// Something hints at news.
    hint: Notify,
}

impl Watch {
    pub(super) fn new(vault: Vault, key: KeyUrl, options: ProviderOptions) -> Self {
        let board = Board::new(
            key.clone(),
            options.operations,
            options.aes,
            options.activation_delay(),
            options.stale_after(),
        );
        Self {
            clock: vault.clock(),
            random: vault.random(),
            vault,
            key,
            options,
            board: Mutex::new(board),
            turn: AsyncMutex::default(),
            begun: Mutex::default(),
            hint: Notify::new(),
        }
    }

    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that wraps now; waits for the very first look, and for no other.
    pub(super) async fn current(&self, deadline: Option<Tick>) -> Result<Arc<ActiveKey>, Error> {
        if self.board().looks() == 0 {
            let end = deadline.unwrap_or_else(|| self.clock.now() + self.options.budget);
            let looked = within(&*self.clock, end, self.first_look()).await;
            looked.ok_or_else(|| {
                Error::new(
                    ErrorKind::DeadlineExceeded,
                    "the first look at the key has not ended by the deadline",
                )
            })?;
        }
        self.board()
            .current(self.clock.now(), self.clock.wall_time())
    }

    /// What is told of the version that wraps now.
    pub(super) async fn current_info(&self, deadline: Option<Tick>) -> Result<KeyInfo, Error> {
        let active = self.current(deadline).await?;
        let wall = self.clock.wall_time();
        active
            .bundle
            .facts
            .info(wall, Some(active.algorithm.as_str()))
    }

    async fn first_look(&self) {
        let _turn = self.turn.lock().await;
        if self.board().looks() == 0 {
            self.look_and_record().await;
        }
    }

    /// Looks at the key now, and not before the call. Callers who come while others wait for
    /// their turn share one look.
    pub(super) async fn refresh(&self) -> Result<(), Error> {
        let waiting_for = self.begun().saturating_add(1);
        let _turn = self.turn.lock().await;
        if *self.begun() < waiting_for {
            self.look_and_record().await;
        }
        self.board().failure().cloned().map_or(Ok(()), Err)
    }

    fn begun(&self) -> MutexGuard<'_, u64> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_and_record(&self) {
        {
            let mut begun = self.begun();
            *begun = begun.saturating_add(1);
        }
        let span = tracing::debug_span!(
            target: "kms_azure::provider",
            "look",
            key = %self.key,
            outcome = tracing::field::Empty,
        );
        let outcome = traced(&span, self.look()).await;
        let (now, wall) = (self.clock.now(), self.clock.wall_time());
        match outcome {
            Ok(()) => self.board().succeeded(now, wall),
            Err(error) => self.board().failed(error),
        }
    }

    async fn look(&self) -> Result<(), Error> {
        let deadline = self.clock.now() + self.options.budget;
        let call = CallOptions::default().with_deadline(deadline);
        let is_pinned = self.key.version().is_some();
        let newest = self.bundle(&self.key, &call).await?;
        let facts = newest.facts.clone();
        let (is_first, is_news) = {
            let board = self.board();
            (board.success().is_none(), board.is_news(&facts))
        };
        self.note(newest, is_pinned);
        if is_pinned {
            return Ok(());
        }
        // A version may have come and another after it since the last look.
        let mut is_listed = false;
        if is_news && !is_first {
            self.list(&call).await?;
            is_listed = true;
        } else if let Some(version) = self.behind_newest() {
            let bundle = self.bundle(&self.key.with_version(version), &call).await?;
            self.note(bundle, false);
        }
        for _ in 0..MAX_STEPS {
            let wanted = self.board().unlooked(self.clock.wall_time());
            match wanted {
                Wanted::List if is_listed => break,
                Wanted::List => {
                    self.list(&call).await?;
                    is_listed = true;
                }
                Wanted::Bundle(version) => {
                    let bundle = self.bundle(&self.key.with_version(version), &call).await?;
                    self.note(bundle, false);
                }
                Wanted::Nothing => break,
            }
        }
        // Only now: a look that failed half way is made anew as a whole.
        self.board().note_newest(facts);
        Ok(())
    }

    fn behind_newest(&self) -> Option<KeyVersion> {
        let wall = self.clock.wall_time();
        let mut board = self.board();
        board.success()?;
        board.active_behind_newest(wall)
    }

    fn note(&self, bundle: KeyBundle, all: bool) {
        let (now, wall) = (self.clock.now(), self.clock.wall_time());
        self.board().note_bundle(bundle, all, now, wall);
    }

    async fn list(&self, call: &CallOptions) -> Result<(), Error> {
        let list = self.vault.versions(&self.key, call).await?;
        let (now, wall) = (self.clock.now(), self.clock.wall_time());
        self.board().note_list(&list, now, wall);
        Ok(())
    }

    /// One version. If there is none, the vault is asked whether the key was deleted.
    pub(super) async fn bundle(
        &self,
        key: &KeyUrl,
        call: &CallOptions,
    ) -> Result<KeyBundle, Error> {
        match self.vault.key(key, call).await {
            Err(error) if error.kind() == ErrorKind::KeyNotFound => {
                Err(self.why_not_found(error, key, call).await)
            }
            other => other,
        }
    }

    /// A key that is deleted and can be recovered looks like one that never was.
    pub(super) async fn why_not_found(
        &self,
        error: Error,
        key: &KeyUrl,
        call: &CallOptions,
    ) -> Error {
        match self.vault.is_deleted(key, call).await {
            Ok(true) => VaultError::found(Fault::KeyDeleted, Operation::GetKey).about(key, None),
            // Without the right to know it stays as it is.
            Ok(false) | Err(_) => error,
        }
    }

    /// What is known of a version from the last looks, if that is recent.
    pub(super) fn fresh_facts(&self, version: &KeyVersion) -> Option<VersionFacts> {
        let at_most = self.options.poll_interval;
        self.board().fresh_facts(version, self.clock.now(), at_most)
    }

    /// An operation has met a state of the key that is not known yet: look soon.
    pub(super) fn hint(&self, error: &Error) {
        let is_about_the_key = matches!(
            error.kind(),
            ErrorKind::KeyDisabled
                | ErrorKind::KeyExpired
                | ErrorKind::KeyNotYetValid
                | ErrorKind::PermissionDenied
        );
        if is_about_the_key && self.board().failure().is_none() {
            self.hint.notify_one();
        }
    }

    /// The background task.
    pub(super) async fn keep_up(&self) {
        let mut failures = 0_u32;
        self.first_look().await;
        loop {
            let failure = self.board().failure().cloned();
            let pause = match failure {
                None => {
                    failures = 0;
                    let interval = self.options.poll_interval;
                    let tenth = interval.checked_div(10).unwrap_or_default();
                    interval.saturating_sub(jitter::up_to(&*self.random, tenth))
                }
                Some(_) => {
                    let most = self.options.retry_interval.min(self.options.poll_interval);
                    let pause = jitter::doubling(FIRST_RETRY.min(most), most, failures);
                    failures = failures.saturating_add(1);
                    jitter::upper_half(&*self.random, pause)
                }
            };
            let next = self.clock.now() + pause;
            self.board().will_look(self.clock.wall_time(), pause);
            // However many hints there are, a look is not made sooner than this.
            let soonest = self.clock.now() + FIRST_RETRY.min(pause);
            let hinted = pin!(async {
                self.hint.notified().await;
                self.clock.sleep_until(soonest).await;
            });
            select(hinted, self.clock.sleep_until(next)).await;
            let _recorded = self.refresh().await;
        }
    }
}
