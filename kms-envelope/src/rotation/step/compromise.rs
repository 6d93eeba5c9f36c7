//! A key is in wrong hands.

use kms_core::KeyId;

use super::Turn;
use crate::rotation::state::{Changing, State, Work};
use crate::rotation::{KeyRecord, Refusal, Stage};

impl State {
    /// Marks a key, and all ids of its material. What is under them is encrypted again at once, with
    /// new DEKs: whoever has the key may have every DEK that it has ever wrapped.
    pub(super) fn compromised(&mut self, id: &KeyId, turn: &Turn) -> Result<(), Refusal> {
        let Some(root) = self.key(id).map(|key| key.root().clone()) else {
            return Err(Refusal::UnknownKey { key: id.clone() });
        };
        let mut is_new = false;
        let mut has_heirs = false;
        for key in self.keys.iter_mut().filter(|key| *key.root() == root) {
            is_new |= !key.compromised;
            has_heirs |= key.rewrapped;
            key.compromised = true;
        }
        if !is_new {
            return Ok(());
        }
        // Its DEKs went on under the next key, so a census that looks for this one does not find
        // them.
        self.redo |= has_heirs;
        self.refuse_prepared(turn);
        let is_left =
            |key: &KeyRecord| key.compromised && key.stage == Stage::Previous && key.is_live();
        if self.redo || self.keys.iter().any(is_left) {
            self.begin_again(turn);
        }
        Ok(())
    }

    /// A change to a compromised key is given up.
    fn refuse_prepared(&mut self, turn: &Turn) {
        let Some(Changing::Reader { target, .. }) = &self.changing else {
            return;
        };
        let prepared = target.key().and_then(|id| self.key(id));
        if prepared.is_some_and(|key| key.compromised) {
            // There is one, so this is not refused.
            let _ = self.abandon(turn);
        }
    }

    /// Migrates now, whatever was at hand. Writers that are changing over have to be waited for.
    fn begin_again(&mut self, turn: &Turn) {
        match &self.work {
            Work::Settling { .. } => {}
            Work::Resting { floor, .. }
            | Work::Migrating { floor, .. }
            | Work::Verifying { floor, .. } => {
                let floor = *floor;
                if self.target().is_some() {
                    self.start_migrating(turn.now, floor, 0);
                }
            }
        }
    }
}
