//! One of several workers.

use core::fmt;
use core::pin::Pin;
use core::time::Duration;
use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::future::{Either, FutureExt as _, select};
use kms_core::CallOptions;
use kms_core::object::{LeaseId, LeaseStore, ObjectKey};

use super::board::{Board, Next, OpenRange, VerifiedResult};
use super::place::Place;
use crate::reencrypt::migrate::checkpoint::{Cursor, Definition};
use crate::reencrypt::migrate::feed::Position;
use crate::reencrypt::migrate::progress::{MigrationPhase, Pace};
use crate::reencrypt::migrate::sweep::{Field, Ledger, OnProgress, Saver, StopSignal, sweep};
use crate::reencrypt::migrate::verify::verify;
use crate::reencrypt::migrate::work::{Work, patiently};
use crate::reencrypt::migrate::{
    Migration, MigrationCounts, MigrationEnd, MigrationOptions, MigrationProgress, MigrationReport,
    MigrationVerification, Reencryptors, StopReason,
};
use crate::{Error, ErrorKind};
use kms_core::Clock;

/// How a worker takes part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// Its name; no two that live at once may have the same.
    pub name: String,
    /// What the keys of the board and of the workers begin with: not one of the API server's.
    pub prefix: String,
    /// How long a worker may be silent before its work goes to others. 15 s.
    pub time_to_live: Duration,
    /// How often to look whether others have ended. 500 ms.
    pub poll: Duration,
}

impl WorkerOptions {
    /// A worker of this name, on the board below this prefix.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the name is empty, over 128 bytes, or holds anything but letters,
    /// digits, dots, hyphens and underscores.
    pub fn new(name: impl Into<String>, prefix: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_plain) {
            return Err(Error::new(
                ErrorKind::Config,
                "the name of a worker is not made of letters, digits, dots, hyphens and underscores",
            ));
        }
        Ok(Self {
            name,
            prefix: prefix.into(),
            time_to_live: Duration::from_secs(15),
            poll: Duration::from_millis(500),
        })
    }

    /// Sets how long a worker may be silent.
    #[must_use]
    pub const fn with_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = time_to_live;
        self
    }

    /// Sets how often to look whether others have ended.
    #[must_use]
    pub const fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }
}

/// A [`Migration`] that is shared with others who run the same, on this machine or elsewhere.
///
/// They meet on a board, which is one object of the store. A worker claims the keys of one page at a
/// time, in the order of keys, and goes through them as [`Migration`] does. Each worker's
/// name is an object that hangs on its lease: when that is gone, others take its claim over from
/// where it stood. When all is done one of them verifies. A rate holds for each worker.
///
/// All must have the same configuration, scope and target; whoever differs is refused while others
/// are at work, and begins anew if none is. What each worker does to an object is safe without any
/// of this, so a worker that was only asleep does no harm when it wakes up.
///
/// It does not [`renew`](MigrationOptions::renew), and does not
/// [begin again](MigrationOptions::on_key_change) when the key changes.
#[derive(Clone, Copy)]
pub struct SharedMigration<'a> {
    migration: Migration<'a>,
    leases: &'a dyn LeaseStore,
    worker: &'a WorkerOptions,
}

