//! What has to be done, by the state alone.
//!
//! Everything that a driver is asked to do follows from the state, so nothing is lost by losing an
//! effect: after a restart the same state asks for the same things.

use super::moment::Moment;
use super::state::{Changing, Work};
use super::{Activity, Alert, Effect, Expectation, KeyRecord, Retention, Stage, State, Target};

/// Failures after which an operator should know.
const MANY_FAILURES: u32 = 3;

impl State {
    /// All that is to be done now: what a driver that knows of nothing has to begin.
    ///
    /// [`step`](super::step) gives out what is new in it. [`Effect::Persist`] is not in it, since
    /// this is what has been stored.
    #[must_use]
    pub fn outstanding(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.about_compromised_keys(&mut effects);
        self.about_the_change(&mut effects);
        self.about_the_work(&mut effects);
        self.about_providers(&mut effects);
        self.about_deletion(&mut effects);
        effects.extend(self.alerts().into_iter().map(Effect::Alert));
        effects.extend(self.next_due().map(|due| Effect::WakeAt(due.time())));
        effects
    }

    fn about_compromised_keys(&self, effects: &mut Vec<Effect>) {
        for key in self.keys.iter().filter(|key| key.compromised) {
            if key.stage == Stage::Active {
                effects.push(Effect::StopWrites {
                    key: key.id.clone(),
                });
            }
            if key.is_live() {
                effects.push(Effect::PurgeDeks {
                    key: key.id.clone(),
                });
            }
        }
    }

    fn about_the_change(&self, effects: &mut Vec<Effect>) {
        match &self.changing {
            Some(Changing::Version {
                task,
                provider,
                material,
                generation,
            }) if task.is_open() => effects.push(Effect::MakeVersion {
                task: task.id,
                provider: provider.clone(),
                material: material.clone(),
                generation: *generation,
            }),
            Some(Changing::Reader {
                task,
                target,
                ready: false,
                ..
            }) if task.is_open() => {
                effects.push(Effect::AddReader {
                    task: task.id,
                    target: target.clone(),
                });
                effects.push(Effect::CheckConvergence {
                    task: task.id,
                    expectation: Expectation::Reads(target.clone()),
                });
            }
            _ => {}
        }
    }

    fn about_the_work(&self, effects: &mut Vec<Effect>) {
        let Some(target) = self.target() else {
            return;
        };
        match &self.work {
            Work::Settling {
                task, reconfigure, ..
            } if task.is_open() => {
                // A compromised key is not brought to those who do not write with it yet.
                let is_safe = self.active().is_none_or(|key| !key.compromised);
                if *reconfigure && is_safe {
                    effects.push(Effect::SwitchWriter {
                        task: task.id,
                        target: target.clone(),
                    });
                }
                effects.push(Effect::CheckConvergence {
                    task: task.id,
                    expectation: Expectation::Writes(target),
                });
            }
            Work::Migrating { task, .. } if task.is_open() && self.can_write() => {
                effects.push(Effect::Migrate {
                    task: task.id,
                    target,
                    rewrite: self.rewrite(),
                    scope: self.scope(),
                });
            }
            Work::Verifying { task, .. } if task.is_open() => {
                let asked = self.keys.iter().filter(|key| key.is_judged());
                effects.push(Effect::Verify {
                    task: task.id,
                    target,
                    keys: asked.map(|key| key.id.clone()).collect(),
                });
            }
            _ => {}
        }
    }

    fn about_providers(&self, effects: &mut Vec<Effect>) {
        for provider in &self.providers {
            let Some(task) = provider.release.as_ref().filter(|task| task.is_open()) else {
                continue;
            };
            effects.push(Effect::DropReader {
                task: task.id,
                provider: provider.name.clone(),
            });
            effects.push(Effect::CheckConvergence {
                task: task.id,
                expectation: Expectation::Released(provider.name.clone()),
            });
        }
    }

    fn about_deletion(&self, effects: &mut Vec<Effect>) {
        for key in &self.keys {
            let is_there = key.health != kms_core::KeyState::Destroyed;
            if let Some(permit) = key.permit.filter(|_| is_there) {
                effects.push(Effect::PermitDeletion {
                    key: key.id.clone(),
                    permit,
                });
            }
        }
    }

