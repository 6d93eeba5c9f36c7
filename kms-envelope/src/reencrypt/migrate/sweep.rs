//! Going through objects, many at once.
//!
//! Everything that goes on at once is a future in one set, and the loop below hears what comes of
//! it. No task is spawned, so that it needs no runtime and ends when it is dropped.

use core::pin::Pin;
use core::time::Duration;
use std::collections::VecDeque;

use async_trait::async_trait;
use futures_util::future::{FutureExt as _, Shared};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kms_core::Tick;
use kms_core::object::{ObjectKey, StoredObject};

use super::feed::{Batch, Position};
use super::progress::Pace;
use super::report::RemainingList;
use super::step::{Done, Outcome, step};
use super::work::{Work, patiently};
use super::{MigrationCounts, MigrationProgress, StopReason};
use crate::Error;

/// A future that ends when the migration is to stop.
pub(super) type StopSignal<'f> = Shared<Pin<Box<dyn Future<Output = ()> + Send + 'f>>>;

/// Who is told how far the migration has come.
pub(super) type OnProgress<'f> = dyn FnMut(&MigrationProgress) + Send + 'f;

/// Keeps the place.
#[async_trait]
pub(super) trait Saver: Sync {
    /// Everything up to `cursor` was gone through.
    async fn save(&self, cursor: &ObjectKey, counts: &MigrationCounts) -> Result<(), Error>;
}

/// What is counted from sweep to sweep.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) counts: MigrationCounts,
    pub(super) remaining: RemainingList,
    /// Whether objects were counted in an earlier pass already.
    pub(super) is_repeated: bool,
    /// Keys that this sweep has gone through.
    pub(super) done: u64,
    pub(super) pace: Pace,
}

/// What a sweep is to go through.
pub(super) struct Field<'f> {
    pub(super) from: Position,
    /// What was read already.
    pub(super) first: Option<Batch>,
    /// Whether there is nothing to read after that.
    pub(super) is_bounded: bool,
    /// Whether the place is kept also when all of it is done.
    pub(super) saves_end: bool,
    pub(super) saver: Option<&'f dyn Saver>,
}

enum Event {
    Read(Box<Result<(Option<Batch>, Position), StopReason>>),
    Stepped(u64, Done),
    Saved(ObjectKey, Result<(), Error>),
    Refreshed(Result<(), StopReason>),
    Stop,
}

type Events<'f> = FuturesUnordered<Pin<Box<dyn Future<Output = Event> + Send + 'f>>>;

/// Objects that follow each other, and how many of them are not done.
struct Mark {
    last: ObjectKey,
    left: usize,
}

struct Sweep<'f, 'w> {
    work: &'f Work<'w>,
    saver: Option<&'f dyn Saver>,
    events: Events<'f>,
    queue: VecDeque<(u64, StoredObject)>,
    /// What is being read is not here.
    position: Option<Position>,
    is_at_end: bool,
    is_reading: bool,
    running: usize,
    marks: VecDeque<Mark>,
    /// The number of the first mark.
    first_mark: u64,
    cursor: Option<ObjectKey>,
    saved: Option<ObjectKey>,
    is_saving: bool,
    next_save: Tick,
    /// When saving began to fail. It does not wait: the next save is the next attempt.
    unsaved_since: Option<Tick>,
    stop: Option<StopReason>,
}

/// Goes through a field. Ends when all of it is done, or with the reason why not; whatever was
/// begun is ended first.
pub(super) async fn sweep<'f, 's: 'f>(
    work: &'f Work<'_>,
    field: Field<'f>,
    ledger: &mut Ledger,
    stop: StopSignal<'s>,
    progress: &mut OnProgress<'_>,
) -> Result<(), StopReason> {
    let mut sweep = Sweep {
        work,
        saver: field.saver,
        events: FuturesUnordered::new(),
        queue: VecDeque::new(),
        position: (!field.is_bounded).then_some(field.from),
        is_at_end: field.is_bounded,
        is_reading: false,
        running: 0,
        marks: VecDeque::new(),
        first_mark: 0,
        cursor: None,
        saved: None,
        is_saving: false,
        next_save: work.clock.now(),
        unsaved_since: None,
        stop: None,
    };
    if let Some(batch) = field.first {
        sweep.enqueue(batch, ledger);
    }
    sweep.events.push(Box::pin(stop.map(|()| Event::Stop)));
    sweep.schedule_refresh(REFRESH_EVERY);
    loop {
        sweep.feed();
        sweep.save(ledger.counts);
        if sweep.is_done() {
            break;
        }
        let Some(event) = sweep.events.next().await else {
            break;
        };
        sweep.hear(event, ledger);
        let now = work.clock.now();
        if let Some(shown) = ledger.pace.progress(now, ledger.done, ledger.counts) {
            progress(&shown);
        }
    }
    progress(
        &ledger
            .pace
            .last(work.clock.now(), ledger.done, ledger.counts),
    );
    let last = if sweep.stop.is_some() || field.saves_end {
        sweep.save_now(ledger.counts).await
    } else {
        Ok(())
    };
    match sweep.stop {
        Some(reason) => Err(reason),
        None => last.map_err(StopReason::Checkpoint),
    }
}

