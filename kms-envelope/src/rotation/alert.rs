//! What an operator should know.

use core::fmt;
use std::time::SystemTime;

use kms_core::{KeyId, KeyState};

use super::ProviderName;

/// Something that an operator should know. Given out once when it comes up, and again after a
/// restart for as long as it lasts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Alert {
    /// Nothing can be written: the active key cannot encrypt. An older one does not take over.
    WritesStopped {
        /// The active key.
        key: KeyId,
        /// Why it cannot.
        why: Stop,
    },
    /// A key that live objects may need cannot decrypt.
    ReadsFail {
        /// The key.
        key: KeyId,
        /// What its provider says of it.
        state: KeyState,
    },
    /// The change that is being prepared waits: its key cannot encrypt.
    TargetUnusable {
        /// The key.
        key: KeyId,
        /// What its provider says of it.
        state: KeyState,
    },
    /// A version was seen after its instant: for a while replicas may write with different keys.
    /// Each can read what the other writes.
    SeenLate {
        /// The version.
        key: KeyId,
    },
    /// More keys are needed by live objects, or are about to be, than the policy allows.
    TooManyLiveKeys {
        /// How many there are, with those on their way.
        live: u32,
        /// How many there may be.
        max: u32,
        /// When the next one becomes active, if one is on its way.
        next: Option<SystemTime>,
    },
    /// Replicas do not write with the active key yet, or could not be asked. Nothing is migrated
    /// until they do.
    LaggingReplicas {
        /// How many.
        replicas: u32,
    },
    /// Objects are damaged. They count as references to every key.
    UnreadableObjects {
        /// How many.
        objects: u64,
    },
    /// Nothing is left to migrate, and something still needs an old key.
    StillNeeded {
        /// The key.
        key: KeyId,
        /// How many objections the evidence raises.
        objections: u32,
    },
    /// A replica was found to write with a key that all had left.
    ReplicaWentBack {
        /// The key.
        key: KeyId,
    },
    /// A provider says that it wraps with a key that was left, or that may be deleted.
    ProviderWentBack {
        /// The key.
        key: KeyId,
    },
    /// A key that no replica could read any more turned out to be needed.
    ReaderNeeded {
        /// Whose key it is.
        provider: ProviderName,
    },
    /// Evidence is of another cluster.
    OtherCluster {
        /// Which one, if it says so.
        found: Option<String>,
    },
    /// A task has failed three times or more.
    TaskFails {
        /// What it is.
        activity: Activity,
    },
    /// There is no room for more keys in the state.
    NoRoom,
}

/// Why nothing can be written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Stop {
    /// The active key is compromised.
    Compromised,
    /// The active key is in this state.
    Unusable(KeyState),
}

impl Stop {
    /// What the operator should do.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Compromised => {
                "make a new version of the key, or change to another key; keep this one enabled until its objects are encrypted again"
            }
            Self::Unusable(KeyState::Expired) => {
                "extend the key's end time so that writes go on, then make a new version"
            }
            Self::Unusable(KeyState::Disabled) => "enable the key, or make a new version",
            Self::Unusable(KeyState::NotYetValid) => {
                "set the key's start time to the past, or make a new version"
            }
            Self::Unusable(KeyState::PendingDestruction) => {
                "recover the key while that is possible, then make a new version"
            }
            Self::Unusable(_) => {
                "recover the key if its provider can; make a new version, and restore what was under the lost one from a backup"
            }
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compromised => f.write_str("it is compromised"),
            Self::Unusable(state) => write!(f, "it is {state}"),
        }
    }
}

/// What the machine is at.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Activity {
    /// Nothing has to be done.
    Idle,
    /// Having a new version made.
    MakingVersion,
    /// Bringing the reader of a new target to all replicas.
    AddingReader,
    /// Waiting for all replicas to write by the target.
    Converging,
    /// Encrypting objects again.
    Migrating,
    /// Taking a census.
    Verifying,
    /// Taking the reader of a provider that nothing needs from all replicas.
    DroppingReader,
}