impl<'a> SharedMigration<'a> {
    /// A worker. Does nothing yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the options say to renew, or to change nothing.
    pub fn new(
        store: &'a dyn LeaseStore,
        reencryptors: &'a dyn Reencryptors,
        clock: &'a dyn Clock,
        options: &'a MigrationOptions,
        worker: &'a WorkerOptions,
    ) -> Result<Self, Error> {
        if options.renew || options.dry_run {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "renewing, and a dry run, are for one worker",
            ));
        }
        Ok(Self {
            migration: Migration::new(store, reencryptors, clock, options),
            leases: store,
            worker,
        })
    }

    /// Works, until all is done by whomever, or `stop` ends.
    ///
    /// # Errors
    ///
    /// What kept it from beginning; in particular [`ErrorKind::Checkpoint`] if others are at work on
    /// another migration, or a worker of this name is.
    pub async fn run(
        &self,
        stop: impl Future<Output = ()> + Send,
        mut progress: impl FnMut(&MigrationProgress) + Send,
    ) -> Result<MigrationReport, Error> {
        let stop: StopSignal<'_> =
            (Box::pin(stop) as Pin<Box<dyn Future<Output = ()> + Send>>).shared();
        let clock = self.migration.clock;
        let began = clock.now();
        let (mut work, definition, revision) = self.migration.prepare().await?;
        let place = Place::new(self.leases, &self.worker.prefix, &self.worker.name);
        let (mut lease, mut time_to_live) = self.register(&work, &place).await?;
        let board = match self.join(&work, &place, &definition, revision).await {
            Ok(board) => board,
            Err(error) => {
                place.leave(lease).await;
                return Err(error);
            }
        };
        work.begin_at(kms_core::object::Revision::new(board.began_at_revision));
        let mut worker = Worker {
            work: &work,
            place: &place,
            definition: &definition,
            poll: self.worker.poll,
            nap: Duration::ZERO,
            total: None,
            ledger: Ledger::new(MigrationCounts::default(), self.migration.no_pace()),
            pass: 1,
            unnoted: None,
        };
        worker.total = Position::new(&work, None).count(&work).await;
        let ended = loop {
            let keeper = Box::pin(keep_alive(&work, self.leases, lease, time_to_live));
            let working = Box::pin(worker.work(stop.clone(), &mut progress));
            match select(working, keeper).await {
                Either::Left((ended, _)) => break ended,
                // Others may have taken over what this one had: the board tells.
                Either::Right(((), _)) => {
                    work.go_on();
                    match self.register(&work, &place).await {
                        Ok(granted) => (lease, time_to_live) = granted,
                        Err(error) => break Err(StopReason::Displaced(error)),
                    }
                }
            }
        };
        place.leave(lease).await;
        let mut report = worker.report(ended);
        report.seconds = clock.now().since(began).as_secs_f64();
        Ok(report)
    }

    /// Waits for one of the same name that has died to be forgotten.
    async fn register(
        &self,
        work: &Work<'_>,
        place: &Place<'_>,
    ) -> Result<(LeaseId, Duration), Error> {
        let time_to_live = self.worker.time_to_live;
        // Leases run out a little late.
        let until = work.clock.now() + time_to_live.saturating_mul(2);
        loop {
            let granted = patiently!(work, place.register(time_to_live))?;
            if let Some(granted) = granted {
                return Ok(granted);
            }
            let now = work.clock.now();
            if now >= until {
                return Err(Error::new(
                    ErrorKind::Checkpoint,
                    format!("a worker `{}` is at work already", place.me()),
                ));
            }
            work.clock.sleep_until(now + self.worker.poll).await;
        }
    }

    /// Finds the board, or puts one up.
    async fn join(
        &self,
        work: &Work<'_>,
        place: &Place<'_>,
        definition: &Definition,
        revision: kms_core::object::Revision,
    ) -> Result<Board, Error> {
        let found = patiently!(work, place.load())?;
        let mut living = None;
        if let Some(found) = &found
            && found.result.is_none()
            && let Some(difference) = definition.difference(&found.definition)
        {
            let owners = found.open.iter().map(|range| &range.worker);
            let owners: BTreeSet<_> = owners.chain(found.verifier.as_ref()).collect();
            for owner in owners {
                if patiently!(work, place.is_alive(owner))? {
                    living = Some((owner.clone(), difference.clone()));
                }
            }
        }
        if let Some((owner, difference)) = living {
            return Err(Error::new(
                ErrorKind::Checkpoint,
                format!("the worker `{owner}` is at work on a migration {difference}"),
            ));
        }
        let begin = || Board::new(definition.clone(), revision);
        let mut join = |board: Option<Board>| {
            Ok(match board {
                Some(board) if board.result.is_none() && board.definition == *definition => {
                    (board, ())
                }
                _ => (begin(), ()),
            })
        };
        let joined = patiently!(work, place.update(&mut join))?;
        Ok(joined.0)
    }
}

impl fmt::Debug for SharedMigration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMigration")
            .field("migration", &self.migration)
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

