//! A migration by one worker.

use core::fmt;
use core::pin::Pin;

use async_trait::async_trait;
use futures_util::future::FutureExt as _;
use kms_core::object::{ObjectKey, ObjectStore, Revision};
use kms_core::{CallOptions, Clock, Tick};

use super::checkpoint::{Checkpoint, CheckpointStore, Cursor, Definition};
use super::feed::Position;
use super::progress::{MigrationPhase, Pace};
use super::report::RemainingList;
use super::sweep::{Field, Ledger, OnProgress, Saver, StopSignal, sweep};
use super::verify::verify;
use super::work::{Work, patiently};
use super::{
    MigrationCounts, MigrationEnd, MigrationOptions, MigrationProgress, MigrationReport,
    MigrationVerification, OnKeyChange, Reencryptors, StopReason,
};
use crate::Error;

/// How often it may begin again because the key has changed.
const MAX_RESTARTS: u32 = 5;

/// Brings stored objects to one target: reads, opens, judges, seals, sees that what was sealed
/// opens, compares and swaps.
///
/// # What holds
///
/// - An object is swapped only if it is as it was read. Whoever writes at the same time is never
///   overwritten; the object is read and judged again then.
/// - What is right already is not touched, so a migration can be run again at will, and is not
///   written twice after a crash: the checkpoint is a hint about where to go on, and no more.
/// - What does not open is reported and left as it is. The same holds for what opens without a tag
///   that vouches for it (`aescbc`) and is no object.
/// - A lease stays.
/// - A plaintext lives as long as it takes to seal it, and is wiped. It does not wait for a turn or
///   a key provider.
/// - At the end all objects are read at one revision and opened once more: that, and not what the
///   migration believes to have done, is the verdict.
///
/// # What it does about failures
///
/// | failure | outcome |
/// |---|---|
/// | an object changed meanwhile | read and judged again, up to 32 times in a pass |
/// | the answer to a swap is lost | read: its bytes tell whether it happened |
/// | a key provider or the store does not answer, or throttles | tried again with pauses up to 10 s, or what the service asks for; after [`patience`](MigrationOptions::patience) it stops, with a checkpoint |
/// | a key provider refuses to open an object | reported, left as it is |
/// | the key provider of the target refuses to wrap or unwrap | stops, with a checkpoint |
/// | the key of the target changes | stops, or [begins again](OnKeyChange::Restart) |
/// | the store refuses a value as too long | reported, left as it is |
/// | the store refuses for another reason, such as want of space | stops, with a checkpoint |
/// | the revision that is read is compacted | goes on at the newest one |
/// | the checkpoint cannot be kept | stops |
///
/// # What it costs the store
///
/// Every rewritten object is a new revision, and the old one stays until the store is compacted:
/// etcd grows by the size of what is rewritten. kube-apiserver compacts every five minutes; a
/// [`rate`](MigrationOptions::rate) keeps what comes in between within bounds.
#[derive(Clone, Copy)]
pub struct Migration<'a> {
    pub(super) store: &'a dyn ObjectStore,
    pub(super) reencryptors: &'a dyn Reencryptors,
    pub(super) clock: &'a dyn Clock,
    pub(super) options: &'a MigrationOptions,
    checkpoints: Option<&'a dyn CheckpointStore>,
}

impl<'a> Migration<'a> {
    /// A migration of the objects of a store. Does nothing yet.
    #[must_use]
    pub fn new(
        store: &'a dyn ObjectStore,
        reencryptors: &'a dyn Reencryptors,
        clock: &'a dyn Clock,
        options: &'a MigrationOptions,
    ) -> Self {
        Self {
            store,
            reencryptors,
            clock,
            options,
            checkpoints: None,
        }
    }

