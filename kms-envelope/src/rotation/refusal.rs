//! Why a request is refused.

use core::fmt;

use kms_core::object::Revision;
use kms_core::{KeyId, KeyState};

use super::ProviderName;
use crate::reencrypt::Objection;

/// Why a request is refused. `Display` says it to a person; [`Refusal::remedy`] says what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no key of this id here.
    UnknownKey {
        /// The id.
        key: KeyId,
    },
    /// The id was in use before. Objects, caches and backups may still name it.
    KeyIdReused {
        /// The id.
        key: KeyId,
    },
    /// Live objects would need more keys than the policy allows: an earlier change is not migrated
    /// yet.
    NotMigrated {
        /// The oldest key that objects still need.
        oldest: KeyId,
        /// How many keys live objects may need now.
        live: u32,
        /// How many that may be.
        max: u32,
    },
    /// Another change is being prepared.
    ChangeUnderWay,
    /// No change is being prepared, or its writers are switched already.
    NothingToAbandon,
    /// Objects are plain already.
    AlreadyPlain,
    /// Objects are encrypted already.
    AlreadyEncrypted,
    /// Writers write plain or under a provider that names no key.
    NoKeyInUse,
    /// The provider is the one in use.
    SameProvider {
        /// Its name.
        provider: ProviderName,
    },
    /// The key is not one of the provider in use.
    OtherProvider {
        /// Whose key it is.
        provider: ProviderName,
    },
    /// The key cannot encrypt.
    TargetUnusable {
        /// The key.
        key: KeyId,
        /// What its provider says of it.
        state: KeyState,
    },
    /// The key, or another id of the same material, is compromised.
    Compromised {
        /// The key.
        key: KeyId,
    },
    /// The key is retired or destroyed.
    Gone {
        /// The key.
        key: KeyId,
    },
    /// Replicas write with the key.
    IsActive {
        /// The key.
        key: KeyId,
    },
    /// Replicas are about to write with the key.
    IsPending {
        /// The key.
        key: KeyId,
    },
    /// Replicas write by the provider that this key belongs to, and their objects name no key.
    ProviderWrites {
        /// The provider.
        provider: ProviderName,
    },
    /// No census has shown yet that nothing needs the key.
    NotVerified {
        /// The key.
        key: KeyId,
    },
    /// The control plane holds two keys and fails without either.
    KeptUntilNextChange {
        /// The key.
        key: KeyId,
    },
    /// Replicas are configured with the key's provider.
    StillConfigured {
        /// The provider.
        provider: ProviderName,
    },
    /// Another id of the same key material is in use.
    MaterialInUse {
        /// The other id.
        by: KeyId,
    },
    /// The evidence is of another cluster.
    OtherCluster {
        /// Which one, if it says so.
        found: Option<String>,
    },
    /// The evidence is older than what the state already rests on.
    EvidenceTooEarly {
        /// The revision from which on it would count.
        needed: Revision,
        /// The revision it is of.
        found: Revision,
    },
    /// The evidence is too old, or of a time that has not come.
    EvidenceStale(Objection),
    /// Something needs the key, or may need it.
    StillReferenced {
        /// The key.
        key: KeyId,
        /// What needs it.
        objections: Vec<Objection>,
    },
    /// There is no room for more keys in the state.
    NoRoom,
}

