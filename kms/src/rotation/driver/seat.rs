//! One driver at a time: who drives, and how another one knows.
//!
//! There is no lock. Whoever drives writes a note of itself into the store, and a greater number
//! into that note at least every [`beat`](super::DriverOptions::beat). Another driver looks on; when
//! the version has stood still for [`takeover`](super::DriverOptions::takeover) by its own clock, it
//! puts its own note there. So no two clocks are ever compared. What keeps the state right is
//! compare-and-swap alone: a driver that was taken over from without knowing finds its next swap
//! lost, and lets go. All that it did meanwhile may be done twice.

use core::time::Duration;

use kms_core::state::{StateSwap, StateVersion, VersionedState};
use kms_core::{CallOptions, Error, ErrorKind, Tick};
use kms_envelope::rotation::State;

use super::Driver;
use super::stop::{Stop, StopSignal};
use crate::Failure;
use crate::rotation::record::DriverId;
use crate::rotation::{Doubt, DriverNote, News, RotationRecord, Until};

/// How long to wait before a store that fails is asked again: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// How often a store that fails is asked by a driver that does not wait.
const TRIES: u32 = 3;

/// The right to drive, until somebody else takes it.
pub(super) struct Seat<'d> {
    driver: &'d Driver,
    note: DriverNote,
    version: StateVersion,
    state: State,
    /// When the store last confirmed that this driver drives.
    confirmed: Tick,
}

/// What became of the attempt to drive.
pub(super) enum Taken<'d> {
    Seat(Box<Seat<'d>>),
    Yielded(DriverNote),
    Asked,
    Doubt(Doubt),
}

/// What became of a write.
pub(super) enum Put {
    Done,
    /// Not this: an operator's command has written another state under this driver's note. The seat
    /// holds that one now.
    Overtaken,
    /// Somebody else drives.
    Lost(Option<DriverNote>),
    Asked,
    Doubt(Doubt),
}

/// What is in the store.
enum Found {
    Nothing,
    Record(StateVersion, Box<RotationRecord>),
}

