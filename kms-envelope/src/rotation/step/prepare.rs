//! What a change is prepared for.

use super::Turn;
use crate::rotation::state::{Changing, State};
use crate::rotation::{Alert, KeyRecord, Observation, ProviderName, Refusal, Stage};

impl State {
    /// Whether replicas are about to write by this provider. Which of its versions they will write
    /// with is then for the provider to say, so none of them is free.
    pub(super) fn is_prepared(&self, provider: &ProviderName) -> bool {
        self.prepared_position(provider).is_some()
    }

    /// Refuses a change to a key if its provider has a newer one that replicas would write with and
    /// that was in use before.
    pub(super) fn refuse_overtaken(&self, at: usize) -> Result<(), Refusal> {
        let Some(target) = self.keys.get(at) else {
            return Ok(());
        };
        let mut newer = self.keys.iter().skip(at.saturating_add(1));
        let used = newer
            .find(|key| key.provider == target.provider && key.is_spent() && key.health.can_wrap());
        match used {
            Some(used) => Err(Refusal::KeyIdReused {
                key: used.id.clone(),
            }),
            None => Ok(()),
        }
    }

    /// A change that is being prepared is to what replicas will write with: the version that the
    /// provider says, or else the newest that is due.
    pub(super) fn prepare_current(&mut self, seen: &Observation, turn: &mut Turn) {
        let Some(prepared) = self.prepared_position(&seen.provider) else {
            return;
        };
        let told = seen.current.as_ref().and_then(|id| self.position(id));
        let told = told.filter(|at| {
            let key = self.keys.get(*at);
            key.is_some_and(|key| key.provider == seen.provider)
        });
        let is_due = |key: &KeyRecord| {
            key.provider == seen.provider
                && key.stage == Stage::Pending
                && key.may_encrypt()
                && key.active_at.is_some_and(|at| at <= turn.now)
        };
        let newest = self.keys.iter().rposition(is_due);
        let chosen = told.or_else(|| newest.filter(|newest| *newest > prepared));
        let Some(chosen) = chosen.filter(|chosen| *chosen != prepared) else {
            return;
        };
        let key = self.keys.get(chosen);
        if let Some(key) = key.filter(|key| key.is_spent() || key.compromised) {
            // Nobody may be brought to write with it.
            turn.alerts.push(Alert::ProviderWentBack {
                key: key.id.clone(),
            });
            let _ = self.abandon(turn);
        } else {
            self.prepare_instead(chosen, seen, turn);
        }
    }

    /// Prepares for this version. What it has overtaken may be in use somewhere.
    fn prepare_instead(&mut self, chosen: usize, seen: &Observation, turn: &Turn) {
        let Some(key) = self.keys.get_mut(chosen) else {
            return;
        };
        if key.stage != Stage::Pending {
            let shown = seen.keys.iter().find(|shown| shown.id == key.id);
            key.take_up(shown.and_then(|shown| shown.active_at), turn.now);
        }
        let (provider, target) = (key.provider.clone(), key.as_target());
        for older in self.keys.iter_mut().take(chosen) {
            if older.stage == Stage::Pending && older.provider == provider {
                older.leave(turn.now);
            }
        }
        let task = self.new_task(turn.now, None);
        self.changing = Some(Changing::Reader {
            task,
            target,
            lagging: 0,
            ready: false,
        });
    }
}

impl KeyRecord {
    /// Whether its id was in use, so that it may not be used again.
    const fn is_spent(&self) -> bool {
        self.was_active() || matches!(self.stage, Stage::Retired)
    }
}