impl Refusal {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey { .. } => "unknown_key",
            Self::KeyIdReused { .. } => "key_id_reused",
            Self::NotMigrated { .. } => "not_migrated",
            Self::ChangeUnderWay => "change_under_way",
            Self::NothingToAbandon => "nothing_to_abandon",
            Self::AlreadyPlain => "already_plain",
            Self::AlreadyEncrypted => "already_encrypted",
            Self::NoKeyInUse => "no_key_in_use",
            Self::SameProvider { .. } => "same_provider",
            Self::OtherProvider { .. } => "other_provider",
            Self::TargetUnusable { .. } => "target_unusable",
            Self::Compromised { .. } => "compromised",
            Self::Gone { .. } => "gone",
            Self::IsActive { .. } => "is_active",
            Self::IsPending { .. } => "is_pending",
            Self::ProviderWrites { .. } => "provider_writes",
            Self::NotVerified { .. } => "not_verified",
            Self::KeptUntilNextChange { .. } => "kept_until_next_change",
            Self::StillConfigured { .. } => "still_configured",
            Self::MaterialInUse { .. } => "material_in_use",
            Self::OtherCluster { .. } => "other_cluster",
            Self::EvidenceTooEarly { .. } => "evidence_too_early",
            Self::EvidenceStale(_) => "evidence_stale",
            Self::StillReferenced { .. } => "still_referenced",
            Self::NoRoom => "no_room",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownKey { .. } => {
                "check the id; a key is known once its provider was looked at"
            }
            Self::KeyIdReused { .. } => {
                "make a new version; to go back to old key material, give it a new key id"
            }
            Self::NotMigrated { .. } => {
                "let the migration finish and be verified, then ask again; see what stands in its way"
            }
            Self::ChangeUnderWay => "let it finish, or abandon it",
            Self::NothingToAbandon => "ask for another change instead, such as a rollback",
            Self::AlreadyPlain => "nothing has to be done",
            Self::AlreadyEncrypted => "to change the key, rotate it or replace it",
            Self::NoKeyInUse => "enable encryption, or replace the provider, first",
            Self::SameProvider { .. } => "rotate the key instead",
            Self::OtherProvider { .. } => {
                "replace the provider, giving the old material a new key id"
            }
            Self::TargetUnusable { .. } => "enable the key, or give another one",
            Self::Compromised { .. } => "use key material that is in nobody else's hands",
            Self::Gone { .. } => "give a key that exists",
            Self::IsActive { .. } => "rotate, and let objects be migrated, first",
            Self::IsPending { .. } => {
                "let it become active and be replaced, or abandon the change it belongs to"
            }
            Self::ProviderWrites { .. } => {
                "change to a provider whose objects name their key, first"
            }
            Self::NotVerified { .. } => {
                "wait for migration and census; see which objections the latest census raised"
            }
            Self::KeptUntilNextChange { .. } => {
                "change the key once more; afterwards this one may go"
            }
            Self::StillConfigured { .. } => {
                "drop this provider from the configuration of all replicas, first"
            }
            Self::MaterialInUse { .. } => "retire every id of this key material together",
            Self::OtherCluster { .. } => "take evidence of the cluster that this state is of",
            Self::EvidenceTooEarly { .. } => "take the evidence again",
            Self::EvidenceStale(objection) => objection.remedy(),
            Self::StillReferenced { .. } => {
                "do what each objection says, then take the evidence again"
            }
            Self::NoRoom => "delete the keys that are retired, so that they can be forgotten",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key } => write!(f, "the key {key} is not known"),
            Self::KeyIdReused { key } => write!(f, "the key id {key} was in use before"),
            Self::NotMigrated { oldest, live, max } => write!(
                f,
                "objects may still need the key {oldest}; {live} keys are in use, and {max} may be"
            ),
            Self::ChangeUnderWay => f.write_str("another change is being prepared"),
            Self::NothingToAbandon => f.write_str("no change is being prepared"),
            Self::AlreadyPlain => f.write_str("objects are plain already"),
            Self::AlreadyEncrypted => f.write_str("objects are encrypted already"),
            Self::NoKeyInUse => f.write_str("writers use no key that objects name"),
            Self::SameProvider { provider } => write!(f, "{provider} is in use already"),
            Self::OtherProvider { provider } => {
                write!(f, "the key is one of {provider}, which is not in use")
            }
            Self::TargetUnusable { key, state } => {
                write!(f, "the key {key} cannot encrypt: it is {state}")
            }
            Self::Compromised { key } => write!(f, "the key {key} is compromised"),
            Self::Gone { key } => write!(f, "the key {key} is retired or destroyed"),
            Self::IsActive { key } => write!(f, "replicas write with the key {key}"),
            Self::IsPending { key } => write!(f, "replicas are about to write with the key {key}"),
            Self::ProviderWrites { provider } => write!(
                f,
                "replicas write by {provider}, and their objects name no key"
            ),
            Self::NotVerified { key } => {
                write!(f, "no census has shown that nothing needs the key {key}")
            }
            Self::KeptUntilNextChange { key } => {
                write!(
                    f,
                    "the control plane holds the key {key} until the next change"
                )
            }
            Self::StillConfigured { provider } => {
                write!(f, "replicas are configured with {provider}")
            }
            Self::MaterialInUse { by } => {
                write!(f, "the key {by} has the same material and is in use")
            }
            Self::OtherCluster { found } => match found {
                Some(found) => write!(f, "the evidence is of another cluster, {found:?}"),
                None => f.write_str("the evidence does not say which cluster it is of"),
            },
            Self::EvidenceTooEarly { needed, found } => write!(
                f,
                "the evidence is of revision {found}, and has to be of {needed} or later"
            ),
            Self::EvidenceStale(objection) => fmt::Display::fmt(objection, f),
            Self::StillReferenced { key, objections } => write!(
                f,
                "the key {key} is still needed: {} objections",
                objections.len()
            ),
            Self::NoRoom => f.write_str("the state has no room for another key"),
        }
    }
}

impl core::error::Error for Refusal {}
