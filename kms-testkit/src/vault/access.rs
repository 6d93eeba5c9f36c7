//! Who may do what: roles, where they are granted, and from when.

use std::collections::BTreeMap;

use kms_core::Tick;
use serde::Deserialize;

use super::operation::Operation;

/// What sort of store answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    KeyVault,
    ManagedHsm,
}

/// A built-in role. Granted on a vault it is Azure's role of that name (`Key Vault Crypto …`),
/// granted on a Managed HSM the HSM's local one (`Managed HSM Crypto …`).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub enum Role {
    /// On a vault everything. On an HSM only recovering and purging: its officers use no keys.
    CryptoOfficer,
    /// On a vault: read, update, backup, encrypt, decrypt, wrap, unwrap, sign, verify. On an HSM
    /// everything but recover and purge.
    CryptoUser,
    /// Read, wrap and unwrap: all that a KMS plugin needs.
    CryptoServiceEncryptionUser,
    /// Release alone.
    CryptoServiceReleaseUser,
    /// Of an HSM: read alone.
    CryptoAuditor,
    /// Of a vault: its control plane, and no key operation at all.
    Contributor,
}

impl Role {
    const fn allows(self, kind: Kind, operation: Operation) -> bool {
        use Operation as O;
        let reads = matches!(
            operation,
            O::Get | O::List | O::ListVersions | O::GetDeleted | O::ListDeleted | O::Attestation
        );
        match (self, kind) {
            (Self::CryptoOfficer, Kind::KeyVault) => true,
            (Self::CryptoOfficer, Kind::ManagedHsm) => matches!(
                operation,
                O::Recover | O::Purge | O::GetDeleted | O::ListDeleted
            ),
            (Self::CryptoUser, Kind::ManagedHsm) => !matches!(operation, O::Recover | O::Purge),
            (Self::CryptoUser, Kind::KeyVault) => {
                reads
                    || matches!(
                        operation,
                        O::Update
                            | O::Backup
                            | O::Encrypt
                            | O::Decrypt
                            | O::WrapKey
                            | O::UnwrapKey
                            | O::Sign
                            | O::Verify
                    )
            }
            (Self::CryptoServiceEncryptionUser, _) => {
                reads || matches!(operation, O::WrapKey | O::UnwrapKey)
            }
            (Self::CryptoServiceReleaseUser, _) => matches!(operation, O::Release),
            (Self::CryptoAuditor, Kind::ManagedHsm) => reads,
            (Self::CryptoAuditor, Kind::KeyVault) | (Self::Contributor, _) => false,
        }
    }
}

/// How far a role reaches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The whole vault or HSM.
    Store,
    /// One key, by its name, in all versions.
    Key(String),
}

impl Scope {
    /// One key, by its name.
    #[must_use]
    pub fn key(name: impl Into<String>) -> Self {
        Self::Key(name.into())
    }

    fn covers(&self, key: Option<&str>) -> bool {
        match self {
            Self::Store => true,
            Self::Key(name) => key.is_some_and(|key| key.eq_ignore_ascii_case(name)),
        }
    }
}

/// Who may do what in one store.
#[derive(Debug, Default)]
pub(super) struct Access {
    pub(super) assignments: Assignments,
    /// By object id. In force only while `by_policies`, and kept while not.
    pub(super) policies: BTreeMap<String, Vec<Operation>>,
    pub(super) by_policies: bool,
}

/// In whose eyes a call is not allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Denied {
    ByRoles,
    ByPolicies,
}

impl Access {
    pub(super) fn check(
        &self,
        object_id: &str,
        kind: Kind,
        operation: Operation,
        key: Option<&str>,
        now: Tick,
    ) -> Result<(), Denied> {
        if !self.by_policies {
            let allowed = self.assignments.allow(object_id, kind, operation, key, now);
            return allowed.then_some(()).ok_or(Denied::ByRoles);
        }
        // A permission has the name of what it permits; several operations may share one.
        self.policies
            .get(object_id)
            .is_some_and(|permitted| permitted.iter().any(|one| one.name() == operation.name()))
            .then_some(())
            .ok_or(Denied::ByPolicies)
    }
}

/// The role assignments of one store.
#[derive(Debug, Default)]
pub(super) struct Assignments(Vec<Assignment>);

#[derive(Debug)]
struct Assignment {
    object_id: String,
    role: Role,
    scope: Scope,
    from: Tick,
    until: Option<Tick>,
}

impl Assignments {
    /// Effective from `from`: a grant takes its time to reach the data plane.
    pub(super) fn grant(&mut self, object_id: &str, role: Role, scope: Scope, from: Tick) {
        self.0.push(Assignment {
            object_id: object_id.to_owned(),
            role,
            scope,
            from,
            until: None,
        });
    }

    /// No longer effective from `until`.
    pub(super) fn revoke(&mut self, object_id: &str, role: Role, scope: &Scope, until: Tick) {
        for assignment in &mut self.0 {
            if assignment.object_id == object_id
                && assignment.role == role
                && assignment.scope == *scope
                && assignment.until.is_none()
            {
                assignment.until = Some(until);
            }
        }
    }

    fn allow(
        &self,
        object_id: &str,
        kind: Kind,
        operation: Operation,
        key: Option<&str>,
        now: Tick,
    ) -> bool {
        self.0.iter().any(|assignment| {
            assignment.object_id == object_id
                && assignment.from <= now
                && assignment.until.is_none_or(|until| now < until)
                && assignment.scope.covers(key)
                && assignment.role.allows(kind, operation)
        })
    }
}