/// Keeps a lease alive; ends when it is gone, or must be taken to be.
async fn keep_alive(
    work: &Work<'_>,
    leases: &dyn LeaseStore,
    lease: LeaseId,
    time_to_live: Duration,
) {
    let every = time_to_live.checked_div(3).unwrap_or(time_to_live);
    let mut alive_at = work.clock.now();
    loop {
        work.clock.sleep_until(work.clock.now() + every).await;
        let asked = work.clock.now();
        let call = CallOptions::default().with_deadline(alive_at + time_to_live);
        match leases.keep_lease_alive(lease, &call).await {
            Ok(Some(_)) => alive_at = asked,
            Ok(None) => return,
            Err(_) if work.clock.now().since(alive_at) >= time_to_live => return,
            Err(_) => {}
        }
    }
}

struct Worker<'r, 'w> {
    work: &'r Work<'w>,
    place: &'r Place<'w>,
    definition: &'r Definition,
    poll: Duration,
    /// The next nap, while others work.
    nap: Duration,
    total: Option<u64>,
    ledger: Ledger,
    pass: u32,
    /// A range that is done. It is noted with the next change, which saves a transaction.
    unnoted: Option<(u64, MigrationCounts)>,
}

/// How all of it ended: what the verifier found, and if that was this worker, in full.
type Ended = Result<(VerifiedResult, Option<MigrationVerification>), StopReason>;

impl Worker<'_, '_> {
    async fn work(&mut self, stop: StopSignal<'_>, progress: &mut OnProgress<'_>) -> Ended {
        loop {
            if stop.clone().now_or_never().is_some() {
                return Err(StopReason::Asked);
            }
            let mut board = self.board().await?;
            let me = self.place.me();
            if let Some((number, counts)) = self.unnoted {
                board.finish(me, number, counts);
            }
            let next = board.next(me);
            if self.unnoted.is_some() && next != Next::Claim {
                self.change(|_| ()).await?;
                continue;
            }
            match next {
                Next::GoOn(range) => self.go_on(range, stop.clone(), progress).await?,
                Next::Claim => self.claim(&board, stop.clone(), progress).await?,
                Next::AskAfter(ranges) => match self.dead(&ranges).await? {
                    Some(dead) => {
                        self.change(|board| board.take_over(me, &dead)).await?;
                    }
                    None => self.wait(&board, stop.clone(), progress).await,
                },
                Next::AskAfterVerifier(verifier) => {
                    if self.is_alive(&verifier).await? {
                        self.wait(&board, stop.clone(), progress).await;
                    } else {
                        self.change(|board| {
                            if board.verifier.as_ref() == Some(&verifier) {
                                board.verifier = None;
                            }
                        })
                        .await?;
                    }
                }
                Next::Verify => {
                    if let Some(ended) = self.verify(&board, stop.clone(), progress).await? {
                        return Ok(ended);
                    }
                }
                Next::Finished(result) => return Ok((result, None)),
            }
        }
    }

    /// The board, as long as it is that of this migration.
    async fn board(&mut self) -> Result<Board, StopReason> {
        let place = self.place;
        let board = patiently!(self.work, place.load());
        let board = board.map_err(StopReason::Checkpoint)?;
        let board = board.ok_or_else(|| StopReason::Displaced(gone()))?;
        if let Some(difference) = self.definition.difference(&board.definition) {
            return Err(StopReason::Displaced(Error::new(
                ErrorKind::Checkpoint,
                format!("the board of the workers is by now {difference}"),
            )));
        }
        self.pass = board.pass;
        Ok(board)
    }

    async fn change<T>(
        &mut self,
        mut change: impl FnMut(&mut Board) -> T,
    ) -> Result<(Board, T), StopReason> {
        let (definition, place, unnoted) = (self.definition, self.place, self.unnoted);
        let mut apply = |board: Option<Board>| {
            let mut board = board
                .filter(|board| board.definition == *definition)
                .ok_or_else(gone)?;
            if let Some((number, counts)) = unnoted {
                // It may be another's by now, who notes it.
                board.finish(place.me(), number, counts);
            }
            let result = change(&mut board);
            Ok((board, result))
        };
        let changed = patiently!(self.work, place.update(&mut apply));
        match changed {
            Ok(changed) => {
                self.unnoted = None;
                Ok(changed)
            }
            Err(error) if error.kind() == ErrorKind::Checkpoint => {
                Err(StopReason::Displaced(error))
            }
            Err(error) => Err(StopReason::Checkpoint(error)),
        }
    }

