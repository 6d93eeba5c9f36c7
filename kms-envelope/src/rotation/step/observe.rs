//! What a provider shows.

use kms_core::{KeyId, KeyState};

use super::Turn;
use crate::rotation::moment::Moment;
use crate::rotation::state::{Changing, State};
use crate::rotation::{Alert, KeyRecord, Observation, ObservedKey, ProviderName, Stage};

impl State {
    /// Takes in one look at a provider. Of one that replicas are not configured with only what is
    /// known already counts.
    pub(super) fn observed(&mut self, seen: &Observation, turn: &mut Turn) {
        if self.is_configured(&seen.provider) {
            self.note(seen, false, turn);
            return;
        }
        for key in &seen.keys {
            if let Some(at) = self.position(&key.id) {
                self.look_again(at, &seen.provider, key, false, turn);
            }
        }
        if seen.complete {
            self.miss(seen);
        }
    }

    /// Takes in one version that its provider came to know late.
    pub(super) fn seen_late(
        &mut self,
        provider: &ProviderName,
        key: &ObservedKey,
        turn: &mut Turn,
    ) {
        if self.is_configured(provider) {
            let seen = Observation::new(provider.clone(), vec![key.clone()]).with_complete(false);
            self.note(&seen, true, turn);
        }
    }

    fn is_configured(&self, provider: &ProviderName) -> bool {
        self.providers.iter().any(|of| of.name == *provider)
    }

    fn note(&mut self, seen: &Observation, late: bool, turn: &mut Turn) {
        for (at, key) in seen.keys.iter().enumerate() {
            // Shown twice, it counts once: else two looks that show the same would not be the same.
            if seen.keys.iter().take(at).any(|other| other.id == key.id) {
                continue;
            }
            match self.position(&key.id) {
                Some(known) => self.look_again(known, &seen.provider, key, late, turn),
                None => self.meet(seen, at, late, turn),
            }
        }
        if seen.complete {
            self.miss(seen);
        }
        if let Some(current) = &seen.current {
            self.is_told(&seen.provider, current, turn);
        }
        self.catch_up(turn);
        self.prepare_current(seen, turn);
    }

    /// A version that is known.
    fn look_again(
        &mut self,
        at: usize,
        provider: &ProviderName,
        seen: &ObservedKey,
        late: bool,
        turn: &mut Turn,
    ) {
        let Some(key) = self
            .keys
            .get_mut(at)
            .filter(|key| key.provider == *provider)
        else {
            return;
        };
        let could_read = key.health.can_unwrap();
        key.health = seen.state;
        let is_needed_again = key.is_live() && !could_read && seen.state.can_unwrap();
        if key.stage == Stage::Pending {
            key.active_at = seen.active_at.map(Moment::ceil).or(key.active_at);
            if late && !key.late {
                key.late = true;
                turn.alerts.push(Alert::SeenLate {
                    key: key.id.clone(),
                });
            }
        }
        if is_needed_again {
            self.hurry(turn);
        }
    }

    /// A version that is met for the first time.
    fn meet(&mut self, seen: &Observation, at: usize, late: bool, turn: &mut Turn) {
        let Some(new) = seen.keys.get(at) else {
            return;
        };
        if !self.make_room() {
            turn.alerts.push(Alert::NoRoom);
            return;
        }
        let place = self.place_of(seen, at);
        let active = self.active_position().filter(|active| {
            let active = self.keys.get(*active);
            active.is_some_and(|active| active.provider == seen.provider)
        });
        let head = active.or_else(|| self.prepared_position(&seen.provider));
        let is_newer = head.is_some_and(|head| place > head);
        let stage = if is_newer {
            Stage::Pending
        } else {
            Stage::Previous
        };
        let mut key = self.record(new, &seen.provider, stage, turn.now);
        let is_past = key.active_at.is_some_and(|instant| instant <= turn.now);
        key.late = is_newer && (late || (is_past && active.is_some()));
        if key.late {
            turn.alerts.push(Alert::SeenLate {
                key: key.id.clone(),
            });
        }
        self.keys.insert(place, key);
        let is_awaited = |change: &Changing| match change {
            Changing::Version { provider, .. } => *provider == seen.provider,
            Changing::Reader { .. } => false,
        };
        if is_newer && self.changing.as_ref().is_some_and(is_awaited) {
            self.changing = None;
        }
    }

    /// A record of a key that is not known.
    pub(super) fn record(
        &self,
        seen: &ObservedKey,
        provider: &ProviderName,
        stage: Stage,
        now: Moment,
    ) -> KeyRecord {
        let mut key = KeyRecord::new(seen.id.clone(), provider.clone(), stage, now);
        key.health = seen.state;
        key.active_at = seen.active_at.map(Moment::ceil);
        // Ids of one material may be seen in any order: then the first one is named already.
        let root = seen
            .material
            .as_ref()
            .map(|id| self.key(id).map_or(id, KeyRecord::root));
        let root = root.unwrap_or(&seen.id).clone();
        let mut same = self.keys.iter().filter(|other| *other.root() == root);
        key.compromised = same.any(|other| other.compromised);
        if root != seen.id {
            key.generation = self.next_generation(&root);
            key.material = Some(root);
        }
        key
    }

    /// How many ids this material has had.
    pub(super) fn next_generation(&self, root: &KeyId) -> u32 {
        let same = self.keys.iter().filter(|key| key.root() == root);
        let latest = same.map(|key| key.generation).max();
        latest.map_or(1, |latest| latest.saturating_add(1))
    }

    /// Where among the known a new one belongs, by the order in which they are seen.
    fn place_of(&self, seen: &Observation, at: usize) -> usize {
        let known = |key: &ObservedKey| {
            self.position(&key.id).filter(|place| {
                self.keys
                    .get(*place)
                    .is_some_and(|it| it.provider == seen.provider)
            })
        };
        let older = seen.keys.iter().take(at).rev().find_map(known);
        let newer = seen.keys.iter().skip(at.saturating_add(1)).find_map(known);
        older
            .map(|older| older.saturating_add(1))
            .or(newer)
            .unwrap_or(self.keys.len())
    }

    /// Forgets the oldest key that is retired and gone, if there is no room otherwise.
    pub(super) fn make_room(&mut self) -> bool {
        if self.keys.len() < Self::MAX_KEYS {
            return true;
        }
        let gone = self
            .keys
            .iter()
            .position(|key| key.stage == Stage::Retired && key.health == KeyState::Destroyed);
        if let Some(gone) = gone {
            self.keys.remove(gone);
        }
        gone.is_some()
    }

    /// What is missing from a complete list is gone.
    fn miss(&mut self, seen: &Observation) {
        let is_missing = |key: &KeyRecord| {
            key.provider == seen.provider && !seen.keys.iter().any(|it| it.id == key.id)
        };
        for key in self.keys.iter_mut().filter(|key| is_missing(key)) {
            key.health = KeyState::Destroyed;
        }
    }

    /// What the provider says that it wraps with, or would.
    fn is_told(&mut self, provider: &ProviderName, current: &KeyId, turn: &mut Turn) {
        let Some(at) = self.position(current) else {
            return;
        };
        let is_writer = self.writer_provider() == Some(provider);
        let Some(active) = self.active_position().filter(|_| is_writer) else {
            return;
        };
        let Some(key) = self.keys.get(at).filter(|key| key.provider == *provider) else {
            return;
        };
        if key.stage == Stage::Pending && at > active {
            self.follow(at, turn);
        } else if at != active {
            turn.alerts.push(Alert::ProviderWentBack {
                key: current.clone(),
            });
        }
    }
}
