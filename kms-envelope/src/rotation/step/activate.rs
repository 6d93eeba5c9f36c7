//! A key becomes the one that replicas write with.

use super::Turn;
use crate::rotation::state::{Changing, State, Work, Writer};
use crate::rotation::{Stage, Target};

impl State {
    /// Activates the newest version whose instant is past, if that is newer than the active one.
    ///
    /// One that cannot encrypt by then is passed over, as replicas pass it over.
    pub(super) fn catch_up(&mut self, turn: &Turn) {
        let due = self.on_their_way().filter(|(_, key)| {
            key.health.can_wrap() && key.active_at.is_some_and(|at| at <= turn.now)
        });
        if let Some((at, _)) = due.last() {
            self.follow(at, turn);
        }
    }

    /// Follows replicas that change over, or have, to the version at this place by themselves.
    pub(super) fn follow(&mut self, at: usize, turn: &Turn) {
        self.leave(at, turn);
        if matches!(self.changing, Some(Changing::Version { .. })) {
            self.changing = None;
        }
        // Not all of them may have been switched to its provider yet.
        let reconfigure = matches!(
            self.work,
            Work::Settling {
                reconfigure: true,
                ..
            }
        );
        self.settle(turn.now, reconfigure, true);
    }

    /// Has all writers switched to what was prepared.
    pub(super) fn switch(&mut self, target: &Target, turn: &Turn) {
        self.changing = None;
        match target.key().map(|id| self.position(id)) {
            None => {
                self.leave_active(turn);
                self.writer = Writer::Plain;
                self.epoch = self.epoch.saturating_add(1);
            }
            Some(Some(at)) => {
                self.doubt_others(at, turn);
                self.leave(at, turn);
            }
            Some(None) => return,
        }
        self.settle(turn.now, true, true);
    }

    /// Until all replicas have been seen to write with this version, any other of its provider may be
    /// written with.
    fn doubt_others(&mut self, at: usize, turn: &Turn) {
        let provider = self.keys.get(at).map(|key| key.provider.clone());
        for (other, key) in self.keys.iter_mut().enumerate() {
            let is_left = matches!(key.stage, Stage::Previous | Stage::Retirable);
            if other != at && is_left && Some(&key.provider) == provider.as_ref() {
                key.leave(turn.now);
            }
        }
    }

    /// Leaves what was written with for the key at this place.
    fn leave(&mut self, at: usize, turn: &Turn) {
        self.leave_active(turn);
        self.epoch = self.epoch.saturating_add(1);
        let Some(key) = self.keys.get_mut(at) else {
            return;
        };
        key.enter(Stage::Active, turn.now);
        key.epoch = Some(self.epoch);
        let (id, provider) = (key.id.clone(), key.provider.clone());
        self.writer = Writer::Key(id);
        // What it has overtaken may have been written with by a replica, so it is not forgotten.
        for older in self.keys.iter_mut().take(at) {
            if older.stage == Stage::Pending && older.provider == provider {
                older.leave(turn.now);
            }
        }
    }

    fn leave_active(&mut self, turn: &Turn) {
        if let Some(active) = self
            .active_position()
            .and_then(|active| self.keys.get_mut(active))
        {
            active.leave(turn.now);
        }
    }
}