impl Activity {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::MakingVersion => "making_version",
            Self::AddingReader => "adding_reader",
            Self::Converging => "converging",
            Self::Migrating => "migrating",
            Self::Verifying => "verifying",
            Self::DroppingReader => "dropping_reader",
        }
    }
}

impl Alert {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WritesStopped { .. } => "writes_stopped",
            Self::ReadsFail { .. } => "reads_fail",
            Self::TargetUnusable { .. } => "target_unusable",
            Self::SeenLate { .. } => "seen_late",
            Self::TooManyLiveKeys { .. } => "too_many_live_keys",
            Self::LaggingReplicas { .. } => "lagging_replicas",
            Self::UnreadableObjects { .. } => "unreadable_objects",
            Self::StillNeeded { .. } => "still_needed",
            Self::ReplicaWentBack { .. } => "replica_went_back",
            Self::ProviderWentBack { .. } => "provider_went_back",
            Self::ReaderNeeded { .. } => "reader_needed",
            Self::OtherCluster { .. } => "other_cluster",
            Self::TaskFails { .. } => "task_fails",
            Self::NoRoom => "no_room",
        }
    }

    /// What the operator should do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::WritesStopped { why, .. } => why.remedy(),
            Self::ReadsFail { .. } => {
                "enable or recover the key until its objects are migrated; if it is lost, restore or delete them"
            }
            Self::TargetUnusable { .. } => "make the new key usable, or abandon the change",
            Self::SeenLate { .. } => {
                "nothing, if it was enabled late on purpose; else check that the provider can be reached"
            }
            Self::TooManyLiveKeys { .. } => {
                "let the migration finish before the next version becomes active, or set its start time off"
            }
            Self::LaggingReplicas { .. } => {
                "start these replicas or take them out of the cluster, and check that they reach the provider"
            }
            Self::UnreadableObjects { .. } => "restore or delete these objects, then verify",
            Self::StillNeeded { .. } => "do what each objection of the evidence says, then verify",
            Self::ReplicaWentBack { .. } => "check the configuration and the clock of that replica",
            Self::ProviderWentBack { .. } => {
                "make a new version; for a rollback give the old version a new key id"
            }
            Self::ReaderNeeded { .. } => {
                "configure this provider as a reader on all replicas again, then verify"
            }
            Self::OtherCluster { .. } => "give the end points of the cluster that this state is of",
            Self::TaskFails { .. } => "see the driver's log for the cause; it is tried again",
            Self::NoRoom => "delete the keys that are retired, so that they can be forgotten",
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WritesStopped { key, why } => {
                write!(f, "nothing can be written under the key {key}: {why}")
            }
            Self::ReadsFail { key, state } => {
                write!(f, "objects may need the key {key}, which is {state}")
            }
            Self::TargetUnusable { key, state } => {
                write!(f, "the change waits: the new key {key} is {state}")
            }
            Self::SeenLate { key } => write!(f, "the key {key} was seen late"),
            Self::TooManyLiveKeys { live, max, .. } => {
                write!(f, "{live} keys are in use or about to be, and {max} may be")
            }
            Self::LaggingReplicas { replicas } => {
                write!(
                    f,
                    "{replicas} replicas are not as they should be, or do not answer"
                )
            }
            Self::UnreadableObjects { objects } => write!(f, "{objects} objects are damaged"),
            Self::StillNeeded { key, objections } => {
                write!(f, "the key {key} is still needed: {objections} objections")
            }
            Self::ReplicaWentBack { key } => {
                write!(f, "a replica writes with the key {key}, which all had left")
            }
            Self::ProviderWentBack { key } => {
                write!(f, "the provider wraps with the key {key}, which was left")
            }
            Self::ReaderNeeded { provider } => {
                write!(
                    f,
                    "no replica reads by {provider} any more, and objects need it"
                )
            }
            Self::OtherCluster { found } => match found {
                Some(found) => write!(f, "the evidence is of another cluster, {found:?}"),
                None => f.write_str("the evidence does not say which cluster it is of"),
            },
            Self::TaskFails { activity } => {
                write!(f, "{} fails again and again", activity.as_str())
            }
            Self::NoRoom => f.write_str("the state has no room for another key"),
        }
    }
}