/// How many objects the cursor passes at once.
const OBJECTS_OF_MARK: usize = 50;
/// As kube-apiserver has it.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
const REFRESH_AGAIN: Duration = Duration::from_secs(10);

impl<'f, 'w> Sweep<'f, 'w> {
    /// Begins what can be begun.
    fn feed(&mut self) {
        if self.stop.is_some() {
            return;
        }
        let work = self.work;
        let most = work.options.concurrency.max(1);
        if !self.is_at_end
            && self.queue.len() < most.saturating_mul(2)
            && let Some(position) = self.position.take()
        {
            self.is_reading = true;
            self.events.push(Box::pin(async move {
                Event::Read(Box::new(position.next(work).await))
            }));
        }
        while self.running < most
            && let Some((mark, object)) = self.queue.pop_front()
        {
            self.running = self.running.saturating_add(1);
            self.events.push(Box::pin(async move {
                Event::Stepped(mark, step(work, object).await)
            }));
        }
    }

    fn is_done(&self) -> bool {
        if self.running > 0 || self.is_saving {
            return false;
        }
        self.stop.is_some() || (self.is_at_end && !self.is_reading && self.queue.is_empty())
    }

    fn hear(&mut self, event: Event, ledger: &mut Ledger) {
        match event {
            Event::Read(read) => {
                self.is_reading = false;
                match *read {
                    Ok((Some(batch), position)) => {
                        self.position = Some(position);
                        self.enqueue(batch, ledger);
                    }
                    Ok((None, _)) => self.is_at_end = true,
                    Err(reason) => self.stop_for(reason),
                }
            }
            Event::Stepped(mark, done) => self.step_done(mark, done, ledger),
            Event::Saved(cursor, saved) => self.save_done(cursor, saved),
            Event::Refreshed(Ok(())) => self.schedule_refresh(REFRESH_EVERY),
            Event::Refreshed(Err(StopReason::Kms(error))) if error.is_retryable() => {
                // What was known is good for a while, and those who need more wait for it.
                self.schedule_refresh(REFRESH_AGAIN);
            }
            Event::Refreshed(Err(reason)) => self.stop_for(reason),
            Event::Stop => self.stop_for(StopReason::Asked),
        }
    }

    fn enqueue(&mut self, batch: Batch, ledger: &mut Ledger) {
        // What is not of the scope is done already.
        let skipped = batch.scanned.saturating_sub(batch.objects.len() as u64);
        ledger.count_scanned(skipped);
        let mut objects = batch.objects.into_iter().peekable();
        while objects.peek().is_some() {
            let number = self.first_mark.saturating_add(self.marks.len() as u64);
            let together: Vec<_> = objects.by_ref().take(OBJECTS_OF_MARK).collect();
            let last = together.last().filter(|_| objects.peek().is_some());
            self.marks.push_back(Mark {
                last: last.map_or_else(|| batch.last.clone(), |object| object.key.clone()),
                left: together.len(),
            });
            self.queue
                .extend(together.into_iter().map(|object| (number, object)));
        }
        if self.marks.is_empty() {
            self.cursor = Some(batch.last);
        }
        self.advance();
    }

    fn step_done(&mut self, mark: u64, done: Done, ledger: &mut Ledger) {
        self.running = self.running.saturating_sub(1);
        match done.outcome {
            // No verdict: the cursor must not pass it.
            Outcome::Stop(reason) => return self.stop_for(reason),
            Outcome::Interrupted => return self.stop_for(StopReason::Asked),
            outcome => ledger.count(outcome, done.conflicts),
        }
        let index = usize::try_from(mark.saturating_sub(self.first_mark)).ok();
        if let Some(mark) = index.and_then(|index| self.marks.get_mut(index)) {
            mark.left = mark.left.saturating_sub(1);
        }
        self.advance();
    }