    async fn is_alive(&self, worker: &str) -> Result<bool, StopReason> {
        let place = self.place;
        let asked = patiently!(self.work, place.is_alive(worker));
        asked.map_err(StopReason::Checkpoint)
    }

    async fn dead(&self, ranges: &[OpenRange]) -> Result<Option<OpenRange>, StopReason> {
        for range in ranges {
            if !self.is_alive(&range.worker).await? {
                return Ok(Some(range.clone()));
            }
        }
        Ok(None)
    }

    async fn wait(&mut self, board: &Board, stop: StopSignal<'_>, progress: &mut OnProgress<'_>) {
        let now = self.work.clock.now();
        let mut pace = Pace::new(MigrationPhase::Waiting, self.total, 0, now);
        progress(&pace.last(now, board.counts.scanned, self.ledger.counts));
        // Soon at first: most are nearly done when one has nothing left.
        let shortest = self.poll.checked_div(16).unwrap_or(self.poll);
        self.nap = self.nap.saturating_mul(2).clamp(shortest, self.poll);
        let nap = self.work.clock.sleep_until(now + self.nap);
        let _ = select(nap, stop).await;
    }

    /// Claims the next page, and goes through it.
    async fn claim(
        &mut self,
        board: &Board,
        stop: StopSignal<'_>,
        progress: &mut OnProgress<'_>,
    ) -> Result<(), StopReason> {
        let after = board.frontier.clone();
        let key = after.clone().map(|Cursor(key)| key);
        let position = Position::new(self.work, key).following();
        let (batch, position) = position.next(self.work).await?;
        let me = self.place.me();
        let Some(batch) = batch else {
            self.change(|board| board.close(after.as_ref())).await?;
            return Ok(());
        };
        let through = Cursor(batch.last.clone());
        let claim = |board: &mut Board| board.claim(me, after.as_ref(), through.clone());
        let (board, claimed) = self.change(claim).await?;
        let Some(range) = claimed else {
            return Ok(());
        };
        self.set_pace(&board);
        let field = Field {
            from: position,
            first: Some(batch),
            is_bounded: true,
            saves_end: false,
            saver: None,
        };
        self.go_through(range, field, stop, progress).await
    }

    /// Goes on with a range that was claimed before, by this worker or another.
    async fn go_on(
        &mut self,
        range: OpenRange,
        stop: StopSignal<'_>,
        progress: &mut OnProgress<'_>,
    ) -> Result<(), StopReason> {
        let after = range.from().map(|Cursor(key)| key);
        let Cursor(last) = range.through.clone();
        let field = Field {
            from: Position::new(self.work, after).through(last),
            first: None,
            is_bounded: false,
            saves_end: false,
            saver: None,
        };
        self.go_through(range, field, stop, progress).await
    }

    fn set_pace(&mut self, board: &Board) {
        let done = board.counts.scanned;
        self.ledger.is_repeated = board.pass > 1;
        self.ledger.done = self.ledger.done.max(done);
        if self.ledger.pace.is_new() {
            let now = self.work.clock.now();
            self.ledger.pace = Pace::new(MigrationPhase::Rewriting, self.total, done, now);
        }
    }

    async fn go_through(
        &mut self,
        range: OpenRange,
        field: Field<'_>,
        stop: StopSignal<'_>,
        progress: &mut OnProgress<'_>,
    ) -> Result<(), StopReason> {
        self.nap = Duration::ZERO;
        let before = self.ledger.counts;
        let saver = RangeSaver {
            place: self.place,
            number: range.number,
            before,
            so_far: range.counts,
        };
        let field = Field {
            saver: Some(&saver),
            ..field
        };
        let swept = sweep(self.work, field, &mut self.ledger, stop, progress).await;
        match swept {
            Ok(()) => {}
            Err(StopReason::Checkpoint(error)) if error.kind() == ErrorKind::Checkpoint => {
                // It is another's by now, who goes on with it.
                self.work.go_on();
                return Ok(());
            }
            Err(reason) => return Err(reason),
        }
        self.unnoted = Some((range.number, saver.counts(&self.ledger.counts)));
        Ok(())
    }

