//! A driver that does one thing at a time, over a store of a few objects.

use std::time::{Duration, SystemTime};

use kms_core::object::Revision;
use kms_core::{KeyId, KeyState};
use kms_envelope::reencrypt::Evidence;
use kms_envelope::rotation::{
    Activity, Alert, Effect, Event, Expectation, KeyPhase, Observation, ObservedKey, Policy,
    Refusal, Remaining, Stage, Start, State, Step, Target, TaskId, step,
};

use super::evidence::{self, Stored};
use super::{CLUSTER, enabled, id, provider, start};

pub(super) struct Hand {
    pub(super) state: State,
    pub(super) now: SystemTime,
    pub(super) objects: Vec<Stored>,
    pub(super) revision: u64,
    /// What the last step gave out.
    pub(super) given: Vec<Effect>,
}

impl Hand {
    pub(super) fn new(start_with: Start, policy: Policy, objects: &[Stored]) -> Self {
        Self {
            state: State::new(CLUSTER, start_with, policy, start()).unwrap(),
            now: start(),
            objects: objects.to_vec(),
            revision: 100,
            given: Vec::new(),
        }
    }

    /// Three plain objects.
    pub(super) fn plain() -> Self {
        let objects = [Stored::Plain, Stored::Plain, Stored::Plain];
        Self::new(Start::Plain, Policy::default(), &objects)
    }

    /// Three objects under the first key of the provider `a`, all settled.
    pub(super) fn on_first_key(policy: Policy) -> Self {
        let key = enabled("a1").with_active_at(start() - Duration::from_secs(90_000));
        let start_with = Start::Key {
            provider: provider("a"),
            key,
        };
        let mut hand = Self::new(start_with, policy, &vec![Stored::Under("a1".into()); 3]);
        hand.finish();
        assert!(hand.state.is_settled());
        hand
    }

    /// Takes one step, and checks what is true of every step.
    pub(super) fn step(&mut self, event: &Event) -> Step {
        let taken = step(&self.state, event, self.now);
        assert_eq!(taken, step(&self.state, event, self.now), "it is pure");
        let text = taken.state.to_json().unwrap();
        assert_eq!(State::from_json(&text).unwrap(), taken.state, "{text}");
        let changed = taken.state != self.state;
        assert_eq!(taken.effects.first() == Some(&Effect::Persist), changed);
        let persists = taken.effects.iter().filter(|it| **it == Effect::Persist);
        assert_eq!(persists.count(), usize::from(changed));
        self.state = taken.state.clone();
        self.given.clone_from(&taken.effects);
        taken
    }

    pub(super) fn tell(&mut self, event: Event) {
        let refusal = self.step(&event).refusal;
        assert_eq!(refusal, None, "{event:?}");
    }

    pub(super) fn refused(&mut self, event: Event) -> Refusal {
        let refusal = self.step(&event).refusal.expect("it is refused");
        assert!(!refusal.remedy().is_empty() && !refusal.to_string().is_empty());
        refusal
    }

