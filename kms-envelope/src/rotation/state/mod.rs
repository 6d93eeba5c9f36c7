//! All that the machine remembers.

mod check;
mod document;
mod status;
mod task;

use std::time::SystemTime;

use kms_core::KeyId;

use super::moment::Moment;
use super::{KeyRecord, ObservedKey, Policy, ProviderName, Remaining, Stage, Target, TaskId};
use crate::{Error, ErrorKind};

pub use status::Writes;
pub(super) use task::{Changing, ProviderRecord, Task, Work, Writer};

/// Where a cluster's rotation is: all that has to be kept.
///
/// It changes by [`step`](super::step) alone. A driver keeps it as [`to_json`](Self::to_json) writes
/// it, and replaces it by compare-and-swap.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use kms_envelope::rotation::{Policy, Start, State, Writes};
///
/// let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
/// let state = State::new("cdf818194e3a8c32", Start::Plain, Policy::default(), now)?;
/// assert_eq!(state.writes(), Writes::Plain);
/// assert_eq!(State::from_json(&state.to_json()?)?, state);
/// # Ok::<(), kms_envelope::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    pub(super) cluster_id: String,
    pub(super) policy: Policy,
    /// Versions of one provider are in the order of their age. Providers may be mixed.
    pub(super) keys: Vec<KeyRecord>,
    pub(super) providers: Vec<ProviderRecord>,
    pub(super) writer: Writer,
    /// Changes of the writer so far.
    pub(super) epoch: u64,
    pub(super) next_task: u64,
    pub(super) changing: Option<Changing>,
    pub(super) work: Work,
    /// Every object needs a new DEK, those under the target too.
    pub(super) redo: bool,
    /// As the latest census counted.
    pub(super) remaining: Remaining,
}

/// What a cluster writes with when its rotation is first looked after.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Start {
    /// Nothing: objects are stored as they are.
    Plain,
    /// A provider whose objects name no key: KMS v1, `aescbc` and its like.
    Unnamed {
        /// Its name.
        provider: ProviderName,
    },
    /// A key. Objects may still be under older ones, or plain; the first census says so.
    Key {
        /// Its provider.
        provider: ProviderName,
        /// The version.
        key: ObservedKey,
    },
}

impl State {
    /// The most keys that are remembered, those included that are retired.
    ///
    /// When they are used up, a key that is retired and destroyed is forgotten, the oldest first.
    pub const MAX_KEYS: usize = 128;
    /// The most providers that replicas may be configured with at one time.
    pub const MAX_PROVIDERS: usize = 8;
    /// The longest cluster id, in bytes.
    pub const MAX_CLUSTER_ID_LEN: usize = 256;
    /// The longest text that [`to_json`](Self::to_json) writes and [`from_json`](Self::from_json)
    /// reads, in bytes. Under etcd's limit of 1.5 MiB.
    pub const MAX_JSON_LEN: usize = 1024 * 1024;

    /// Begins to look after a cluster.
    ///
    /// `cluster_id` is what evidence has to name: etcd's as 16 hexadecimal digits
    /// ([`StoreIdentity`](kms_core::object::StoreIdentity)).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the policy is out of range; [`ErrorKind::Malformed`] if the cluster
    /// id is empty, too long or holds a control character.
    pub fn new(
        cluster_id: impl Into<String>,
        start: Start,
        policy: Policy,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let now = Moment::floor(now);
        let mut state = Self {
            cluster_id: cluster_id.into(),
            policy: policy.in_whole_ms(),
            keys: Vec::new(),
            providers: Vec::new(),
            writer: Writer::Plain,
            epoch: 0,
            next_task: 1,
            changing: None,
            work: Work::Resting {
                floor: 0,
                verify_at: None,
            },
            redo: false,
            remaining: Remaining::NONE,
        };
        match start {
            Start::Plain => {}
            Start::Unnamed { provider } => {
                state.providers.push(ProviderRecord::new(&provider, false));
                state.writer = Writer::Unnamed(provider);
            }
            Start::Key { provider, key } => {
                state.providers.push(ProviderRecord::new(&provider, true));
                let mut record = KeyRecord::new(key.id, provider, Stage::Active, now);
                record.health = key.state;
                record.active_at = key.active_at.map(Moment::ceil);
                record.material = key.material.filter(|material| *material != record.id);
                record.epoch = Some(1);
                state.epoch = 1;
                state.writer = Writer::Key(record.id.clone());
                state.keys.push(record);
                state.settle(now, false, false);
            }
        }
        state.check().map_err(|fault| match fault.field {
            "policy" => fault.into_error(ErrorKind::Config),
            _ => fault.into_error(ErrorKind::Malformed),
        })?;
        Ok(state)
    }

