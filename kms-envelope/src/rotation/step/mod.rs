//! The one function that changes a state.

mod activate;
mod advance;
mod change;
mod compromise;
mod converge;
mod migrate;
mod observe;
mod prepare;
mod retire;
mod tidy;
mod verify;

use std::time::SystemTime;

use super::moment::Moment;
use super::{Alert, Effect, Event, Refusal, State, TaskId};

/// What a step came to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "a step changes nothing by itself: its effects have to be carried out"]
#[non_exhaustive]
pub struct Step {
    /// The state afterwards.
    pub state: State,
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
    /// Why the request was refused, if the event was one and it was. The state may have changed all
    /// the same: time has passed, and refused evidence may have shown a reference.
    pub refusal: Option<Refusal>,
}

/// Takes in one event. Pure: the same state, event and time always give the same step.
///
/// `now` is wall time. If it goes back, what has happened stays.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use kms_core::KeyState;
/// use kms_envelope::rotation::{Change, Effect, Event, ObservedKey, Policy, Start, State, step};
///
/// let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
/// let state = State::new("cdf818194e3a8c32", Start::Plain, Policy::default(), now)?;
/// let key = ObservedKey::new("keys.example.com/etcd/1".parse()?, KeyState::Enabled);
/// let enable = Event::Change(Change::Enable { provider: "keys.example.com/etcd".parse()?, key });
///
/// let step = step(&state, &enable, now);
/// assert_eq!(step.refusal, None);
/// assert_eq!(step.effects[0], Effect::Persist);
/// // Everybody has to be able to read before anybody writes.
/// assert!(matches!(step.effects[1], Effect::AddReader { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn step(state: &State, event: &Event, now: SystemTime) -> Step {
    let mut turn = Turn::new(Moment::floor(now));
    let mut next = state.clone();
    let was_held = next.is_held();
    next.advance(&mut turn);
    let refusal = next.take(event, &mut turn).err();
    next.tidy(&turn);
    if was_held {
        next.resume(&turn);
    }
    let effects = turn.effects(state, &next, matches!(event, Event::Restarted));
    Step {
        state: next,
        effects,
        refusal,
    }
}

impl State {
    fn take(&mut self, event: &Event, turn: &mut Turn) -> Result<(), Refusal> {
        match event {
            Event::Observed(seen) => self.observed(seen, turn),
            Event::SeenLate { provider, key } => self.seen_late(provider, key, turn),
            Event::Change(change) => return self.change(change, turn),
            Event::Abandon => return self.abandon(turn),
            Event::Converged { task, revision } => self.converged(*task, *revision, turn),
            Event::Lagging { task, replicas } => self.found_lagging(*task, *replicas, turn),
            Event::Migrated { task } => self.migrated(*task, turn),
            Event::Verified {
                task,
                evidence,
                remaining,
            } => self.verified(*task, evidence, *remaining, turn),
            Event::Failed { task } => self.failed(*task, turn),
            Event::VerifyNow => self.hurry(turn),
            Event::Retire { key, evidence } => return self.retire(key, evidence, turn),
            Event::Compromised { key } => return self.compromised(key, turn),
            Event::Restarted | Event::Tick => {}
        }
        Ok(())
    }
}

/// One step while it is made.
struct Turn {
    now: Moment,
    /// What no state shows.
    alerts: Vec<Alert>,
    /// Tasks whose effects are given out again though they are not new.
    reissued: Vec<TaskId>,
}

impl Turn {
    const fn new(now: Moment) -> Self {
        Self {
            now,
            alerts: Vec::new(),
            reissued: Vec::new(),
        }
    }

    /// What is new in what is to be done, or all of it.
    fn effects(self, before: &State, after: &State, all: bool) -> Vec<Effect> {
        let known = if all {
            Vec::new()
        } else {
            before.outstanding()
        };
        let is_known = |effect: &Effect| {
            known.contains(effect)
                && !effect
                    .task()
                    .is_some_and(|task| self.reissued.contains(&task))
        };
        let persist = (before != after).then_some(Effect::Persist);
        let due = after.outstanding();
        persist
            .into_iter()
            .chain(due.into_iter().filter(|effect| !is_known(effect)))
            .chain(self.alerts.iter().cloned().map(Effect::Alert))
            .collect()
    }
}
