//! What the machine is waiting for.

use kms_core::KeyId;
use serde::{Deserialize, Serialize};

use super::super::moment::Moment;
use super::super::text::{key_id, maybe_key_id, nullable};
use super::super::{Policy, ProviderName, Target, TaskId};

/// Something that a driver has to do, until it says that it is done.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Task {
    pub(in super::super) id: TaskId,
    /// When its effects were last given out.
    pub(in super::super) issued: Moment,
    /// Failures so far.
    pub(in super::super) failures: u32,
    /// Its effects are held back until then.
    #[serde(deserialize_with = "nullable")]
    pub(in super::super) wait_until: Option<Moment>,
}

impl Task {
    /// Whether its effects are to be carried out now.
    pub(in super::super) const fn is_open(&self) -> bool {
        self.wait_until.is_none()
    }

    /// Puts it off, the longer the more often it has failed.
    pub(in super::super) fn put_off(&mut self, policy: &Policy, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.wait_until = Some(now.after(policy.retry(self.failures)));
    }

    /// When something has to be done about it without an answer.
    pub(in super::super) fn due(&self, policy: &Policy) -> Moment {
        self.wait_until
            .unwrap_or_else(|| self.issued.after(policy.reissue_after))
    }
}

/// What writers are meant to use.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in super::super) enum Writer {
    Plain,
    /// A provider whose objects name no key: KMS v1, `aescbc` and its like.
    Unnamed(ProviderName),
    /// The one key that is active.
    Key(#[serde(with = "key_id")] KeyId),
}

/// A change that was asked for, until writers use it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in super::super) enum Changing {
    /// A new version is to be made. Replicas change over to it by themselves.
    Version {
        task: Task,
        provider: ProviderName,
        #[serde(with = "maybe_key_id")]
        material: Option<KeyId>,
        generation: u32,
    },
    /// Every replica has to read by the target before any writes by it.
    Reader {
        task: Task,
        target: Target,
        lagging: u32,
        /// All do.
        ready: bool,
    },
}

impl Changing {
    pub(in super::super) const fn task(&self) -> &Task {
        match self {
            Self::Version { task, .. } | Self::Reader { task, .. } => task,
        }
    }

    pub(in super::super) const fn task_mut(&mut self) -> &mut Task {
        match self {
            Self::Version { task, .. } | Self::Reader { task, .. } => task,
        }
    }
}

/// What comes after writers were switched.
///
/// `floor` is the revision at which every writer was known to use the target: what is written later
/// is under the target. Only a census of that revision or a later one says anything about the keys
/// that were left.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in super::super) enum Work {
    Resting {
        floor: u64,
        #[serde(deserialize_with = "nullable")]
        verify_at: Option<Moment>,
    },
    /// Writers are changing over.
    Settling {
        task: Task,
        /// All have changed over once; what they had may still be used for the write lease.
        confirmed: bool,
        /// Somebody has to switch them; else they do it by themselves.
        reconfigure: bool,
        lagging: u32,
        /// Whether objects are migrated next, or counted first.
        migrate: bool,
    },
    Migrating {
        task: Task,
        floor: u64,
        /// Passes that have made it no better.
        passes: u32,
    },
    Verifying {
        task: Task,
        floor: u64,
        passes: u32,
    },
}

impl Work {
    pub(in super::super) const fn task(&self) -> Option<&Task> {
        match self {
            Self::Resting { .. } => None,
            Self::Settling { task, .. }
            | Self::Migrating { task, .. }
            | Self::Verifying { task, .. } => Some(task),
        }
    }

    pub(in super::super) const fn task_mut(&mut self) -> Option<&mut Task> {
        match self {
            Self::Resting { .. } => None,
            Self::Settling { task, .. }
            | Self::Migrating { task, .. }
            | Self::Verifying { task, .. } => Some(task),
        }
    }
}

/// A provider that replicas may be configured with.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct ProviderRecord {
    pub(in super::super) name: ProviderName,
    /// Whether its objects name their key.
    pub(in super::super) names_keys: bool,
    /// Replicas are to do without it.
    #[serde(deserialize_with = "nullable")]
    pub(in super::super) release: Option<Task>,
    pub(in super::super) lagging: u32,
}
