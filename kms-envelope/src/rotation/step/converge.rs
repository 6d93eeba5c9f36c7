//! What replicas were found to do.

use kms_core::object::Revision;

use super::Turn;
use crate::rotation::TaskId;
use crate::rotation::state::{Changing, State, Work};

impl State {
    /// All replicas are as was asked.
    pub(super) fn converged(&mut self, answered: TaskId, revision: Revision, turn: &Turn) {
        if let Some(Changing::Reader {
            task,
            lagging,
            ready,
            ..
        }) = &mut self.changing
            && task.id == answered
        {
            *lagging = 0;
            *ready = true;
            return;
        }
        if let Work::Settling {
            task,
            confirmed,
            reconfigure,
            migrate,
            ..
        } = &self.work
            && task.id == answered
            && task.is_open()
        {
            let (confirmed, reconfigure, migrate) = (*confirmed, *reconfigure, *migrate);
            self.writers_agree(confirmed, reconfigure, migrate, revision, turn);
            return;
        }
        let is_released = |task: &crate::rotation::state::Task| task.id == answered;
        self.providers
            .retain(|provider| !provider.release.as_ref().is_some_and(is_released));
    }

    /// Seen once, every replica has changed over. What it had may still be used for the write lease;
    /// seen again after that, nothing is written by anything else any more.
    fn writers_agree(
        &mut self,
        confirmed: bool,
        reconfigure: bool,
        migrate: bool,
        revision: Revision,
        turn: &Turn,
    ) {
        let lease = self.policy.write_lease;
        if !confirmed && !lease.is_zero() {
            // Whoever ends this wait may have a clock that is ahead of this one.
            let until = turn.now.after(self.policy.lease_bound());
            self.work = Work::Settling {
                task: self.new_task(turn.now, Some(until)),
                confirmed: true,
                reconfigure,
                lagging: 0,
                migrate,
            };
        } else if migrate || self.redo {
            self.start_migrating(turn.now, revision.get(), 0);
        } else {
            self.start_verifying(turn.now, revision.get(), 0);
        }
    }

    /// Some replica is not as was asked.
    pub(super) fn found_lagging(&mut self, answered: TaskId, replicas: u32, turn: &Turn) {
        let policy = self.policy;
        let found = replicas.max(1);
        if let Some(Changing::Reader {
            task,
            lagging,
            ready,
            ..
        }) = &mut self.changing
            && task.id == answered
            && task.is_open()
        {
            task.put_off(&policy, turn.now);
            *lagging = found;
            *ready = false;
            return;
        }
        if let Work::Settling {
            task,
            reconfigure,
            migrate,
            ..
        } = &self.work
            && task.id == answered
            && task.is_open()
        {
            let (reconfigure, migrate) = (*reconfigure, *migrate);
            let failures = task.failures;
            // Another task, so that an answer to the question before does not count any more.
            let mut task = self.new_task(turn.now, None);
            task.failures = failures;
            task.put_off(&policy, turn.now);
            self.work = Work::Settling {
                task,
                confirmed: false,
                reconfigure,
                lagging: found,
                migrate,
            };
            return;
        }
        for provider in &mut self.providers {
            let asked = provider.release.as_mut();
            if let Some(task) = asked.filter(|task| task.id == answered && task.is_open()) {
                task.put_off(&policy, turn.now);
                provider.lagging = found;
            }
        }
    }
}
