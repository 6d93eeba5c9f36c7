//! What follows from the rest.

use super::Turn;
use crate::rotation::state::{Changing, State, Work, Writer};
use crate::rotation::{KeyRecord, Stage, Target};

impl State {
    /// Draws the conclusions of a step.
    pub(super) fn tidy(&mut self, turn: &Turn) {
        self.switch_when_ready(turn);
        self.promote(turn);
        self.release(turn);
        self.look_at_new(turn);
    }

    /// Everybody reads by the target, and it can be written by.
    fn switch_when_ready(&mut self, turn: &Turn) {
        let Some(Changing::Reader {
            target,
            ready: true,
            ..
        }) = &self.changing
        else {
            return;
        };
        let target = target.clone();
        let key = target.key().and_then(|id| self.key(id));
        if target == Target::Plain || key.is_some_and(KeyRecord::may_encrypt) {
            self.switch(&target, turn);
            self.catch_up(turn);
        }
    }

    /// Nothing needs it, and no control plane holds it.
    fn promote(&mut self, turn: &Turn) {
        if matches!(self.work, Work::Settling { .. }) {
            return;
        }
        let free: Vec<usize> = self
            .keys
            .iter()
            .enumerate()
            .filter(|(_, key)| {
                key.stage == Stage::Previous
                    && key.objections == Some(0)
                    && key.drained.is_some()
                    && !self.is_kept(key)
                    && !self.is_prepared(&key.provider)
            })
            .map(|(at, _)| at)
            .collect();
        for at in free {
            if let Some(key) = self.keys.get_mut(at) {
                key.enter(Stage::Retirable, turn.now);
            }
        }
    }

    /// A provider that nothing needs is dropped; one that is needed again is not.
    fn release(&mut self, turn: &Turn) {
        let free: Vec<bool> = self
            .providers
            .iter()
            .map(|provider| self.is_free(provider))
            .collect();
        for (at, is_free) in free.into_iter().enumerate() {
            let is_under_way = self
                .providers
                .get(at)
                .is_some_and(|provider| provider.release.is_some());
            if is_free == is_under_way {
                continue;
            }
            let task = is_free.then(|| self.new_task(turn.now, None));
            if let Some(provider) = self.providers.get_mut(at) {
                provider.release = task;
                provider.lagging = 0;
            }
        }
    }

    fn is_free(&self, provider: &crate::rotation::state::ProviderRecord) -> bool {
        let is_used =
            self.writer_provider() == Some(&provider.name) || self.is_prepared(&provider.name);
        let mut keys = self.keys.iter().filter(|key| key.provider == provider.name);
        let is_left = keys.all(|key| matches!(key.stage, Stage::Retirable | Stage::Retired));
        // Of these only a census of all objects says that none is left.
        let is_counted = provider.names_keys
            || (matches!(self.work, Work::Resting { .. })
                && self.remaining.unnamed == 0
                && self.remaining.unreadable == 0);
        !is_used && is_left && is_counted
    }

    /// A key that was left and that no census has judged yet is looked at.
    fn look_at_new(&mut self, turn: &Turn) {
        let Work::Resting { floor, .. } = &self.work else {
            return;
        };
        let floor = *floor;
        let is_new = |key: &KeyRecord| key.stage == Stage::Previous && key.objections.is_none();
        let has_target = !matches!(self.writer, Writer::Unnamed(_));
        if has_target && self.keys.iter().any(is_new) {
            self.start_verifying(turn.now, floor, 0);
        }
    }
}
