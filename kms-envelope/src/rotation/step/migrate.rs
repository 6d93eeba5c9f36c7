//! A pass over all objects has ended.

use super::Turn;
use crate::rotation::TaskId;
use crate::rotation::state::{State, Work};

impl State {
    /// What is left only a census knows: objects may have been written, or passed over, meanwhile.
    pub(super) fn migrated(&mut self, answered: TaskId, turn: &Turn) {
        let Work::Migrating {
            task,
            floor,
            passes,
        } = &self.work
        else {
            return;
        };
        if task.id != answered {
            return;
        }
        let (floor, passes) = (*floor, *passes);
        // The pass was over everything: whoever changed that began another task.
        self.redo = false;
        self.start_verifying(turn.now, floor, passes.saturating_add(1));
    }
}
