//! What the machine asks of a driver.

use std::time::SystemTime;

use kms_core::KeyId;
use serde::{Deserialize, Serialize};

use super::text::key_id;
use super::{Alert, Permit, ProviderName, Rewrite, TaskId};

/// Something to be done. All of it may be done twice.
///
/// `Persist` comes first. Until it has succeeded none of the others may be begun.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Store the new state, if what is stored is still the state that was stepped from. If it is
    /// not, forget this step, load what is stored and step again.
    Persist,
    /// Let nobody encrypt under this key any more: it is compromised.
    StopWrites {
        /// The key.
        key: KeyId,
    },
    /// Forget every DEK that this key has wrapped: it is compromised.
    PurgeDeks {
        /// The key.
        key: KeyId,
    },
    /// Have the provider make a new version. It is answered by the next observation that shows one.
    MakeVersion {
        /// Which task this is.
        task: TaskId,
        /// Whose version.
        provider: ProviderName,
        /// For a rollback: the id of the version whose material the new id is to have.
        material: Option<KeyId>,
        /// For a rollback: how many ids the material had before. It belongs in the new id.
        generation: u32,
    },
    /// Configure every replica so that it can read what is written by the target. Nobody writes by
    /// it yet.
    AddReader {
        /// Which task this is.
        task: TaskId,
        /// What has to be readable.
        target: Target,
    },
    /// Configure every replica so that it writes by the target, and reads by all that it read by
    /// before.
    SwitchWriter {
        /// Which task this is.
        task: TaskId,
        /// What to write by.
        target: Target,
    },
    /// Configure every replica so that it can do without this provider: nothing needs it.
    DropReader {
        /// Which task this is.
        task: TaskId,
        /// What to drop.
        provider: ProviderName,
    },
    /// Find out whether all replicas are as expected, those included that are down and may come
    /// back. Answered by [`Converged`](super::Event::Converged) or
    /// [`Lagging`](super::Event::Lagging).
    CheckConvergence {
        /// Which task this is.
        task: TaskId,
        /// What is expected of each.
        expectation: Expectation,
    },
    /// Encrypt objects again. Answered by [`Migrated`](super::Event::Migrated) after one pass.
    Migrate {
        /// Which task this is.
        task: TaskId,
        /// What they have to be under afterwards.
        target: Target,
        /// Whether each needs a new DEK.
        rewrite: Rewrite,
        /// Which objects.
        scope: Scope,
    },
    /// Take a census of the cluster. Answered by [`Verified`](super::Event::Verified).
    Verify {
        /// Which task this is.
        task: TaskId,
        /// What objects should be under.
        target: Target,
        /// The keys that are to go, if nothing needs them.
        keys: Vec<KeyId>,
    },
    /// The key may be deleted, until the permit ends.
    PermitDeletion {
        /// The key.
        key: KeyId,
        /// What it is permitted by.
        permit: Permit,
    },
    /// Tell the operator.
    Alert(Alert),
    /// Step again at this time, or a little later, if only with a [`Tick`](super::Event::Tick).
    WakeAt(SystemTime),
}

impl Effect {
    /// The task that this belongs to, if it belongs to one. A driver that is at work on this very
    /// effect leaves a second one alone.
    #[must_use]
    pub const fn task(&self) -> Option<TaskId> {
        match self {
            Self::MakeVersion { task, .. }
            | Self::AddReader { task, .. }
            | Self::SwitchWriter { task, .. }
            | Self::DropReader { task, .. }
            | Self::CheckConvergence { task, .. }
            | Self::Migrate { task, .. }
            | Self::Verify { task, .. } => Some(*task),
            Self::Persist
            | Self::StopWrites { .. }
            | Self::PurgeDeks { .. }
            | Self::PermitDeletion { .. }
            | Self::Alert(_)
            | Self::WakeAt(_) => None,
        }
    }
}

/// What objects are to be under.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Target {
    /// Nothing: stored as they are.
    Plain,
    /// This key.
    Key {
        /// Whose key it is.
        provider: ProviderName,
        /// Its id.
        #[serde(with = "key_id")]
        id: KeyId,
    },
}

impl Target {
    /// The key, if it is one.
    #[must_use]
    pub const fn key(&self) -> Option<&KeyId> {
        match self {
            Self::Plain => None,
            Self::Key { id, .. } => Some(id),
        }
    }
}

/// What every replica is expected to do.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Expectation {
    /// It can read what is written by this target.
    Reads(Target),
    /// It writes by this target, and would if it were started now.
    Writes(Target),
    /// Its configuration does not name this provider.
    Released(ProviderName),
}

/// Which objects to encrypt again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Scope {
    /// Those that are not under the target.
    OffTarget,
    /// All, once: some under the target may have a DEK that a compromised key has wrapped.
    Everything,
}