    /// Keeps a checkpoint here.
    #[must_use]
    pub fn with_checkpoints(mut self, checkpoints: &'a dyn CheckpointStore) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Migrates, until all is done or `stop` ends. To stop at once, drop it: whatever was begun
    /// then, the store is as sound as after a crash.
    ///
    /// `progress` is told how far it has come, at most ten times a second.
    ///
    /// # Errors
    ///
    /// What kept it from beginning: [`ErrorKind::Checkpoint`](crate::ErrorKind::Checkpoint) if the
    /// checkpoint is of another migration; what the store or the key provider of the target fails
    /// with. What stops it later is in the report.
    pub async fn run(
        &self,
        stop: impl Future<Output = ()> + Send,
        mut progress: impl FnMut(&MigrationProgress) + Send,
    ) -> Result<MigrationReport, Error> {
        let stop: StopSignal<'_> =
            (Box::pin(stop) as Pin<Box<dyn Future<Output = ()> + Send>>).shared();
        let began = self.clock.now();
        let (mut restarts, mut resume) = (0_u32, self.options.resume);
        loop {
            let mut report = self.attempt(resume, stop.clone(), &mut progress).await?;
            let again = matches!(
                report.end,
                MigrationEnd::Stopped(StopReason::KeyChanged { .. })
            ) && self.options.on_key_change == OnKeyChange::Restart
                && restarts < MAX_RESTARTS;
            if !again {
                report.restarts = restarts;
                report.seconds = self.clock.now().since(began).as_secs_f64();
                return Ok(report);
            }
            restarts = restarts.saturating_add(1);
            resume = false;
        }
    }

    async fn attempt(
        &self,
        resume: bool,
        stop: StopSignal<'_>,
        progress: &mut OnProgress<'_>,
    ) -> Result<MigrationReport, Error> {
        let (mut work, definition, revision) = self.prepare().await?;
        let kept = match self.checkpoints {
            Some(checkpoints) if resume => patiently!(&work, load(checkpoints, &definition))?,
            _ => None,
        };
        let mut place = kept.unwrap_or_else(|| Checkpoint::new(definition, revision));
        work.begin_at(Revision::new(place.began_at_revision));
        let mut run = Run {
            work: &work,
            checkpoints: self.checkpoints.filter(|_| !self.options.dry_run),
            ledger: Ledger::new(place.counts, self.no_pace()),
        };
        run.keep(&place).await?;
        let ended = run.passes(&mut place, stop, progress).await;
        Ok(run.report(place.pass, ended))
    }

    /// What is to be done, and the newest revision.
    pub(super) async fn prepare(&self) -> Result<(Work<'a>, Definition, Revision), Error> {
        let identity = self
            .store
            .identity(&CallOptions::default())
            .await
            .map_err(|error| Error::provider("reading the store", error))?;
        let work = Work::prepare(self.store, self.reencryptors, self.clock, self.options).await?;
        let definition = Definition {
            cluster: Definition::cluster_of(&identity),
            scope: self.options.scope.clone(),
            selector: self.reencryptors.selector(),
            targets: work.targets.clone(),
            renew: self.options.renew,
        };
        Ok((work, definition, identity.revision))
    }

    pub(super) fn no_pace(&self) -> Pace {
        Pace::new(MigrationPhase::Rewriting, None, 0, self.clock.now())
    }
}

impl fmt::Debug for Migration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("store", &self.store)
            .field("reencryptors", &self.reencryptors)
            .field("options", &self.options)
            .field("checkpoints", &self.checkpoints)
            .finish_non_exhaustive()
    }
}

async fn load(
    checkpoints: &dyn CheckpointStore,
    definition: &Definition,
) -> Result<Option<Checkpoint>, Error> {
    let Some(bytes) = checkpoints.load().await? else {
        return Ok(None);
    };
    let kept = Checkpoint::parse(&bytes)?;
    kept.check(definition)?;
    Ok(Some(kept))
}

struct Run<'r, 'w> {
    work: &'r Work<'w>,
    checkpoints: Option<&'r dyn CheckpointStore>,
    ledger: Ledger,
}

impl Run<'_, '_> {
    async fn keep(&self, place: &Checkpoint) -> Result<(), Error> {
        match self.checkpoints {
            Some(checkpoints) => {
                let bytes = place.to_json()?;
                patiently!(&self.work, checkpoints.save(&bytes))
            }
            None => Ok(()),
        }
    }

