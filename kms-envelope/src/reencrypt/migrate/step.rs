//! One object.

use kms_core::object::{FetchOptions, ObjectKey, StoredObject, Swap, SwapOutcome};
use kms_core::{ErrorKind as CoreErrorKind, SecretBytes};

use super::work::{Patience, Waited, Work, retry_after};
use super::{Lookup, Protection, Reading, Remaining, RemainingReason, StopReason};
use crate::kubernetes::{ProviderKind, inspect};
use crate::{Error, ErrorKind};

/// How often one object may change under our hands before it is left for the next pass.
const MAX_CONFLICTS: u32 = 32;

/// What became of an object.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// Writes that found it changed.
    pub(super) conflicts: u32,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// It is nobody's to migrate.
    OutOfScope,
    /// It was as it is to be.
    Right,
    /// Written.
    Rewritten {
        /// Whether nothing had encrypted it before.
        from_clear: bool,
    },
    /// A concurrent writer did it.
    ByOther,
    /// A dry run would have written it.
    WouldRewrite,
    /// It is not there any more.
    Gone,
    /// It stays as it is.
    Left(Box<Remaining>),
    /// No verdict: the migration is to stop.
    Stop(StopReason),
    /// No verdict: the migration was stopped meanwhile.
    Interrupted,
}

/// Judges an object and rewrites it, as often as somebody else changes it meanwhile.
pub(super) async fn step(work: &Work<'_>, object: StoredObject) -> Done {
    let mut conflicts = 0;
    let outcome = match Step::new(work).run(object, &mut conflicts).await {
        Ok(outcome) | Err(outcome) => outcome,
    };
    Done { outcome, conflicts }
}

struct Step<'s> {
    work: &'s Work<'s>,
    opening: Patience,
    sealing: Patience,
    store: Patience,
}

/// What a swap came to.
enum Swapped {
    Done,
    Changed,
    /// Nobody knows. These bytes tell, if they are there.
    Unknown(SecretBytes),
}

impl<'s> Step<'s> {
    fn new(work: &'s Work<'_>) -> Self {
        Self {
            work,
            opening: Patience::default(),
            sealing: Patience::default(),
            store: Patience::default(),
        }
    }

    /// An error is an outcome, too: it ends the step from wherever it is.
    async fn run(
        mut self,
        mut object: StoredObject,
        conflicts: &mut u32,
    ) -> Result<Outcome, Outcome> {
        let work = self.work;
        let reencryptor = match work.reencryptors.lookup(object.key.as_bytes()) {
            Lookup::Found(reencryptor) => reencryptor,
            Lookup::NotConfigured => return Ok(Outcome::OutOfScope),
            Lookup::Unknown => return Ok(left(&object, None, RemainingReason::UnknownResource)),
        };
        let mut unknown: Option<SecretBytes> = None;
        let mut is_first = true;
        let mut from_clear = false;
        while *conflicts < MAX_CONFLICTS {
            let mut reading = self.open(reencryptor, &object).await?;
            if work.fault(reencryptor, &reading, object.revision).is_none() {
                let is_ours = unknown.is_some_and(|ours| ours.expose() == object.value);
                return Ok(match (is_ours, is_first) {
                    (true, _) => Outcome::Rewritten { from_clear },
                    (false, true) => Outcome::Right,
                    (false, false) => Outcome::ByOther,
                });
            }
            if work.options.dry_run {
                return Ok(Outcome::WouldRewrite);
            }
            if !is_first && self.is_of_same_kms(reencryptor, &reading.protection) {
                work.refresh_on_conflict().await.map_err(Outcome::Stop)?;
            }
            if let Some(limiter) = &work.limiter {
                let turn = limiter.reserve(work.clock.now());
                if turn > work.clock.now() {
                    // What was opened does not wait in memory.
                    drop(reading);
                    if !work.sleep_until(turn).await {
                        return Err(Outcome::Interrupted);
                    }
                    reading = self.open(reencryptor, &object).await?;
                }
            }
            from_clear = reading.protection.provider() == ProviderKind::Identity;
            let Some(value) = self.seal(reencryptor, &object, reading).await? else {
                continue;
            };
            match self.swap(&object, value).await? {
                Swapped::Done => return Ok(Outcome::Rewritten { from_clear }),
                Swapped::Changed => *conflicts = conflicts.saturating_add(1),
                Swapped::Unknown(ours) => unknown = Some(ours),
            }
            is_first = false;
            match self.fetch(&object.key).await? {
                Some(now) => object = now,
                None => return Ok(Outcome::Gone),
            }
        }
        Ok(left(&object, None, RemainingReason::AlwaysChanging))
    }