impl<'d> Seat<'d> {
    /// Waits for the right to drive.
    pub(super) async fn take(
        driver: &'d Driver,
        stop: &mut StopSignal<'_>,
        news: &mut (impl FnMut(&News) + Send),
    ) -> Result<Taken<'d>, Failure> {
        let clock = &*driver.clock;
        let id = DriverId::random(&*driver.random)?;
        let note = DriverNote::new(id, &driver.options.name);
        // Who was seen to drive, at which version, and since when that has stood still.
        let mut watched: Option<(StateVersion, Tick)> = None;
        let mut last: Option<StateVersion> = None;
        loop {
            let Ok(found) = driver.look(stop, news).await? else {
                return Ok(Taken::Asked);
            };
            let (expected, state, after, new) = match found {
                Found::Nothing if last.is_some() => return Ok(Taken::Doubt(Doubt::StateGone)),
                Found::Nothing => {
                    let Ok(begun) = stop.or(driver.begin()).await else {
                        return Ok(Taken::Asked);
                    };
                    (None, begun?, None, true)
                }
                Found::Record(version, record) => {
                    if let Some(before) = last.filter(|before| *before > version) {
                        return Ok(Taken::Doubt(Doubt::went_back(before, version)));
                    }
                    last = Some(version);
                    let stands_still_since = match watched {
                        Some((seen, since)) if seen == version => since,
                        _ => clock.now(),
                    };
                    if let Some(other) = &record.driver {
                        let is_alive = watched.is_some_and(|(seen, _)| seen != version);
                        if is_alive && driver.options.until != Until::Asked {
                            return Ok(Taken::Yielded(other.clone()));
                        }
                        if watched.is_none() {
                            news(&News::Waiting {
                                driver: other.clone(),
                            });
                        }
                        watched = Some((version, stands_still_since));
                        if clock.now().since(stands_still_since) < driver.options.takeover {
                            let next = clock.now() + driver.options.beat();
                            if stop.sleep_until(clock, next).await == Err(Stop) {
                                return Ok(Taken::Asked);
                            }
                            continue;
                        }
                    }
                    match stop.or(driver.other_cluster(&record.state)).await {
                        Ok(None) => {}
                        Ok(Some(doubt)) => return Ok(Taken::Doubt(doubt)),
                        Err(Stop) => return Ok(Taken::Asked),
                    }
                    let state = record.state.with_policy(driver.options.policy)?;
                    (Some(version), state, record.driver, false)
                }
            };
            let mut seat = Self {
                driver,
                note: note.clone(),
                version: expected.unwrap_or(StateVersion::new(0)),
                state: state.clone(),
                confirmed: clock.now(),
            };
            match seat.write(expected, state, stop, news).await? {
                Put::Done => {
                    news(&News::Driving { after, new });
                    return Ok(Taken::Seat(Box::new(seat)));
                }
                // Another was first: look again.
                Put::Lost(_) | Put::Overtaken => {}
                Put::Asked => return Ok(Taken::Asked),
                Put::Doubt(doubt) => return Ok(Taken::Doubt(doubt)),
            }
        }
    }

    /// Where the rotation is.
    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// When to give the next sign of life.
    pub(super) fn next_beat(&self) -> Tick {
        self.confirmed + self.driver.options.beat()
    }

    /// Puts a state into the store. Returns when it is there, or never will be.
    pub(super) async fn put(
        &mut self,
        state: State,
        stop: &mut StopSignal<'_>,
        news: &mut (impl FnMut(&News) + Send),
    ) -> Result<Put, Failure> {
        self.write(Some(self.version), state, stop, news).await
    }

    /// Gives a sign of life.
    pub(super) async fn beat(
        &mut self,
        stop: &mut StopSignal<'_>,
        news: &mut (impl FnMut(&News) + Send),
    ) -> Result<Put, Failure> {
        self.put(self.state.clone(), stop, news).await
    }

    /// Leaves in order, so that the next driver need not wait. If that fails it has to.
    pub(super) async fn leave(self) {
        let record = RotationRecord::new(None, self.state.clone());
        let Ok(bytes) = record.to_bytes() else {
            return;
        };
        // The next driver finds out by itself.
        let _ = self.driver.swap(Some(self.version), &bytes).await;
    }

    async fn write(
        &mut self,
        expected: Option<StateVersion>,
        state: State,
        stop: &mut StopSignal<'_>,
        news: &mut (impl FnMut(&News) + Send),
    ) -> Result<Put, Failure> {
        let clock = &*self.driver.clock;
        let note = self.note.next();
        let record = RotationRecord::new(Some(note.clone()), state);
        let bytes = record.to_bytes()?;
        let mut trouble = Trouble::default();
        let version = loop {
            let began = clock.now();
            let Ok(swapped) = stop.or(self.driver.swap(expected, &bytes)).await else {
                return Ok(Put::Asked);
            };
            let changed = match swapped {
                Ok(StateSwap::Swapped { version }) => {
                    self.confirmed = began;
                    break version;
                }
                Ok(StateSwap::Changed { .. }) => true,
                Err(error) if self.driver.gives_up(&trouble, &error) => {
                    return Err(Failure::from(error).at(&self.driver.store));
                }
                Err(error) => {
                    trouble.is(error, news);
                    false
                }
            };
            if changed {
                // Somebody else's write, or an earlier one of ours of which the answer was lost.
                let Ok(found) = self.driver.look(stop, news).await? else {
                    return Ok(Put::Asked);
                };
                match found {
                    Found::Nothing => return Ok(Put::Doubt(Doubt::StateGone)),
                    Found::Record(version, _) if expected.is_some_and(|it| version < it) => {
                        return Ok(Put::Doubt(Doubt::went_back(self.version, version)));
                    }
                    Found::Record(version, found) if *found == record => {
                        self.confirmed = began;
                        break version;
                    }
                    Found::Record(version, found) if found.driver.as_ref() == Some(&self.note) => {
                        trouble.is_over(news);
                        self.confirmed = began;
                        self.version = version;
                        self.state = found.state.with_policy(self.driver.options.policy)?;
                        return Ok(Put::Overtaken);
                    }
                    Found::Record(_, found) => {
                        trouble.is_over(news);
                        return Ok(Put::Lost(found.driver));
                    }
                }
            }
            let again = clock.now() + trouble.pause();
            if stop.sleep_until(clock, again).await == Err(Stop) {
                return Ok(Put::Asked);
            }
        };
        trouble.is_over(news);
        self.note = note;
        self.version = version;
        self.state = record.state;
        Ok(Put::Done)
    }
}

