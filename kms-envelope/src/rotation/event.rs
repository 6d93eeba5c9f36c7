//! What a driver tells the machine.

use std::time::SystemTime;

use kms_core::object::Revision;
use kms_core::{KeyId, KeyState};
use serde::{Deserialize, Serialize};

use super::{ProviderName, TaskId};
use crate::reencrypt::Evidence;

/// Something that happened. Facts are never refused, only requests are; an answer to a task that is
/// no longer open changes nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A provider was looked at.
    Observed(Observation),
    /// A provider was looked at, and it says of this version that it came to know it late: after
    /// the instant at which the version would have become active, because it was enabled later or
    /// could not be seen. Replicas may then differ for as long as the provider's activation delay
    /// ([`Policy::activation_delay`](super::Policy::activation_delay)) and not only by their clocks.
    SeenLate {
        /// Whose version it is.
        provider: ProviderName,
        /// The version.
        key: ObservedKey,
    },
    /// An operator asks for a change.
    Change(Change),
    /// An operator gives up a change that is being prepared. Once writers were switched there is
    /// nothing to give up: that is another change.
    Abandon,
    /// Every replica, also each that is down and may come back, was found to be as
    /// [`CheckConvergence`](super::Effect::CheckConvergence) asks.
    Converged {
        /// Of that effect.
        task: TaskId,
        /// The store's newest revision, read **after** the last replica had answered.
        revision: Revision,
    },
    /// Some replica is not as it should be, or could not be asked.
    Lagging {
        /// Of the effect.
        task: TaskId,
        /// How many.
        replicas: u32,
    },
    /// [`Migrate`](super::Effect::Migrate) has been over all objects. What is left the next census
    /// says.
    Migrated {
        /// Of that effect.
        task: TaskId,
    },
    /// A census was taken for [`Verify`](super::Effect::Verify).
    Verified {
        /// Of that effect.
        task: TaskId,
        /// What was scanned and what was found. It must have begun after the effect was given out.
        evidence: Evidence,
        /// What that census counted that is not as it should be.
        remaining: Remaining,
    },
    /// A task failed, or could not be begun. It is given out again after a while.
    Failed {
        /// Of the effect.
        task: TaskId,
    },
    /// An operator asks for a census now, having repaired something.
    VerifyNow,
    /// An operator wants to delete a key. The evidence must be fresh.
    Retire {
        /// The key.
        key: KeyId,
        /// What was scanned just now.
        evidence: Evidence,
    },
    /// A key is in wrong hands, or may be. Not a routine rotation: nothing may be encrypted under it
    /// any more, and what is has to be encrypted again with new DEKs.
    Compromised {
        /// The key.
        key: KeyId,
    },
    /// The driver has just loaded the state and knows of no effect that is under way.
    Restarted,
    /// Time has passed.
    Tick,
}

/// What one look at a provider showed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Observation {
    /// Which provider.
    pub provider: ProviderName,
    /// Its versions, oldest first by creation, then by version. Of one that is shown twice the first
    /// counts.
    pub keys: Vec<ObservedKey>,
    /// The version that it wraps with, or that would be if it could wrap: the provider's own
    /// decision.
    pub current: Option<KeyId>,
    /// Whether `keys` are all versions there are. One that is missing from them is gone.
    pub complete: bool,
}

impl Observation {
    /// All versions of a provider, oldest first.
    #[must_use]
    pub const fn new(provider: ProviderName, keys: Vec<ObservedKey>) -> Self {
        Self {
            provider,
            keys,
            current: None,
            complete: true,
        }
    }

    /// Sets the version that it wraps with, or would.
    #[must_use]
    pub fn with_current(mut self, key: impl Into<Option<KeyId>>) -> Self {
        self.current = key.into();
        self
    }

    /// Sets whether these are all versions there are.
    #[must_use]
    pub const fn with_complete(mut self, complete: bool) -> Self {
        self.complete = complete;
        self
    }
}

/// One version of a key, as its provider shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ObservedKey {
    /// Its id.
    pub id: KeyId,
    /// What may be done with it.
    pub state: KeyState,
    /// The instant at which replicas change over to it, by the provider's rule, past or to come.
    /// `None` if that is not known: then it becomes active when the provider says so
    /// ([`Observation::current`]).
    pub active_at: Option<SystemTime>,
    /// The earlier id of the same key material, if this is a rollback to it under a new id.
    pub material: Option<KeyId>,
}

impl ObservedKey {
    /// A version whose instant is not known.
    #[must_use]
    pub const fn new(id: KeyId, state: KeyState) -> Self {
        Self {
            id,
            state,
            active_at: None,
            material: None,
        }
    }

    /// Sets the instant at which replicas change over to it.
    #[must_use]
    pub fn with_active_at(mut self, at: impl Into<Option<SystemTime>>) -> Self {
        self.active_at = at.into();
        self
    }

    /// Sets the earlier id of the same key material.
    #[must_use]
    pub fn with_material(mut self, id: impl Into<Option<KeyId>>) -> Self {
        self.material = id.into();
        self
    }
}

/// A change that is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// From plain objects to a key.
    Enable {
        /// The new provider.
        provider: ProviderName,
        /// The version that it wraps with.
        key: ObservedKey,
    },
    /// A new version of the key in use, by the provider in use.
    Rotate,
    /// To another provider: another key name, vault or mode, or KMS v2 instead of v1.
    Replace {
        /// The new provider.
        provider: ProviderName,
        /// The version that it wraps with.
        key: ObservedKey,
    },
    /// Back to an older version of the key in use, under a new key id.
    Rollback {
        /// The older version's id.
        to: KeyId,
    },
    /// To plain objects.
    Disable,
}

/// What a census counted that is not as it should be.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Remaining {
    /// Objects that could be read and are not under the target: under another key, plain, or under
    /// a provider that names no key.
    pub off_target: u64,
    /// Of these, objects under a provider that names no key, such as KMS v1 or `aescbc`.
    pub unnamed: u64,
    /// Objects that are damaged, so that nobody can migrate them.
    pub unreadable: u64,
}

impl Remaining {
    /// Nothing.
    pub const NONE: Self = Self::new(0, 0, 0);

    /// Says how many there are.
    #[must_use]
    pub const fn new(off_target: u64, unnamed: u64, unreadable: u64) -> Self {
        Self {
            off_target,
            unnamed,
            unreadable,
        }
    }
}