    fn is_of_same_kms(&self, reencryptor: usize, found: &Protection) -> bool {
        let target = self.work.targets.get(reencryptor);
        target.is_some_and(|target| target != found && target.is_of_same_kms(found))
    }

    async fn open(
        &mut self,
        reencryptor: usize,
        object: &StoredObject,
    ) -> Result<Reading, Outcome> {
        match open(self.work, &mut self.opening, reencryptor, object).await {
            Ok(reading) => Ok(reading),
            Err(Unopened::ByItself(remaining)) => Err(Outcome::Left(remaining)),
            Err(Unopened::Stop(reason)) => Err(Outcome::Stop(reason)),
            Err(Unopened::Interrupted) => Err(Outcome::Interrupted),
        }
    }

    /// Seals, and sees whether that opens to the same under the target. `None` if the key provider
    /// did not answer, after waiting for it with nothing in memory.
    async fn seal(
        &mut self,
        reencryptor: usize,
        object: &StoredObject,
        reading: Reading,
    ) -> Result<Option<Vec<u8>>, Outcome> {
        let work = self.work;
        let error = match self.sealed(reencryptor, object, &reading).await? {
            Ok(value) => {
                self.sealing.reset();
                return Ok(Some(value));
            }
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Unsupported | ErrorKind::Malformed => {
                let reason = RemainingReason::CannotBeWritten(error.to_string());
                return Err(left(object, Some(reading.protection), reason));
            }
            _ if error.is_retryable() => {}
            _ => return Err(Outcome::Stop(StopReason::Kms(error))),
        }
        drop(reading);
        match self.sealing.wait(work, retry_after(&error)).await {
            Waited::Enough => Ok(None),
            Waited::TooLong => Err(Outcome::Stop(StopReason::Kms(error))),
            Waited::Stopped => Err(Outcome::Interrupted),
        }
    }