    /// All that an operator should know now.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for key in &self.keys {
            self.about_key(key, &mut alerts);
        }
        if let Some(Changing::Reader {
            target: Target::Key { id, .. },
            ..
        }) = &self.changing
            && let Some(key) = self.key(id).filter(|key| !key.health.can_wrap())
        {
            alerts.push(Alert::TargetUnusable {
                key: id.clone(),
                state: key.health,
            });
        }
        let (_, live) = self.live_keys();
        if live > self.policy.max_live_keys {
            let instants = self.on_their_way().filter_map(|(_, key)| key.active_at);
            alerts.push(Alert::TooManyLiveKeys {
                live,
                max: self.policy.max_live_keys,
                next: instants.min().map(Moment::time),
            });
        }
        let replicas = self.lagging();
        if replicas > 0 {
            alerts.push(Alert::LaggingReplicas { replicas });
        }
        if self.remaining.unreadable > 0 {
            alerts.push(Alert::UnreadableObjects {
                objects: self.remaining.unreadable,
            });
        }
        alerts.extend(self.failing().map(|activity| Alert::TaskFails { activity }));
        alerts
    }

    fn about_key(&self, key: &KeyRecord, alerts: &mut Vec<Alert>) {
        if key.stage == Stage::Active
            && let Some(why) = key.stop()
        {
            alerts.push(Alert::WritesStopped {
                key: key.id.clone(),
                why,
            });
        }
        if key.is_live() && !key.health.can_unwrap() {
            alerts.push(Alert::ReadsFail {
                key: key.id.clone(),
                state: key.health,
            });
        }
        let is_resting = matches!(self.work, Work::Resting { .. });
        if let Some(objections) = key.objections.filter(|count| *count > 0)
            && key.stage == Stage::Previous
            && is_resting
        {
            alerts.push(Alert::StillNeeded {
                key: key.id.clone(),
                objections,
            });
        }
    }

    /// Replicas that are waited for.
    fn lagging(&self) -> u32 {
        let work = match &self.work {
            Work::Settling { lagging, .. } => *lagging,
            _ => 0,
        };
        let change = match &self.changing {
            Some(Changing::Reader { lagging, .. }) => *lagging,
            _ => 0,
        };
        let released = self.providers.iter().map(|provider| provider.lagging);
        released.fold(work.max(change), u32::max)
    }

    fn failing(&self) -> impl Iterator<Item = Activity> {
        let work = self.work.task().map(|task| (task, self.activity()));
        let change = self
            .changing
            .as_ref()
            .map(|change| (change.task(), self.change_activity()));
        let releases = self.providers.iter().filter_map(|provider| {
            let task = provider.release.as_ref()?;
            Some((task, Activity::DroppingReader))
        });
        let tasks = work.into_iter().chain(change).chain(releases);
        tasks
            .filter(|(task, _)| task.failures >= MANY_FAILURES)
            .map(|(_, activity)| activity)
    }

    /// When the next thing happens by itself.
    fn next_due(&self) -> Option<Moment> {
        let rest = match &self.work {
            Work::Resting { verify_at, .. } => *verify_at,
            _ => None,
        };
        let work = self.work.task().filter(|_| !self.is_held());
        let change = self.changing.as_ref().filter(|change| !change.is_ready());
        let releases = self.providers.iter().filter_map(|of| of.release.as_ref());
        let tasks = work
            .into_iter()
            .chain(change.map(Changing::task))
            .chain(releases)
            .map(|task| task.due(&self.policy));
        let instants = self.on_their_way().filter(|(_, key)| key.health.can_wrap());
        let instants = instants.filter_map(|(_, key)| key.active_at);
        rest.into_iter().chain(tasks).chain(instants).min()
    }

    /// Whether the work waits for a key, and not for an answer.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.work, Work::Migrating { .. }) && !self.can_write()
    }

    /// The key that a control plane holds beside the active one, if the policy says that it does.
    pub(super) fn is_kept(&self, key: &KeyRecord) -> bool {
        let left = self.keys.iter().filter(|key| key.stage != Stage::Active);
        let latest = left.filter_map(|key| key.epoch).max();
        self.policy.retention == Retention::UntilNextChange
            && key.epoch.is_some()
            && key.epoch == latest
    }
}

impl KeyRecord {
    /// Whether a census has to say what needs it.
    pub(super) const fn is_judged(&self) -> bool {
        matches!(self.stage, Stage::Previous | Stage::Retirable)
    }
}

impl Changing {
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self, Self::Reader { ready: true, .. })
    }
}
