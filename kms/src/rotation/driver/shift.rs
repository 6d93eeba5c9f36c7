//! From taking the seat to leaving it.

use core::time::Duration;
use std::time::SystemTime;

use kms_core::Tick;
use kms_envelope::rotation::{Activity, Effect, Event, KeyRecord, Stage, State, step};

use super::Driver;
use super::seat::{Put, Seat};
use super::stop::StopSignal;
use super::work::{Ending, Work};
use crate::Failure;
use crate::rotation::{Doubt, DriverNote, News, Until, Verified};

/// The longest that a provider may ask to be left alone.
const LONGEST_ADVICE: Duration = Duration::from_secs(10 * 60);

/// One driver at work.
pub(super) struct Shift<'d> {
    driver: &'d Driver,
    seat: Seat<'d>,
    work: Work,
    /// When to look at the provider next.
    next_look: Tick,
    looked: bool,
    /// Whether it was told where the rotation is.
    introduced: bool,
    provider_fails: bool,
}

/// How it has ended.
pub(super) enum End {
    Asked,
    Done(Box<State>),
    Lost(Option<DriverNote>),
    Doubt(Doubt),
}

/// Whether to go on.
enum Flow {
    On,
    End(End),
}

impl<'d> Shift<'d> {
    pub(super) fn new(driver: &'d Driver, seat: Seat<'d>) -> Self {
        Self {
            work: Work::new(driver, seat.state().cluster_id()),
            next_look: driver.clock.now(),
            looked: false,
            introduced: false,
            provider_fails: false,
            driver,
            seat,
        }
    }

    pub(super) async fn run(
        mut self,
        stop: &mut StopSignal<'_>,
        news: &mut (impl FnMut(&News) + Send),
    ) -> Result<End, Failure> {
        let mut flow = self.take(Event::Restarted, stop, news).await?;
        loop {
            match flow {
                Flow::On => flow = self.turn(stop, news).await?,
                Flow::End(end) => {
                    // What is under way is stopped before anybody else may begin it.
                    drop(self.work);
                    if matches!(end, End::Asked | End::Done(_)) {
                        self.seat.leave().await;
                    }
                    return Ok(end);
                }
            }
        }
    }

    /// Waits for the next thing, and does what follows from it.
    async fn turn(
        &mut self,
        stop: &mut StopSignal<'_>,
        news: &mut (impl FnMut(&News) + Send),
    ) -> Result<Flow, Failure> {
        let clock = &*self.driver.clock;
        if clock.now() >= self.next_look && !self.work.is_looking() {
            self.next_look = clock.now() + self.driver.options.poll;
            self.work.look(self.driver);
        }
        if self.is_done() {
            return Ok(Flow::End(End::Done(Box::new(self.seat.state().clone()))));
        }
        let wake = self.wake();
        let ending = tokio::select! {
            biased;
            () = stop.received() => return Ok(Flow::End(End::Asked)),
            ending = self.work.next() => Some(ending),
            () = clock.sleep_until(wake) => None,
        };
        if let Some(progress) = self.work.take_progress() {
            news(&News::Progress(progress));
        }
        match ending {
            Some(ending) => self.ended(ending, stop, news).await,
            None => self.woken(stop, news).await,
        }
    }

    /// Whether it has done what it was to do before it ends by itself.
    fn is_done(&self) -> bool {
        let is_at_rest = self.looked && self.work.is_idle();
        match self.driver.options.until {
            Until::Asked => false,
            Until::NothingToDo => is_at_rest,
            Until::Settled => is_at_rest && self.seat.state().is_settled(),
        }
    }

    /// When to wake at the latest.
    fn wake(&self) -> Tick {
        let clock = &*self.driver.clock;
        let due = due(self.seat.state()).map(|due| {
            let left = due.duration_since(clock.wall_time()).unwrap_or_default();
            // A little later rather than a little earlier, or it would be in vain.
            clock.now() + left.saturating_add(Duration::from_millis(1))
        });
        let mut wake = self.seat.next_beat();
        if !self.work.is_looking() {
            wake = wake.min(self.next_look);
        }
        due.map_or(wake, |due| wake.min(due))
    }

    /// Something is due by the clock.
    async fn woken(
        &mut self,
        stop: &mut StopSignal<'_>,
        news: &mut (impl FnMut(&News) + Send),
    ) -> Result<Flow, Failure> {
        let clock = &*self.driver.clock;
        if due(self.seat.state()).is_some_and(|due| due <= clock.wall_time()) {
            return self.take(Event::Tick, stop, news).await;
        }
        if clock.now() < self.seat.next_beat() {
            return Ok(Flow::On);
        }
        let before = self.seat.state().clone();
        match self.seat.beat(stop, news).await? {
            Put::Done => Ok(Flow::On),
            Put::Overtaken => {
                tell(&before, self.seat.state(), false, news);
                self.take(Event::Restarted, stop, news).await
            }
            put => Ok(Flow::End(end_of(put))),
        }
    }