    /// Verifies what all have done, unless another one does.
    async fn verify(
        &mut self,
        board: &Board,
        stop: StopSignal<'_>,
        progress: &mut OnProgress<'_>,
    ) -> Result<Option<(VerifiedResult, Option<MigrationVerification>)>, StopReason> {
        let me = self.place.me();
        let pass = board.pass;
        let (_, is_mine) = self
            .change(|board| {
                let is_free = board
                    .verifier
                    .as_ref()
                    .is_none_or(|verifier| verifier == me);
                let is_mine = is_free && board.pass == pass && board.next(me) == Next::Verify;
                if is_mine {
                    board.verifier = Some(me.to_owned());
                }
                is_mine
            })
            .await?;
        if !is_mine {
            return Ok(None);
        }
        let (work, counts) = (self.work, self.ledger.counts);
        let verified = verify(work, counts, self.total, stop, progress).await?;
        let may_pass = verified.remaining.may_pass > 0 && pass < work.options.passes;
        let result = VerifiedResult {
            revision: verified.verification.revision,
            objects: verified.verification.objects,
            right: verified.verification.right,
            remaining: verified.remaining.count,
        };
        let conclude = |board: &mut Board| {
            let is_mine = board.pass == pass && board.verifier.as_deref() == Some(me);
            match (is_mine, may_pass) {
                (true, true) => board.begin_pass(),
                (true, false) => board.result = Some(result),
                (false, _) => {}
            }
            is_mine
        };
        let (_, is_mine) = self.change(conclude).await?;
        if !is_mine || may_pass {
            return Ok(None);
        }
        self.ledger.remaining = verified.remaining;
        Ok(Some((result, Some(verified.verification))))
    }

    fn report(self, ended: Ended) -> MigrationReport {
        let (work, ledger) = (self.work, self.ledger);
        let mut remaining_count = ledger.remaining.count;
        let (end, verification) = match ended {
            Err(reason) => (MigrationEnd::Stopped(reason), None),
            Ok((result, verification)) => {
                remaining_count = result.remaining;
                let end = match result.remaining {
                    0 => MigrationEnd::Complete,
                    _ => MigrationEnd::Incomplete,
                };
                let theirs = || MigrationVerification {
                    revision: result.revision,
                    objects: result.objects,
                    right: result.right,
                    census: Vec::new(),
                    key_ids: Vec::new(),
                };
                (end, Some(verification.unwrap_or_else(theirs)))
            }
        };
        MigrationReport {
            end,
            scope: work.options.scope.clone(),
            selector: work.reencryptors.selector(),
            targets: work.targets.clone(),
            dry_run: false,
            counts: ledger.counts,
            passes: self.pass,
            restarts: 0,
            seconds: 0.0,
            remaining: ledger.remaining.named,
            remaining_count,
            verification,
        }
    }
}

fn gone() -> Error {
    Error::new(
        ErrorKind::Checkpoint,
        "the board of the workers is gone, or another migration's",
    )
}

/// Notes on the board how far a range has come.
struct RangeSaver<'s> {
    place: &'s Place<'s>,
    number: u64,
    /// What this worker had counted before the range.
    before: MigrationCounts,
    /// What was counted of the range before this worker had it.
    so_far: MigrationCounts,
}

impl RangeSaver<'_> {
    fn counts(&self, now: &MigrationCounts) -> MigrationCounts {
        self.so_far.plus(now.minus(self.before))
    }
}

#[async_trait]
impl Saver for RangeSaver<'_> {
    async fn save(&self, cursor: &ObjectKey, counts: &MigrationCounts) -> Result<(), Error> {
        let (me, counts) = (self.place.me(), self.counts(counts));
        self.place
            .update(|board| {
                let mut board = board.ok_or_else(gone)?;
                let cursor = Cursor(cursor.clone());
                if !board.advance(me, self.number, cursor, counts) {
                    return Err(Error::new(
                        ErrorKind::Checkpoint,
                        "another worker has taken the range over",
                    ));
                }
                Ok((board, ()))
            })
            .await
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(future: impl Future + Send) -> impl Future + Send {
        future
    }

    /// As a migration by one worker. That this compiles is the test.
    #[expect(dead_code, reason = "never called")]
    fn can_be_sent<'m>(worker: &'m SharedMigration<'m>) -> impl Future + Send + 'm {
        sent(worker.run(core::future::pending(), |_| {}))
    }
}