    /// Moves the cursor behind all that is done without a gap.
    fn advance(&mut self) {
        while self.marks.front().is_some_and(|mark| mark.left == 0) {
            self.cursor = self.marks.pop_front().map(|mark| mark.last);
            self.first_mark = self.first_mark.saturating_add(1);
        }
    }

    fn stop_for(&mut self, reason: StopReason) {
        self.work.stop();
        self.queue.clear();
        // The first reason is the cause, unless it was only asked to.
        if self.stop.is_none() {
            self.stop = Some(reason);
        }
    }

    /// Begins to keep the place, if it is another and time to do so.
    fn save(&mut self, counts: MigrationCounts) {
        let (Some(saver), Some(cursor)) = (self.saver, &self.cursor) else {
            return;
        };
        let now = self.work.clock.now();
        // Once it stops, the place is kept in the end, once.
        let is_due = now >= self.next_save && self.saved.as_ref() != Some(cursor);
        if self.stop.is_some() || self.is_saving || !is_due {
            return;
        }
        self.is_saving = true;
        self.next_save = now + self.work.options.checkpoint_interval;
        let cursor = cursor.clone();
        self.events.push(Box::pin(async move {
            let saved = saver.save(&cursor, &counts).await;
            Event::Saved(cursor, saved)
        }));
    }

    fn save_done(&mut self, cursor: ObjectKey, saved: Result<(), Error>) {
        self.is_saving = false;
        match saved {
            Ok(()) => {
                self.saved = Some(cursor);
                self.unsaved_since = None;
            }
            Err(error) => {
                let now = self.work.clock.now();
                let since = *self.unsaved_since.get_or_insert(now);
                if !error.is_retryable() || now.since(since) >= self.work.options.patience {
                    self.stop_for(StopReason::Checkpoint(error));
                }
            }
        }
    }

    /// Keeps the place where it ended.
    ///
    /// The future holds nothing of what is under way, so that it can be sent to another thread.
    fn save_now(
        &self,
        counts: MigrationCounts,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<'f, 'w> {
        let (work, saver, cursor) = (self.work, self.saver, self.cursor.clone());
        async move {
            let (Some(saver), Some(cursor)) = (saver, cursor) else {
                return Ok(());
            };
            patiently!(work, saver.save(&cursor, &counts))
        }
    }

    fn schedule_refresh(&self, after: Duration) {
        let work = self.work;
        self.events.push(Box::pin(async move {
            let until = work.clock.now() + after;
            work.clock.sleep_until(until).await;
            Event::Refreshed(work.refresh().await)
        }));
    }
}

impl Ledger {
    pub(super) fn new(counts: MigrationCounts, pace: Pace) -> Self {
        Self {
            counts,
            remaining: RemainingList::default(),
            is_repeated: false,
            done: counts.scanned,
            pace,
        }
    }

    fn count_scanned(&mut self, keys: u64) {
        self.done = self.done.saturating_add(keys);
        if !self.is_repeated {
            self.counts.scanned = self.counts.scanned.saturating_add(keys);
        }
    }

    fn count(&mut self, outcome: Outcome, conflicts: u32) {
        self.count_scanned(1);
        let counts = &mut self.counts;
        let add = |to: &mut u64| *to = to.saturating_add(1);
        counts.conflicts = counts.conflicts.saturating_add(conflicts.into());
        // What a later pass finds right was counted when it became so.
        let is_first = !self.is_repeated;
        match outcome {
            Outcome::OutOfScope | Outcome::Stop(_) | Outcome::Interrupted => return,
            Outcome::Right if is_first => add(&mut counts.right),
            Outcome::Right => {}
            Outcome::Rewritten { from_clear } => {
                add(&mut counts.rewritten);
                if from_clear {
                    add(&mut counts.rewritten_from_clear);
                }
            }
            Outcome::ByOther => add(&mut counts.by_others),
            Outcome::WouldRewrite => add(&mut counts.would_rewrite),
            Outcome::Gone if is_first => add(&mut counts.gone),
            Outcome::Gone => {}
            Outcome::Left(remaining) => {
                if is_first {
                    add(&mut counts.left);
                }
                self.remaining.push(*remaining);
            }
        }
        if is_first {
            add(&mut counts.objects);
        }
    }
}
