//! What time alone does.

use core::mem;

use super::Turn;
use crate::rotation::moment::Moment;
use crate::rotation::state::{Changing, State, Task, Work};
use crate::rotation::{Policy, TaskId};

impl State {
    /// Ends waits that are over, gives out again what was not answered, and activates what is due.
    pub(super) fn advance(&mut self, turn: &mut Turn) {
        let policy = self.policy;
        let is_held = self.is_held();
        let work = self.work.task_mut().filter(|_| !is_held);
        let change = self.changing.as_mut().filter(|change| !change.is_ready());
        let releases = self.providers.iter_mut();
        let tasks = work
            .into_iter()
            .chain(change.map(Changing::task_mut))
            .chain(releases.filter_map(|provider| provider.release.as_mut()));
        for task in tasks {
            if task.advance(&policy, turn.now) {
                turn.reissued.push(task.id);
            }
        }
        for key in &mut self.keys {
            key.permit = key.permit.filter(|permit| permit.until > turn.now);
        }
        if let Work::Resting { floor, verify_at } = &mut self.work
            && let Some(at) = verify_at
        {
            let floor = *floor;
            *at = (*at).min(turn.now.after(policy.verify_again_after));
            if *at <= turn.now {
                self.start_verifying(turn.now, floor, 0);
            }
        }
        self.catch_up(turn);
    }

    /// The key that work waited for is back: its effect is given out now, so only now does the time
    /// in which it is to be answered begin.
    pub(super) fn resume(&mut self, turn: &Turn) {
        let policy = self.policy;
        if self.is_held() {
            return;
        }
        if let Some(task) = self.work.task_mut() {
            task.advance(&policy, turn.now);
            if task.is_open() {
                task.issued = turn.now;
            }
        }
    }

    /// Puts a task off that failed.
    pub(super) fn failed(&mut self, task: TaskId, turn: &Turn) {
        let policy = self.policy;
        if let Some(task) = self.task_mut(task).filter(|task| task.is_open()) {
            task.put_off(&policy, turn.now);
        }
    }

    fn task_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        let work = self.work.task_mut();
        let change = self.changing.as_mut().map(Changing::task_mut);
        let releases = self.providers.iter_mut();
        work.into_iter()
            .chain(change)
            .chain(releases.filter_map(|provider| provider.release.as_mut()))
            .find(|task| task.id == id)
    }

    /// Somebody has repaired something: what waits for no other reason is tried now.
    pub(super) fn hurry(&mut self, turn: &Turn) {
        match &mut self.work {
            Work::Resting { floor, .. } => {
                let floor = *floor;
                if self.target().is_some() {
                    self.start_verifying(turn.now, floor, 0);
                }
            }
            Work::Migrating { task, passes, .. } | Work::Verifying { task, passes, .. } => {
                *passes = 0;
                task.failures = 0;
                if mem::take(&mut task.wait_until).is_some() {
                    task.issued = turn.now;
                }
            }
            Work::Settling { .. } => {}
        }
    }
}

impl Task {
    /// Says whether its effects are to be given out again.
    fn advance(&mut self, policy: &Policy, now: Moment) -> bool {
        // Set by a clock that was ahead: nothing is ever waited for longer than this.
        self.issued = self.issued.min(now);
        if let Some(until) = self.wait_until {
            let until = until.min(now.after(policy.longest_wait()));
            self.wait_until = (until > now).then_some(until);
            if until <= now {
                self.issued = now;
            }
            return false;
        }
        let is_overdue = now.since(self.issued) >= policy.reissue_after;
        if is_overdue {
            self.issued = now;
        }
        is_overdue
    }
}
