//! What all steps of a migration share.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use kms_core::object::{ObjectStore, Revision};
use kms_core::{Clock, Tick};

use super::limiter::Limiter;
use super::{MigrationOptions, Protection, Reading, Reencryptors, StopReason};
use crate::{Error, ErrorKind};

/// Does something until it works, or has not for too long: `patiently!(work, future)`.
///
/// A macro and no function: a closure that makes a future which borrows cannot be shown to the compiler
/// to be `Send`, and migrations are driven from tasks.
macro_rules! patiently {
    ($work:expr, $attempt:expr) => {{
        let mut patience = $crate::reencrypt::migrate::work::Patience::default();
        loop {
            match $attempt.await {
                Err(error) if error.is_retryable() => {
                    let after = $crate::reencrypt::migrate::work::retry_after(&error);
                    let waited = patience.wait($work, after).await;
                    if waited != $crate::reencrypt::migrate::work::Waited::Enough {
                        break Err(error);
                    }
                }
                ended => break ended,
            }
        }
    }};
}
pub(super) use patiently;

/// The longest sleep after which is asked whether to stop.
const NAP: Duration = Duration::from_millis(250);
/// The first pause after a failure, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a conflict may have the key looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

pub(super) struct Work<'a> {
    pub(super) store: &'a dyn ObjectStore,
    pub(super) reencryptors: &'a dyn Reencryptors,
    pub(super) clock: &'a dyn Clock,
    pub(super) options: &'a MigrationOptions,
    /// What each re-encryptor is to seal under, from the beginning to the end.
    pub(super) targets: Vec<Protection>,
    /// Objects that were last written at this revision or before are written anew.
    pub(super) renew_through: Option<Revision>,
    /// The newest revision when the migration began.
    pub(super) began_at: Revision,
    pub(super) limiter: Option<Limiter>,
    stopping: AtomicBool,
    refreshed: Mutex<Tick>,
}

impl<'a> Work<'a> {
    /// Gets the re-encryptors ready, and holds on to what they seal under now.
    pub(super) async fn prepare(
        store: &'a dyn ObjectStore,
        reencryptors: &'a dyn Reencryptors,
        clock: &'a dyn Clock,
        options: &'a MigrationOptions,
    ) -> Result<Self, Error> {
        let mut work = Self {
            store,
            reencryptors,
            clock,
            options,
            targets: Vec::new(),
            renew_through: None,
            began_at: Revision::default(),
            limiter: options.rate.map(|rate| Limiter::new(rate, clock.now())),
            stopping: AtomicBool::new(false),
            refreshed: Mutex::new(clock.now()),
        };
        patiently!(&work, work.refresh_all())?;
        for reencryptor in reencryptors.all() {
            work.targets.push(reencryptor.target().ok_or_else(|| {
                Error::new(
                    ErrorKind::NotReady,
                    "the target is not ready to be written with",
                )
            })?);
        }
        Ok(work)
    }

    /// The revision that was the newest when the migration began, maybe before an interruption.
    pub(super) fn begin_at(&mut self, revision: Revision) {
        self.began_at = revision;
        self.renew_through = self.options.renew.then_some(revision);
    }

    async fn refresh_all(&self) -> Result<(), Error> {
        *self.refreshed() = self.clock.now();
        let all = self.reencryptors.all().iter();
        join_all(all.map(|reencryptor| reencryptor.refresh()))
            .await
            .into_iter()
            .collect()
    }

    fn refreshed(&self) -> std::sync::MutexGuard<'_, Tick> {
        self.refreshed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the current keys, and whether they are still those of the beginning.
    pub(super) async fn refresh(&self) -> Result<(), StopReason> {
        let asked = self.refresh_all().await;
        for (target, reencryptor) in self.targets.iter().zip(self.reencryptors.all()) {
            if let Some(now) = reencryptor.target().filter(|now| now != target) {
                let from = target.clone();
                return Err(StopReason::KeyChanged { from, to: now });
            }
        }
        asked.map_err(StopReason::Kms)
    }

    /// Somebody wrote under another key of the same KMS: an older one, or one that is newer than
    /// the target. The KMS knows, and is asked unless that was done just now.
    pub(super) async fn refresh_on_conflict(&self) -> Result<(), StopReason> {
        let is_due = {
            let mut refreshed = self.refreshed();
            let is_due = self.clock.now().since(*refreshed) >= LOOK_AGAIN;
            if is_due {
                *refreshed = self.clock.now();
            }
            is_due
        };
        if !is_due {
            return Ok(());
        }
        match self.refresh().await {
            Err(changed @ StopReason::KeyChanged { .. }) => Err(changed),
            // That the KMS does not answer is dealt with where its answer is needed.
            _ => Ok(()),
        }
    }

    /// Why an object must be written anew, if it must.
    pub(super) fn fault(
        &self,
        reencryptor: usize,
        reading: &Reading,
        written: Revision,
    ) -> Option<Fault> {
        if self.targets.get(reencryptor) != Some(&reading.protection) {
            Some(Fault::OtherProtection)
        } else if !reading.is_current_form {
            Some(Fault::OldForm)
        } else if self.renew_through.is_some_and(|through| written <= through) {
            Some(Fault::NotRenewed)
        } else {
            None
        }
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// What was stopped for one range only goes on with the next.
    pub(super) fn go_on(&self) {
        self.stopping.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Sleeps; false if it was woken to stop.
    pub(super) async fn sleep_until(&self, until: Tick) -> bool {
        while self.clock.now() < until {
            if self.is_stopping() {
                return false;
            }
            let nap = self.clock.now() + NAP;
            self.clock.sleep_until(nap.min(until)).await;
        }
        !self.is_stopping()
    }
}

/// Why an object is not as it is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    OtherProtection,
    OldForm,
    NotRenewed,
}

/// What a key provider says about when to come back.
pub(super) fn retry_after(error: &Error) -> Option<Duration> {
    error
        .provider_error()
        .and_then(kms_core::Error::retry_after)
}

/// Pauses between attempts at one thing, which get longer and come to an end.
#[derive(Debug, Default)]
pub(super) struct Patience {
    first_failure: Option<Tick>,
    pause: Duration,
}

/// What became of a pause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Waited {
    /// Try again.
    Enough,
    /// It has not worked for too long.
    TooLong,
    /// Everybody is to stop.
    Stopped,
}

impl Patience {
    pub(super) async fn wait(&mut self, work: &Work<'_>, retry_after: Option<Duration>) -> Waited {
        let now = work.clock.now();
        let first = *self.first_failure.get_or_insert(now);
        if now.since(first) >= work.options.patience {
            return Waited::TooLong;
        }
        self.pause = self
            .pause
            .saturating_mul(2)
            .clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let pause = retry_after.map_or(self.pause, |after| after.max(self.pause));
        // Not beyond what patience allows, so that the last attempt is made when it ends.
        let until = (now + pause).min(first + work.options.patience);
        match work.sleep_until(until).await {
            true => Waited::Enough,
            false => Waited::Stopped,
        }
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}
