//! What a state tells those who ask.

use kms_core::KeyId;

use super::super::{
    Activity, KeyRecord, Policy, ProviderName, Remaining, Rewrite, Scope, Stop, Target,
};
use super::{Changing, State, Work, Writer};

/// What new data is encrypted under.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Writes {
    /// Nothing: it is stored as it is.
    Plain,
    /// A provider whose objects name no key.
    Unnamed(ProviderName),
    /// This key.
    With(KeyId),
    /// Nothing can be written.
    Stopped {
        /// The active key.
        key: KeyId,
        /// Why it cannot be used. [`Stop::remedy`] says what to do.
        why: Stop,
    },
}

impl State {
    /// The cluster that this is of.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// How cautious it is.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// All keys that are known, those of one provider in the order of their age.
    #[must_use]
    pub fn keys(&self) -> &[KeyRecord] {
        &self.keys
    }

    /// One key.
    #[must_use]
    pub fn key(&self, id: &KeyId) -> Option<&KeyRecord> {
        self.keys.get(self.position(id)?)
    }

    /// What new data is encrypted under.
    #[must_use]
    pub fn writes(&self) -> Writes {
        match (&self.writer, self.active()) {
            (Writer::Unnamed(provider), _) => Writes::Unnamed(provider.clone()),
            (Writer::Key(id), Some(key)) => match key.stop() {
                None => Writes::With(id.clone()),
                Some(why) => Writes::Stopped {
                    key: id.clone(),
                    why,
                },
            },
            (Writer::Plain | Writer::Key(_), _) => Writes::Plain,
        }
    }

    /// How often what is written with has changed. Grows with every activation.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What is being prepared: the target of a change that writers do not use yet.
    #[must_use]
    pub const fn prepared_target(&self) -> Option<&Target> {
        match &self.changing {
            Some(Changing::Reader { target, .. }) => Some(target),
            Some(Changing::Version { .. }) | None => None,
        }
    }

    /// What a requested change is at.
    #[must_use]
    pub const fn change_activity(&self) -> Activity {
        match &self.changing {
            Some(Changing::Reader { .. }) => Activity::AddingReader,
            Some(Changing::Version { .. }) => Activity::MakingVersion,
            None => Activity::Idle,
        }
    }

    /// What is done for objects to be under the target. Goes on beside a change that is being
    /// prepared.
    #[must_use]
    pub const fn activity(&self) -> Activity {
        match &self.work {
            Work::Resting { .. } => Activity::Idle,
            Work::Settling { .. } => Activity::Converging,
            Work::Migrating { .. } => Activity::Migrating,
            Work::Verifying { .. } => Activity::Verifying,
        }
    }

    /// What the latest census counted that is not as it should be.
    #[must_use]
    pub const fn remaining(&self) -> Remaining {
        self.remaining
    }

    /// The providers that replicas may be configured with.
    pub fn providers(&self) -> impl Iterator<Item = &ProviderName> {
        self.providers.iter().map(|provider| &provider.name)
    }

    /// Whether all that was begun is done: no change is being prepared, every writer uses the
    /// target, and the latest census found every object under it and nothing that needs an old key
    /// but what an operator has to see to.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.changing.is_none()
            && matches!(self.work, Work::Resting { .. })
            && self.remaining == Remaining::NONE
            && !self.redo
            && self.can_write()
            && self.providers.iter().all(|of| of.release.is_none())
    }

    /// Whether the next migration has to make new DEKs.
    pub(in super::super) fn rewrite(&self) -> Rewrite {
        let must = |key: &KeyRecord| key.compromised && key.is_live();
        if self.redo || self.keys.iter().any(must) {
            Rewrite::FreshDeks
        } else {
            self.policy.rewrite
        }
    }

    pub(in super::super) const fn scope(&self) -> Scope {
        if self.redo {
            Scope::Everything
        } else {
            Scope::OffTarget
        }
    }

    /// How many keys live objects may need, and will once the versions on their way are active.
    pub(in super::super) fn live_keys(&self) -> (u32, u32) {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let live = count(self.keys.iter().filter(|key| key.is_live()).count());
        let usable = self.on_their_way().filter(|(_, key)| key.may_encrypt());
        (live, live.saturating_add(count(usable.count())))
    }
}

impl KeyRecord {
    /// Why nothing may be encrypted under it.
    pub(in super::super) const fn stop(&self) -> Option<Stop> {
        if self.compromised {
            Some(Stop::Compromised)
        } else if self.health.can_wrap() {
            None
        } else {
            Some(Stop::Unusable(self.health))
        }
    }
}