    async fn sealed(
        &self,
        reencryptor: usize,
        object: &StoredObject,
        reading: &Reading,
    ) -> Result<Result<Vec<u8>, Error>, Outcome> {
        let (key, plaintext) = (object.key.as_bytes(), &reading.plaintext);
        let all = self.work.reencryptors.all();
        let (Some(sealer), Some(target)) =
            (all.get(reencryptor), self.work.targets.get(reencryptor))
        else {
            return Ok(Err(no_reencryptor()));
        };
        let value = match sealer.seal(key, plaintext.expose()).await {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        };
        let opened = match sealer.open(key, &value).await {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        if opened.protection != *target {
            let (from, to) = (target.clone(), opened.protection);
            return Err(Outcome::Stop(StopReason::KeyChanged { from, to }));
        }
        if !opened.is_current_form || opened.plaintext != *plaintext {
            let message = "what was sealed opens to something else";
            return Ok(Err(Error::new(ErrorKind::Internal, message)));
        }
        Ok(Ok(value))
    }

    async fn swap(&mut self, object: &StoredObject, value: Vec<u8>) -> Result<Swapped, Outcome> {
        let work = self.work;
        let swap = Swap::Replace {
            expected: object.revision,
            value,
        };
        let call = kms_core::CallOptions::default();
        let outcome = work.store.compare_and_swap(&object.key, &swap, &call).await;
        // In clear it would be a plaintext that lives on.
        let value = match swap {
            Swap::Replace { value, .. } => SecretBytes::from_vec(value),
            Swap::Create { .. } | Swap::Delete { .. } => SecretBytes::from_vec(Vec::new()),
        };
        let error = match outcome {
            Ok(SwapOutcome::Swapped { .. }) => return Ok(Swapped::Done),
            Ok(SwapOutcome::Changed { .. }) => {
                self.store.reset();
                return Ok(Swapped::Changed);
            }
            Err(error) => error,
        };
        if error.kind() == CoreErrorKind::InvalidInput {
            let reason = RemainingReason::CannotBeWritten(error.to_string());
            return Err(left(object, None, reason));
        }
        self.give_it_time(error).await?;
        // Reading tells whether it happened; repeating it is safe in any case.
        Ok(Swapped::Unknown(value))
    }

    async fn fetch(&mut self, key: &ObjectKey) -> Result<Option<StoredObject>, Outcome> {
        loop {
            match self.work.store.fetch(key, &FetchOptions::default()).await {
                // Patience goes on: what a swap fails with is not cured by reading.
                Ok(found) => return Ok(found),
                Err(error) => self.give_it_time(error).await?,
            }
        }
    }

    /// Waits, if it makes sense to try again.
    async fn give_it_time(&mut self, error: kms_core::Error) -> Result<(), Outcome> {
        if !error.is_retryable() {
            return Err(Outcome::Stop(StopReason::Store(error)));
        }
        match self.store.wait(self.work, error.retry_after()).await {
            Waited::Enough => Ok(()),
            Waited::TooLong => Err(Outcome::Stop(StopReason::Store(error))),
            Waited::Stopped => Err(Outcome::Interrupted),
        }
    }
}

/// Why there is no reading.
pub(super) enum Unopened {
    ByItself(Box<Remaining>),
    Stop(StopReason),
    Interrupted,
}

/// Opens an object, and waits for a key provider that is away.
pub(super) async fn open(
    work: &Work<'_>,
    patience: &mut Patience,
    reencryptor: usize,
    object: &StoredObject,
) -> Result<Reading, Unopened> {
    let Some(opener) = work.reencryptors.all().get(reencryptor) else {
        return Err(Unopened::Stop(StopReason::Kms(no_reencryptor())));
    };
    loop {
        let error = match opener.open(object.key.as_bytes(), &object.value).await {
            Ok(reading) => {
                patience.reset();
                return Ok(reading);
            }
            Err(error) => error,
        };
        if !error.is_retryable() {
            let reason = RemainingReason::does_not_open(&error);
            return Err(Unopened::ByItself(Box::new(remaining(
                object, None, reason,
            ))));
        }
        match patience.wait(work, retry_after(&error)).await {
            Waited::Enough => {}
            Waited::TooLong => return Err(Unopened::Stop(StopReason::Kms(error))),
            Waited::Stopped => return Err(Unopened::Interrupted),
        }
    }
}

fn left(object: &StoredObject, under: Option<Protection>, reason: RemainingReason) -> Outcome {
    Outcome::Left(Box::new(remaining(object, under, reason)))
}

/// An object that stays as it is. What it is under is what it says, if it was not opened.
pub(super) fn remaining(
    object: &StoredObject,
    under: Option<Protection>,
    reason: RemainingReason,
) -> Remaining {
    let says = || {
        let found = inspect(&object.value).ok()?;
        let key_id = match found.key_id {
            Some(id) => Some(kms_core::KeyId::new(id).ok()?),
            None => None,
        };
        Some(Protection::new(
            found.provider,
            found.name.map(Into::into),
            key_id,
        ))
    };
    Remaining {
        etcd_key: object.key.to_string(),
        revision: object.revision.get(),
        under: under.or_else(says),
        reason,
    }
}

fn no_reencryptor() -> Error {
    Error::new(ErrorKind::Internal, "an object has no re-encryptor")
}
