//! What one of several workers does.

use core::time::Duration;

use async_trait::async_trait;
use futures_util::future::{FutureExt as _, select};
use kms_core::object::ObjectKey;

use super::board::{Board, Next, OpenRange, VerifiedResult};
use super::place::Place;
use crate::reencrypt::migrate::checkpoint::{Cursor, Definition};
use crate::reencrypt::migrate::feed::Position;
use crate::reencrypt::migrate::progress::{MigrationPhase, Pace};
use crate::reencrypt::migrate::sweep::{Field, Ledger, OnProgress, Saver, StopSignal, sweep};
use crate::reencrypt::migrate::verify::verify;
use crate::reencrypt::migrate::work::{Work, patiently};
use crate::reencrypt::migrate::{
    MigrationCounts, MigrationEnd, MigrationReport, MigrationVerification, StopReason,
};
use crate::{Error, ErrorKind};

/// One of several, while its lease lives.
pub(super) struct Worker<'r, 'w> {
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
pub(super) type Ended = Result<(VerifiedResult, Option<MigrationVerification>), StopReason>;

impl<'r, 'w> Worker<'r, 'w> {
    pub(super) fn new(
        work: &'r Work<'w>,
        place: &'r Place<'w>,
        definition: &'r Definition,
        poll: Duration,
        pace: Pace,
    ) -> Self {
        Self {
            work,
            place,
            definition,
            poll,
            nap: Duration::ZERO,
            total: None,
            ledger: Ledger::new(MigrationCounts::default(), pace),
            pass: 1,
            unnoted: None,
        }
    }

    /// Finds out how many objects there are, for the progress.
    pub(super) async fn count(&mut self) {
        self.total = Position::new(self.work, None).count(self.work).await;
    }

    /// Works until all is done by whomever.
    pub(super) async fn work(
        &mut self,
        stop: StopSignal<'_>,
        progress: &mut OnProgress<'_>,
    ) -> Ended {
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

    pub(super) fn report(self, ended: Ended) -> MigrationReport {
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