    /// Something that was under way has ended.
    async fn ended(
        &mut self,
        ending: Ending,
        stop: &mut StopSignal<'_>,
        news: &mut (impl FnMut(&News) + Send),
    ) -> Result<Flow, Failure> {
        let event = match ending {
            Ending::Looked(Ok(seen)) => {
                self.looked = true;
                if core::mem::take(&mut self.provider_fails) {
                    news(&News::ProviderAnswers);
                }
                Event::Observed(seen)
            }
            Ending::Looked(Err(error)) => {
                self.looked = true;
                if let Some(advice) = error.retry_after() {
                    let later = self.driver.clock.now() + advice.min(LONGEST_ADVICE);
                    self.next_look = self.next_look.max(later);
                }
                if !core::mem::replace(&mut self.provider_fails, true) {
                    news(&News::ProviderFails(error.into()));
                }
                return Ok(Flow::On);
            }
            Ending::Checked {
                expectation,
                found,
                event,
            } => {
                news(&News::Checked { expectation, found });
                *event
            }
            Ending::Migrated(task, summary) => {
                news(&News::Migrated(summary));
                Event::Migrated { task }
            }
            Ending::Verified(task, verified) => {
                let is_judged =
                    |key: &&KeyRecord| matches!(key.stage(), Stage::Previous | Stage::Retirable);
                let judged = self.seat.state().keys().iter().filter(is_judged);
                let objections = judged
                    .map(|key| (key.id().clone(), verified.evidence.objections(key.id())))
                    .collect();
                let event = Event::Verified {
                    task,
                    evidence: verified.evidence.clone(),
                    remaining: verified.remaining,
                };
                let stale = self.staleness(&verified);
                news(&News::Census {
                    objections,
                    verified,
                });
                if let Some(failure) = stale {
                    // The machine takes another one, and does not say why.
                    let activity = Activity::Verifying;
                    news(&News::Failed { activity, failure });
                }
                event
            }
            Ending::Failed(task, activity, failure) => {
                news(&News::Failed { activity, failure });
                Event::Failed { task }
            }
            Ending::Doubt(doubt) => return Ok(Flow::End(End::Doubt(doubt))),
        };
        self.take(event, stop, news).await
    }

    /// Why a census cannot be acted on, if it cannot.
    fn staleness(&self, verified: &Verified) -> Option<Failure> {
        let now = self.driver.clock.wall_time();
        let max_age = self.driver.options.policy.evidence_max_age;
        let stale = verified.evidence.staleness(now, max_age)?;
        Some(Failure::new(
            stale.code(),
            format!("the census is not acted on: {stale}"),
            stale.remedy(),
        ))
    }

    /// Lets the machine take in an event, and does what it says.
    async fn take(
        &mut self,
        mut event: Event,
        stop: &mut StopSignal<'_>,
        news: &mut (impl FnMut(&News) + Send),
    ) -> Result<Flow, Failure> {
        let before = self.seat.state().clone();
        let taken = loop {
            let at = self.seat.state();
            let taken = step(at, &event, self.driver.clock.wall_time());
            if taken.state == *at {
                break taken;
            }
            // None of the rest may be begun before this is in the store.
            let state = taken.state.clone();
            match self.seat.put(state, stop, news).await? {
                Put::Done => break taken,
                // What has just happened was judged by a state that is no more. All that is still to
                // be done is asked for again.
                Put::Overtaken => event = Event::Restarted,
                put => return Ok(Flow::End(end_of(put))),
            }
        };
        let is_first = !core::mem::replace(&mut self.introduced, true);
        tell(&before, self.seat.state(), is_first, news);
        if let Some(refusal) = taken.refusal {
            news(&News::Refused(refusal));
        }
        self.work.keep_only(&self.seat.state().outstanding());
        for effect in taken.effects {
            match effect {
                Effect::Persist | Effect::WakeAt(_) => {}
                Effect::Alert(alert) => news(&News::Alert(alert)),
                effect if self.work.begin(&effect) => {}
                effect => news(&News::Asked(effect)),
            }
        }
        Ok(Flow::On)
    }
}

/// How a shift ends that could not put its state into the store.
fn end_of(put: Put) -> End {
    match put {
        Put::Lost(to) => End::Lost(to),
        Put::Doubt(doubt) => End::Doubt(doubt),
        Put::Asked | Put::Done | Put::Overtaken => End::Asked,
    }
}

/// When the machine wants to be woken.
fn due(state: &State) -> Option<SystemTime> {
    let effects = state.outstanding();
    effects.iter().find_map(|effect| match effect {
        Effect::WakeAt(due) => Some(*due),
        _ => None,
    })
}

/// Tells what is different; all of it if nothing was told before.
fn tell(before: &State, after: &State, all: bool, news: &mut (impl FnMut(&News) + Send)) {
    for key in after.keys() {
        let from = before.key(key.id()).map(|key| key.stage());
        if all || from != Some(key.stage()) {
            news(&News::Key {
                id: key.id().clone(),
                from: from.filter(|from| *from != key.stage()),
                to: key.stage(),
            });
        }
    }
    let activities = [
        (before.activity(), after.activity()),
        (before.change_activity(), after.change_activity()),
    ];
    for (number, (before, activity)) in activities.into_iter().enumerate() {
        // That no change is being prepared is not worth a word at the beginning.
        let is_worth_it =
            activity != before || (all && (number == 0 || activity != Activity::Idle));
        if is_worth_it && (number == 0 || activity != Activity::Idle) {
            news(&News::Activity { activity });
        }
    }
    if after.is_settled() && (all || !before.is_settled()) {
        news(&News::Settled);
    }
}
