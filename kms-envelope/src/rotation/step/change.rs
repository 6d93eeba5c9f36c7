//! What an operator asks for.

use kms_core::{KeyId, KeyState};

use super::Turn;
use crate::rotation::state::{Changing, ProviderRecord, State, Writer};
use crate::rotation::{Change, KeyRecord, ObservedKey, ProviderName, Refusal, Stage, Target};

impl State {
    pub(super) fn change(&mut self, change: &Change, turn: &Turn) -> Result<(), Refusal> {
        if self.changing.is_some() {
            return Err(Refusal::ChangeUnderWay);
        }
        match change {
            Change::Enable { provider, key } => {
                if self.writer != Writer::Plain {
                    return Err(Refusal::AlreadyEncrypted);
                }
                self.introduce(provider, key, turn)
            }
            Change::Replace { provider, key } => match self.writer_provider() {
                None => Err(Refusal::NoKeyInUse),
                Some(used) if used == provider => Err(Refusal::SameProvider {
                    provider: provider.clone(),
                }),
                Some(_) => self.introduce(provider, key, turn),
            },
            Change::Rotate => {
                let Some(active) = self.active() else {
                    return Err(Refusal::NoKeyInUse);
                };
                let provider = active.provider.clone();
                self.may_add_a_key()?;
                self.ask_for_version(provider, None, turn);
                Ok(())
            }
            Change::Rollback { to } => self.roll_back(to, turn),
            Change::Disable => {
                if self.writer == Writer::Plain {
                    return Err(Refusal::AlreadyPlain);
                }
                self.prepare(Target::Plain, turn);
                Ok(())
            }
        }
    }

    /// Prepares another provider.
    fn introduce(
        &mut self,
        provider: &ProviderName,
        seen: &ObservedKey,
        turn: &Turn,
    ) -> Result<(), Refusal> {
        let known = self.position(&seen.id);
        let key = match known.and_then(|at| self.keys.get(at)) {
            None => self.record(seen, provider, Stage::Pending, turn.now),
            Some(known) if known.stage == Stage::Retired => {
                return Err(Refusal::Gone {
                    key: seen.id.clone(),
                });
            }
            // Prepared before and given up: nobody has written with it.
            Some(known) if !known.was_active() && known.provider == *provider => {
                let mut known = known.clone();
                known.health = seen.state;
                known
            }
            Some(_) => {
                return Err(Refusal::KeyIdReused {
                    key: seen.id.clone(),
                });
            }
        };
        refuse_unfit(&key)?;
        if let Some(known) = known {
            self.refuse_overtaken(known)?;
        }
        self.may_add_a_key()?;
        let is_listed = self.providers.iter().any(|of| of.name == *provider);
        let has_room = is_listed || self.providers.len() < Self::MAX_PROVIDERS;
        if !has_room || (known.is_none() && !self.make_room()) {
            return Err(Refusal::NoRoom);
        }
        match self.providers.iter_mut().find(|of| of.name == *provider) {
            Some(listed) => {
                listed.release = None;
                listed.lagging = 0;
                listed.names_keys = true;
            }
            None => self.providers.push(ProviderRecord::new(provider, true)),
        }
        let target = key.as_target();
        match self.position(&key.id).and_then(|at| self.keys.get_mut(at)) {
            Some(known) => {
                *known = key;
                known.take_up(seen.active_at, turn.now);
            }
            None => self.keys.push(key),
        }
        self.prepare(target, turn);
        Ok(())
    }

    /// Asks the provider in use for a new id of an older version's material.
    fn roll_back(&mut self, to: &KeyId, turn: &Turn) -> Result<(), Refusal> {
        let Some(key) = self.key(to) else {
            return Err(Refusal::UnknownKey { key: to.clone() });
        };
        let used = self.active().map(KeyRecord::provider);
        match (key.stage, used) {
            (_, None) => return Err(Refusal::NoKeyInUse),
            (_, Some(used)) if *used != key.provider => {
                return Err(Refusal::OtherProvider {
                    provider: key.provider.clone(),
                });
            }
            (Stage::Active, _) => return Err(Refusal::IsActive { key: to.clone() }),
            (Stage::Pending, _) => return Err(Refusal::IsPending { key: to.clone() }),
            (Stage::Retired, _) => return Err(Refusal::Gone { key: to.clone() }),
            (Stage::Previous | Stage::Retirable, _) => refuse_unfit(key)?,
        }
        let (provider, root) = (key.provider.clone(), key.root().clone());
        self.may_add_a_key()?;
        self.ask_for_version(provider, Some(root), turn);
        Ok(())
    }

    /// The bound on keys that live objects need. It gives way if the active key cannot encrypt: then
    /// another one is the remedy.
    fn may_add_a_key(&self) -> Result<(), Refusal> {
        if !self.can_write() {
            return Ok(());
        }
        if let Some((_, next)) = self.on_their_way().find(|(_, key)| key.may_encrypt()) {
            return Err(Refusal::IsPending {
                key: next.id.clone(),
            });
        }
        let (live, _) = self.live_keys();
        let mut waiting = self.keys.iter();
        match waiting.find(|key| key.stage == Stage::Previous && key.is_live()) {
            Some(oldest) if live >= self.policy.max_live_keys => Err(Refusal::NotMigrated {
                oldest: oldest.id.clone(),
                live,
                max: self.policy.max_live_keys,
            }),
            _ => Ok(()),
        }
    }

    fn ask_for_version(&mut self, provider: ProviderName, material: Option<KeyId>, turn: &Turn) {
        let generation = material.as_ref().map(|root| self.next_generation(root));
        self.changing = Some(Changing::Version {
            task: self.new_task(turn.now, None),
            provider,
            material,
            generation: generation.unwrap_or(0),
        });
    }

    fn prepare(&mut self, target: Target, turn: &Turn) {
        self.changing = Some(Changing::Reader {
            task: self.new_task(turn.now, None),
            target,
            lagging: 0,
            ready: false,
        });
    }

    /// Gives up a change that nobody writes by yet.
    pub(super) fn abandon(&mut self, turn: &Turn) -> Result<(), Refusal> {
        let Some(changing) = self.changing.take() else {
            return Err(Refusal::NothingToAbandon);
        };
        if let Changing::Reader { target, .. } = changing
            && let Some(at) = target.key().and_then(|id| self.position(id))
            && let Some(key) = self.keys.get_mut(at)
        {
            // Nobody was told to write with it. A census has to say that nobody did.
            key.leave(turn.now);
        }
        Ok(())
    }
}

/// Refuses a key that new data cannot be under.
fn refuse_unfit(key: &KeyRecord) -> Result<(), Refusal> {
    let id = key.id.clone();
    if key.compromised {
        return Err(Refusal::Compromised { key: id });
    }
    match key.health {
        KeyState::Enabled => Ok(()),
        KeyState::Destroyed => Err(Refusal::Gone { key: id }),
        state => Err(Refusal::TargetUnusable { key: id, state }),
    }
}