impl Driver {
    fn call(&self) -> CallOptions {
        CallOptions::default().with_deadline(self.clock.now() + self.options.call_timeout)
    }

    async fn swap(&self, expected: Option<StateVersion>, bytes: &[u8]) -> Result<StateSwap, Error> {
        let call = self.call();
        self.in_time(self.store.swap(expected, bytes, &call)).await
    }

    /// Whether a store that fails like this is not asked again.
    fn gives_up(&self, trouble: &Trouble, error: &Error) -> bool {
        let is_last = trouble.failures.saturating_add(1) >= TRIES;
        is_final(error) || (is_last && self.options.until == Until::NothingToDo)
    }

    /// An answer in time, or an error that leaves open what happened.
    pub(super) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let deadline = self.clock.now() + self.options.call_timeout;
        tokio::select! {
            biased;
            answer = call => answer,
            () = self.clock.sleep_until(deadline) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                "no answer in time",
            )),
        }
    }

    /// Reads the store, for as long as it takes to get an answer.
    async fn look(
        &self,
        stop: &mut StopSignal<'_>,
        news: &mut (impl FnMut(&News) + Send),
    ) -> Result<Result<Found, Stop>, Failure> {
        let clock = &*self.clock;
        let mut trouble = Trouble::default();
        loop {
            let call = self.call();
            let Ok(loaded) = stop.or(self.in_time(self.store.load(&call))).await else {
                return Ok(Err(Stop));
            };
            match loaded {
                Ok(found) => {
                    trouble.is_over(news);
                    return self.read(found).map(Ok);
                }
                Err(error) if self.gives_up(&trouble, &error) => {
                    return Err(Failure::from(error).at(&self.store));
                }
                Err(error) => trouble.is(error, news),
            }
            let again = clock.now() + trouble.pause();
            if stop.sleep_until(clock, again).await == Err(Stop) {
                return Ok(Err(Stop));
            }
        }
    }

    fn read(&self, found: Option<VersionedState>) -> Result<Found, Failure> {
        let Some(found) = found else {
            return Ok(Found::Nothing);
        };
        let record =
            RotationRecord::from_bytes(&found.bytes).map_err(|failure| failure.at(&self.store))?;
        Ok(Found::Record(found.version, Box::new(record)))
    }
}

/// Whether no repetition helps.
fn is_final(error: &Error) -> bool {
    // A disk that is full may have room again, and after that error nobody knows what happened.
    !error.is_retryable() && error.kind() != ErrorKind::Io
}

/// A store that fails: told once, and asked again after ever longer pauses.
#[derive(Default)]
struct Trouble {
    failures: u32,
    advice: Option<Duration>,
}

impl Trouble {
    fn is(&mut self, error: Error, news: &mut (impl FnMut(&News) + Send)) {
        self.advice = error.retry_after();
        if self.failures == 0 {
            news(&News::StoreFails(error.into()));
        }
        self.failures = self.failures.saturating_add(1);
    }

    fn is_over(&self, news: &mut (impl FnMut(&News) + Send)) {
        if self.failures > 0 {
            news(&News::StoreAnswers);
        }
    }

    fn pause(&self) -> Duration {
        let [first, longest] = PAUSES;
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1));
        let own = first.saturating_mul(doubled);
        own.max(self.advice.unwrap_or_default()).min(longest)
    }
}
