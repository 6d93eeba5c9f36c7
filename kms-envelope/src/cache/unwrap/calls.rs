//! What is behind the cache: the calls to the provider and what becomes of their answers.

use std::sync::Arc;

use kms_core::{CallOptions, Clock, Error, KeyProvider, SecretBytes, Tick, UnwrapOptions};

use super::entry::{Asked, Entry, Found, Question};
use super::refusals::Refusals;
use crate::cache::flying::by;
use crate::cache::options::{Phase, UnwrapCacheOptions, is_verdict};
use crate::cache::partition::{Place, Places};
use crate::cache::shelf::Shelf;
use crate::cache::stats::Counters;
use crate::cache::sync::{AtomicU64, Flight, Flights, Ordering};

/// Makes of an unwrapped DEK what is kept.
pub(super) type Prepare<T> = dyn Fn(SecretBytes) -> Result<T, Error> + Send + Sync;

pub(super) struct Inner<T> {
    pub(super) provider: Arc<dyn KeyProvider>,
    prepare: Box<Prepare<T>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: UnwrapCacheOptions,
    pub(super) places: Places,
    pub(super) entries: Shelf<Entry<T>>,
    pub(super) refusals: Refusals,
    pub(super) flights: Flights<Question, Arc<T>>,
    /// Goes up with every purge, so that no call from before one can enter its answer after it.
    epoch: AtomicU64,
    pub(super) counters: Counters,
}

impl<T: Send + Sync + 'static> Inner<T> {
    pub(super) fn new(
        provider: Arc<dyn KeyProvider>,
        clock: Arc<dyn Clock>,
        options: UnwrapCacheOptions,
        prepare: Box<Prepare<T>>,
    ) -> Self {
        Self {
            provider,
            prepare,
            clock,
            places: Places::new(),
            entries: Shelf::new(options.capacity, options.partitions),
            refusals: Refusals::new(options.remembered_errors, options.partitions),
            flights: Flights::new(),
            epoch: AtomicU64::new(0),
            counters: Counters::default(),
            options,
        }
    }

    pub(super) fn look(&self, place: Place, asked: &Asked<'_>) -> Option<Found<T>> {
        let now = self.clock.now();
        self.entries
            .hit(place, now, |entry| entry.serve(asked, &self.options, now))
    }

    /// Waits for a provider call, begun by us or by another.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        place: Place,
        asked: &Asked<'_>,
        call: &CallOptions,
    ) -> Result<Arc<T>, Error> {
        self.counters.misses.add();
        if let Some(error) = self.refusals.find(place, asked, self.clock.now()) {
            self.counters.negative_hits.add();
            return Err(error);
        }
        let flight = self.fly(place, asked, call, Phase::Due);
        let error = match by(&*self.clock, call.deadline, "unwrap", flight).await {
            Ok(dek) => return Ok(dek),
            Err(error) => error,
        };
        let now = self.clock.now();
        let old = self.entries.peek(place, |entry| {
            if !error.is_retryable() || !entry.stale(asked, &self.options, now) {
                return None;
            }
            // A call that hangs has no failure of its own to note: the next ones do not wait.
            entry.note_outage(now + self.options.retry_every);
            Some(entry.dek())
        });
        match old {
            Some(dek) => {
                self.counters.stale_served.add();
                Ok(dek)
            }
            None => Err(error),
        }
    }

    /// Joins the call that unwraps this, or begins it.
    pub(super) fn fly(
        self: &Arc<Self>,
        place: Place,
        asked: &Asked<'_>,
        call: &CallOptions,
        oldest: Phase,
    ) -> Flight<Arc<T>> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let mut began = false;
        let flight = self.flights.join(asked.to_question(epoch), |question| {
            // Another flight may have landed since we looked.
            let known = self.known(place, &question, oldest);
            began = known.is_none();
            let shared = call.clone();
            let inner = Arc::clone(self);
            async move {
                match known {
                    Some(answer) => answer,
                    None => inner.call(place, question, shared).await,
                }
            }
        });
        if !began {
            self.counters.coalesced.add();
        }
        flight
    }

    fn known(
        &self,
        place: Place,
        question: &Question,
        oldest: Phase,
    ) -> Option<Result<Arc<T>, Error>> {
        let now = self.clock.now();
        let asked = question.asked();
        let dek = self.entries.peek(place, |entry| {
            let phase = entry.phase(&self.options, now);
            let young = phase == Phase::Fresh || phase == oldest;
            (young && entry.is(&asked)).then(|| entry.dek())
        });
        match dek {
            Some(dek) => Some(Ok(dek)),
            None => self.refusals.find(place, &asked, now).map(Err),
        }
    }

    async fn call(
        &self,
        place: Place,
        question: Arc<Question>,
        mut call: CallOptions,
    ) -> Result<Arc<T>, Error> {
        self.counters.provider_calls.add();
        // Counted from when the provider was asked: a key that was disabled while the answer
        // was on its way is not served for longer than one that was disabled before.
        let asked_at = self.clock.now();
        let deadline = asked_at + self.options.call_limit;
        call.deadline = Some(deadline);
        let options = UnwrapOptions::default()
            .with_call(call)
            .with_context(question.context.clone());
        let unwrapping = self.provider.unwrap(&question.wrapped, &options);
        let unwrapped = by(&*self.clock, Some(deadline), "unwrap", unwrapping).await;
        match unwrapped.and_then(&self.prepare) {
            Ok(dek) => {
                let dek = Arc::new(dek);
                self.keep(place, &question, &dek, asked_at);
                Ok(dek)
            }
            Err(error) => {
                self.counters.provider_errors.add();
                self.note_failure(place, &question, &error);
                Err(error)
            }
        }
    }

    fn keep(&self, place: Place, question: &Question, dek: &Arc<T>, asked_at: Tick) {
        let now = self.clock.now();
        let epoch = question.epoch;
        let entry = Entry::new(&question.asked(), Arc::clone(dek), asked_at);
        self.entries.insert(place, entry, now, || {
            !self.options.keep_for.is_zero() && self.epoch.load(Ordering::Acquire) == epoch
        });
    }

    fn note_failure(&self, place: Place, question: &Question, error: &Error) {
        let now = self.clock.now();
        let asked = question.asked();
        if error.is_retryable() {
            let until = now + self.options.retry_every;
            self.entries.peek(place, |entry| {
                entry.is(&asked).then(|| entry.note_outage(until))
            });
        }
        let verdict = is_verdict(error.kind());
        self.entries.remove_if(place, |entry| {
            entry.is(&asked) && (verdict || entry.phase(&self.options, now) == Phase::Over)
        });
        if !error.is_retryable() {
            let until = now + self.options.remember_errors_for;
            self.refusals
                .remember(place, &asked, error, now, until, || {
                    self.epoch.load(Ordering::Acquire) == question.epoch
                });
        }
    }

    pub(super) fn purge(&self, out: impl Fn(u64, &Entry<T>) -> bool) {
        // Before, so that nothing that was asked for earlier is entered; and after, so that nobody
        // joins a flight that saw what is on its way out.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.entries
            .retain(|partition, entry| !out(partition, entry));
        self.epoch.fetch_add(1, Ordering::AcqRel);
        // What was refused may be allowed now; to ask once more costs little.
        self.refusals.clear();
    }
}
