//! A key, its versions, and what a version may be used for.

use std::collections::BTreeMap;

use kms_core::{OsRandom, SecureRandom as _};
use serde_json::Value;

use super::attributes::Attributes;
use super::rotation::RotationPolicy;
use crate::vault::material::{KeyKind, Material};
use crate::vault::operation::Operation;
use crate::vault::refusal::Refusal;

/// A key by its name.
#[derive(Debug)]
pub(in crate::vault) struct KeyRecord {
    pub(in crate::vault) name: String,
    /// Oldest first; never empty once the store holds it.
    versions: Vec<Version>,
    pub(in crate::vault) deleted: Option<Deletion>,
    pub(in crate::vault) policy: Option<RotationPolicy>,
}

/// A key that is deleted and can still be recovered. Times are seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(in crate::vault) struct Deletion {
    pub(in crate::vault) at: i64,
    /// From then on it is listed among the deleted keys; before, it is being deleted.
    pub(in crate::vault) done: i64,
    /// Then it is gone for good.
    pub(in crate::vault) purge: i64,
}

/// One version of a key.
#[derive(Debug)]
pub(in crate::vault) struct Version {
    /// 32 lower-case hexadecimal digits.
    pub(in crate::vault) id: String,
    pub(in crate::vault) material: Material,
    pub(in crate::vault) hsm: bool,
    pub(in crate::vault) attributes: Attributes,
    pub(in crate::vault) key_ops: KeyOps,
    pub(in crate::vault) tags: BTreeMap<String, String>,
    /// As it was given: checked when keys are released, which this double does not do yet.
    pub(in crate::vault) release_policy: Option<Value>,
}

impl KeyRecord {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            versions: Vec::new(),
            deleted: None,
            policy: None,
        }
    }

    pub(in crate::vault) fn push(&mut self, version: Version) {
        self.versions.push(version);
    }

    /// Oldest first.
    pub(in crate::vault) fn versions(&self) -> &[Version] {
        &self.versions
    }

    pub(in crate::vault) fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    pub(super) fn version(&self, id: Option<&str>) -> Option<&Version> {
        match id {
            None => self.versions.last(),
            Some(id) => self
                .versions
                .iter()
                .find(|version| version.id.eq_ignore_ascii_case(id)),
        }
    }

    pub(super) fn version_mut(&mut self, id: Option<&str>) -> Option<&mut Version> {
        match id {
            None => self.versions.last_mut(),
            Some(id) => self
                .versions
                .iter_mut()
                .find(|version| version.id.eq_ignore_ascii_case(id)),
        }
    }
}

impl Version {
    /// Refuses what a version that is off, outside its time or not meant for it does not do.
    ///
    /// Outside its time a key still decrypts, unwraps, verifies and is released: nobody is locked
    /// out of data by an expiry.
    pub(in crate::vault) fn permit(&self, operation: Operation, now: i64) -> Result<(), Refusal> {
        let attributes = &self.attributes;
        if !attributes.enabled {
            return Err(Refusal::key_disabled(operation));
        }
        if matches!(
            operation,
            Operation::Encrypt | Operation::WrapKey | Operation::Sign
        ) {
            if attributes.expires.is_some_and(|expires| now >= expires) {
                return Err(Refusal::key_expired(operation));
            }
            if attributes.not_before.is_some_and(|start| now < start) {
                return Err(Refusal::key_not_yet_valid(operation));
            }
        }
        if !self.key_ops.allow(operation) {
            return Err(Refusal::key_operation_forbidden(operation));
        }
        Ok(())
    }
}

/// The `key_ops` of a version.
#[derive(Clone, Debug)]
pub(in crate::vault) struct KeyOps(Vec<&'static str>);

impl KeyOps {
    const RSA: &'static [&'static str] = &[
        "encrypt",
        "decrypt",
        "sign",
        "verify",
        "wrapKey",
        "unwrapKey",
    ];
    const EC: &'static [&'static str] = &["sign", "verify"];
    const OCT: &'static [&'static str] = &["encrypt", "decrypt", "wrapKey", "unwrapKey"];
    /// What an AES key may do besides, if it is asked for.
    const MAC: &'static [&'static str] = &["sign", "verify"];
    /// What any key may be marked with.
    const ALWAYS: &'static [&'static str] = &["import", "export"];

    /// What was asked for, or all that such a key can do.
    pub(in crate::vault) fn new(kind: KeyKind, asked: Option<&[String]>) -> Result<Self, Refusal> {
        let possible = match kind {
            KeyKind::Rsa(_) => Self::RSA,
            KeyKind::Ec(_) => Self::EC,
            KeyKind::Oct(_) => Self::OCT,
        };
        let besides = match kind {
            KeyKind::Oct(_) => Self::MAC,
            KeyKind::Rsa(_) | KeyKind::Ec(_) => &[],
        };
        let Some(asked) = asked else {
            return Ok(Self(possible.to_vec()));
        };
        let mut ops = Vec::with_capacity(asked.len());
        for op in asked {
            let known = possible
                .iter()
                .chain(besides)
                .chain(Self::ALWAYS)
                .find(|known| *known == op)
                .ok_or_else(|| {
                    Refusal::bad_parameter(format!(
                        "Property key_ops has invalid value: {op} is not supported by a key of type \
                         {}.",
                        kind.kty(false)
                    ))
                })?;
            if !ops.contains(known) {
                ops.push(*known);
            }
        }
        Ok(Self(ops))
    }

    pub(in crate::vault) fn names(&self) -> &[&'static str] {
        &self.0
    }

    fn allow(&self, operation: Operation) -> bool {
        match operation {
            Operation::Encrypt
            | Operation::Decrypt
            | Operation::WrapKey
            | Operation::UnwrapKey
            | Operation::Sign
            | Operation::Verify => self.0.contains(&operation.name()),
            _ => true,
        }
    }
}

/// 32 random lower-case hexadecimal digits: a version.
pub(in crate::vault) fn new_id() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    OsRandom
        .fill(&mut bytes)
        .map_err(|_| Refusal::internal("no randomness"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