    pub(super) fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.tell(Event::Tick);
    }

    /// A look at the provider `a` that shows these versions, the last being current.
    pub(super) fn observe(&mut self, keys: Vec<ObservedKey>) {
        let current = keys
            .iter()
            .rfind(|key| key.active_at.is_some_and(|at| at <= self.now));
        let current = current.map(|key| key.id.clone());
        let seen = Observation::new(provider("a"), keys).with_current(current);
        self.tell(Event::Observed(seen));
    }

    /// The next version of the provider `a` is made, is due in eleven minutes, and becomes active.
    pub(super) fn rotate_to(&mut self, name: &str) {
        let delay = self.state.policy().activation_delay;
        let next = enabled(name).with_active_at(self.now + delay);
        let seen = Observation::new(provider("a"), vec![next]).with_complete(false);
        self.tell(Event::Observed(seen));
        assert_eq!(self.phase(name), KeyPhase::Pending);
        self.wait(delay);
        assert_eq!(self.phase(name), KeyPhase::Active);
    }

    pub(super) fn task(&self, is_meant: impl Fn(&Effect) -> bool) -> Option<TaskId> {
        let effects = self.state.outstanding();
        effects.iter().find(|effect| is_meant(effect))?.task()
    }

    pub(super) fn expectation(&self) -> Option<Expectation> {
        self.state
            .outstanding()
            .iter()
            .find_map(|effect| match effect {
                Effect::CheckConvergence { expectation, .. } => Some(expectation.clone()),
                _ => None,
            })
    }

    /// Answers one thing that is asked for, as a world without faults would; else waits for the
    /// next thing that is due. Says whether there was anything.
    pub(super) fn answer_one(&mut self) -> bool {
        let effects = self.state.outstanding();
        for effect in &effects {
            let event = match effect {
                Effect::CheckConvergence { task, .. } => Event::Converged {
                    task: *task,
                    revision: Revision::new(self.revision),
                },
                Effect::Migrate { task, target, .. } => {
                    self.migrate(target);
                    Event::Migrated { task: *task }
                }
                Effect::Verify { task, target, .. } => Event::Verified {
                    task: *task,
                    evidence: self.evidence(),
                    remaining: self.remaining(target),
                },
                _ => continue,
            };
            self.tell(event);
            return true;
        }
        if self.state.activity() == Activity::Idle && self.state.change_activity() == Activity::Idle
        {
            return false;
        }
        let wake = effects.iter().find_map(|effect| match effect {
            Effect::WakeAt(at) => Some(*at),
            _ => None,
        });
        let wake = wake.expect("something is due");
        self.now = self.now.max(wake);
        self.tell(Event::Tick);
        true
    }

    /// Answers until nothing is asked for.
    pub(super) fn finish(&mut self) {
        for _ in 0..100 {
            if !self.answer_one() {
                return;
            }
        }
        panic!("it does not come to an end: {:?}", self.state);
    }

    /// Answers until this is what is done.
    pub(super) fn finish_until(&mut self, activity: Activity) {
        while self.state.activity() != activity {
            assert!(self.answer_one(), "it never came to {activity:?}");
        }
    }

    fn migrate(&mut self, target: &Target) {
        let to = match target.key() {
            Some(key) => Stored::Under(key.to_string()),
            None => Stored::Plain,
        };
        for object in &mut self.objects {
            if *object != Stored::Damaged && *object != to {
                *object = to.clone();
                self.revision += 1;
            }
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        evidence::evidence(&self.objects, self.revision, self.now)
    }

    pub(super) fn remaining(&self, target: &Target) -> Remaining {
        let is_off = |object: &&Stored| match object {
            Stored::Plain => target.key().is_some(),
            Stored::Under(key) => target.key().is_none_or(|to| to.as_str() != key),
            Stored::KmsV1 => true,
            Stored::Damaged => false,
        };
        let count = |is_meant: &dyn Fn(&&Stored) -> bool| {
            self.objects.iter().filter(is_meant).count() as u64
        };
        Remaining::new(
            count(&is_off),
            count(&|object| **object == Stored::KmsV1),
            count(&|object| **object == Stored::Damaged),
        )
    }

    pub(super) fn retire(&self, name: &str) -> Event {
        Event::Retire {
            key: id(name),
            evidence: self.evidence(),
        }
    }

    pub(super) fn phase(&self, name: &str) -> KeyPhase {
        self.state.key(&id(name)).expect("the key is known").phase()
    }

    pub(super) fn stage(&self, name: &str) -> Stage {
        self.state.key(&id(name)).expect("the key is known").stage()
    }

    /// The provider `a` says of this version that it is in another state now.
    pub(super) fn turn(&mut self, name: &str, state: KeyState) {
        let key = ObservedKey::new(id(name), state);
        let seen = Observation::new(provider("a"), vec![key]).with_complete(false);
        self.tell(Event::Observed(seen));
    }

    pub(super) fn alerts(&self) -> Vec<&'static str> {
        let alerts = self.state.alerts();
        alerts.iter().for_each(|alert| {
            assert!(!alert.remedy().is_empty() && !alert.to_string().is_empty());
        });
        alerts.iter().map(Alert::code).collect()
    }

    pub(super) fn permits(&self) -> Vec<KeyId> {
        let effects = self.state.outstanding();
        let permits = effects.into_iter().filter_map(|effect| match effect {
            Effect::PermitDeletion { key, .. } => Some(key),
            _ => None,
        });
        permits.collect()
    }
}
