//! The keys of one vault or HSM.

mod attributes;
mod bundle;
mod key;

use std::collections::BTreeMap;

pub(super) use self::attributes::{Attributes, AttributesRequest, Retention};
pub(super) use self::bundle::View;
pub(super) use self::key::{KeyOps, KeyRecord, Version, new_id};
use super::refusal::Refusal;

/// Keys by their names; names are compared without regard to case.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) retention: Retention,
    keys: BTreeMap<String, KeyRecord>,
}

impl Store {
    pub(super) const fn new(retention: Retention) -> Self {
        Self {
            retention,
            keys: BTreeMap::new(),
        }
    }

    /// The key of this name, unless it is deleted or was never there: both look the same.
    pub(super) fn key(&self, name: &str) -> Result<&KeyRecord, Refusal> {
        self.keys
            .get(&name.to_ascii_lowercase())
            .filter(|key| key.deleted.is_none())
            .ok_or_else(|| Refusal::key_not_found(name))
    }

    pub(super) fn key_mut(&mut self, name: &str) -> Result<&mut KeyRecord, Refusal> {
        self.keys
            .get_mut(&name.to_ascii_lowercase())
            .filter(|key| key.deleted.is_none())
            .ok_or_else(|| Refusal::key_not_found(name))
    }

    /// A version, or the newest.
    pub(super) fn version(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<(&KeyRecord, &Version), Refusal> {
        let key = self.key(name)?;
        let found = key
            .version(version)
            .ok_or_else(|| Refusal::key_not_found(&id(name, version)))?;
        Ok((key, found))
    }

    pub(super) fn version_mut(
        &mut self,
        name: &str,
        version: Option<&str>,
    ) -> Result<&mut Version, Refusal> {
        self.key_mut(name)?
            .version_mut(version)
            .ok_or_else(|| Refusal::key_not_found(&id(name, version)))
    }

    /// All keys that are not deleted, in no promised order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &KeyRecord> {
        self.keys.values().filter(|key| key.deleted.is_none())
    }

    /// Adds a version to the key of this name, and the key if there is none.
    pub(super) fn add(&mut self, name: &str, version: Version) -> Result<&KeyRecord, Refusal> {
        let key = self
            .keys
            .entry(name.to_ascii_lowercase())
            .or_insert_with(|| KeyRecord::new(name));
        if key.deleted.is_some() {
            return Err(Refusal::deleted_but_recoverable(name));
        }
        key.push(version);
        Ok(key)
    }
}

fn id(name: &str, version: Option<&str>) -> String {
    match version {
        Some(version) => format!("{name}/{version}"),
        None => name.to_owned(),
    }
}