    /// `None` after a dry run.
    async fn passes(
        &mut self,
        place: &mut Checkpoint,
        stop: StopSignal<'_>,
        progress: &mut OnProgress<'_>,
    ) -> Result<Option<MigrationVerification>, StopReason> {
        let work = self.work;
        let verification = loop {
            let total = self.pass(place, stop.clone(), progress).await?;
            if work.options.dry_run {
                return Ok(None);
            }
            let counts = self.ledger.counts;
            let verified = verify(work, counts, total, stop.clone(), progress).await?;
            let left = verified.remaining.count;
            self.ledger.remaining = verified.remaining;
            self.ledger.counts = counts.settled(left);
            if self.ledger.remaining.may_pass == 0 || place.pass >= work.options.passes {
                break verified.verification;
            }
            place.pass = place.pass.saturating_add(1);
            place.cursor = None;
            place.counts = self.ledger.counts;
            self.keep(place).await.map_err(StopReason::Checkpoint)?;
        };
        if let Some(checkpoints) = self.checkpoints {
            let cleared: Result<(), Error> = patiently!(work, checkpoints.clear());
            cleared.map_err(StopReason::Checkpoint)?;
        }
        Ok(Some(verification))
    }

    /// Goes through all objects once; how many keys there are.
    async fn pass(
        &mut self,
        place: &Checkpoint,
        stop: StopSignal<'_>,
        progress: &mut OnProgress<'_>,
    ) -> Result<Option<u64>, StopReason> {
        let work = self.work;
        let after = place.cursor.clone().map(|Cursor(key)| key);
        let from = Position::new(work, after);
        let left = from.count(work).await;
        let ledger = &mut self.ledger;
        ledger.is_repeated = place.pass > 1;
        ledger.remaining = RemainingList::default();
        ledger.done = if ledger.is_repeated {
            0
        } else {
            ledger.counts.scanned
        };
        let total = left.map(|left| left.saturating_add(ledger.done));
        let now: Tick = work.clock.now();
        ledger.pace = Pace::new(MigrationPhase::Rewriting, total, ledger.done, now);
        let saver = self.checkpoints.map(|checkpoints| CheckpointSaver {
            checkpoints,
            place: place.clone(),
        });
        let field = Field {
            from,
            first: None,
            is_bounded: false,
            saves_end: true,
            saver: saver.as_ref().map(|saver| saver as &dyn Saver),
        };
        sweep(work, field, ledger, stop, progress).await?;
        Ok(total)
    }

    fn report(
        self,
        passes: u32,
        ended: Result<Option<MigrationVerification>, StopReason>,
    ) -> MigrationReport {
        let (work, ledger) = (self.work, self.ledger);
        let (end, verification) = match ended {
            Err(reason) => (MigrationEnd::Stopped(reason), None),
            Ok(verification) if ledger.remaining.count == 0 => {
                (MigrationEnd::Complete, verification)
            }
            Ok(verification) => (MigrationEnd::Incomplete, verification),
        };
        MigrationReport {
            end,
            scope: work.options.scope.clone(),
            selector: work.reencryptors.selector(),
            targets: work.targets.clone(),
            dry_run: work.options.dry_run,
            counts: ledger.counts,
            passes,
            restarts: 0,
            seconds: 0.0,
            remaining: ledger.remaining.named,
            remaining_count: ledger.remaining.count,
            verification,
        }
    }
}

/// Keeps the place in a checkpoint.
struct CheckpointSaver<'s> {
    checkpoints: &'s dyn CheckpointStore,
    place: Checkpoint,
}

#[async_trait]
impl Saver for CheckpointSaver<'_> {
    async fn save(&self, cursor: &ObjectKey, counts: &MigrationCounts) -> Result<(), Error> {
        let mut place = self.place.clone();
        place.cursor = Some(Cursor(cursor.clone()));
        place.counts = *counts;
        self.checkpoints.save(&place.to_json()?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(future: impl Future + Send) -> impl Future + Send {
        future
    }

    /// A driver runs it in a task of a runtime of many threads. That this compiles is the test.
    #[expect(dead_code, reason = "never called")]
    fn can_be_sent<'m>(migration: &'m Migration<'m>) -> impl Future + Send + 'm {
        sent(migration.run(core::future::pending(), |_| {}))
    }
}