    /// The same state under another policy.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the policy is out of range.
    pub fn with_policy(mut self, policy: Policy) -> Result<Self, Error> {
        policy.check()?;
        self.policy = policy.in_whole_ms();
        Ok(self)
    }

    pub(super) fn position(&self, id: &KeyId) -> Option<usize> {
        self.keys.iter().position(|key| key.id == *id)
    }

    pub(super) fn active_position(&self) -> Option<usize> {
        match &self.writer {
            Writer::Key(id) => self.position(id),
            Writer::Plain | Writer::Unnamed(_) => None,
        }
    }

    pub(super) fn active(&self) -> Option<&KeyRecord> {
        self.keys.get(self.active_position()?)
    }

    pub(super) fn writer_provider(&self) -> Option<&ProviderName> {
        match &self.writer {
            Writer::Plain => None,
            Writer::Unnamed(provider) => Some(provider),
            Writer::Key(_) => self.active().map(KeyRecord::provider),
        }
    }

    /// What writers use, if objects can be migrated to it.
    pub(super) fn target(&self) -> Option<Target> {
        match &self.writer {
            Writer::Plain => Some(Target::Plain),
            Writer::Unnamed(_) => None,
            Writer::Key(_) => self.active().map(KeyRecord::as_target),
        }
    }

    /// Whether what objects are to be under can be written at all.
    pub(super) fn can_write(&self) -> bool {
        match &self.writer {
            Writer::Plain | Writer::Unnamed(_) => true,
            Writer::Key(_) => self.active().is_some_and(KeyRecord::may_encrypt),
        }
    }

    /// The place of the version that a change is preparing for, in this provider.
    pub(super) fn prepared_position(&self, provider: &ProviderName) -> Option<usize> {
        match &self.changing {
            Some(Changing::Reader {
                target: Target::Key { provider: of, id },
                ..
            }) if of == provider => self.position(id),
            _ => None,
        }
    }

    /// Versions that replicas will change over to by themselves, older first.
    pub(super) fn on_their_way(&self) -> impl Iterator<Item = (usize, &KeyRecord)> {
        let active = self.active_position();
        let provider = self.writer_provider();
        let newer = self.keys.iter().enumerate();
        newer.filter(move |(at, key)| {
            key.stage == Stage::Pending
                && Some(&key.provider) == provider
                && active.is_some_and(|active| *at > active)
        })
    }

    pub(super) fn new_task(&mut self, now: Moment, wait_until: Option<Moment>) -> Task {
        let id = TaskId::new(self.next_task);
        self.next_task = self.next_task.saturating_add(1);
        Task {
            id,
            issued: now,
            failures: 0,
            wait_until: wait_until.filter(|until| *until > now),
        }
    }

    /// Begins to wait for all writers. They are asked once the longest disagreement is over that
    /// the way allows in which they learn of the target.
    pub(super) fn settle(&mut self, now: Moment, reconfigure: bool, migrate: bool) {
        let policy = &self.policy;
        let from = self.active().map_or(now, |key| {
            let on_time = key.active_at.filter(|at| !key.late && *at <= now);
            match on_time {
                Some(instant) => instant.after(policy.skew),
                None => now.after(policy.late_bound()),
            }
        });
        self.work = Work::Settling {
            task: self.new_task(now, Some(from)),
            confirmed: false,
            reconfigure,
            lagging: 0,
            migrate,
        };
    }

    pub(super) fn start_migrating(&mut self, now: Moment, floor: u64, passes: u32) {
        let wait = match passes {
            0 => None,
            failures => Some(now.after(self.policy.retry(failures))),
        };
        if self.rewrite() == super::Rewrite::Rewrap {
            for key in &mut self.keys {
                key.rewrapped |= key.stage == Stage::Previous && key.is_live();
            }
        }
        self.work = Work::Migrating {
            task: self.new_task(now, wait),
            floor,
            passes,
        };
    }

    pub(super) fn start_verifying(&mut self, now: Moment, floor: u64, passes: u32) {
        self.work = Work::Verifying {
            task: self.new_task(now, None),
            floor,
            passes,
        };
    }
}

impl ProviderRecord {
    pub(super) fn new(name: &ProviderName, names_keys: bool) -> Self {
        Self {
            name: name.clone(),
            names_keys,
            release: None,
            lagging: 0,
        }
    }
}

impl KeyRecord {
    pub(super) fn as_target(&self) -> Target {
        Target::Key {
            provider: self.provider.clone(),
            id: self.id.clone(),
        }
    }
}
