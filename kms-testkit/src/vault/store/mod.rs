//! The keys of one vault or HSM.

mod attributes;
mod backup;
mod bundle;
mod key;
mod rotation;

use std::collections::BTreeMap;

pub(super) use self::attributes::{Attributes, AttributesRequest, Retention};
pub(super) use self::backup::BackupKey;
pub(super) use self::bundle::View;
pub(super) use self::key::{Deletion, KeyOps, KeyRecord, Version, new_id};
pub(super) use self::rotation::RotationPolicy;
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

    /// All keys that are not deleted.
    pub(super) fn keys(&self) -> impl Iterator<Item = &KeyRecord> {
        self.keys.values().filter(|key| key.deleted.is_none())
    }

    pub(super) fn keys_mut(&mut self) -> impl Iterator<Item = &mut KeyRecord> {
        self.keys.values_mut().filter(|key| key.deleted.is_none())
    }

    /// Adds a version to the key of this name, and the key if there is none.
    pub(super) fn add(
        &mut self,
        name: &str,
        version: Version,
        now: i64,
    ) -> Result<&KeyRecord, Refusal> {
        self.name_is_free_of_deleted(name, now)?;
        let key = self
            .keys
            .entry(name.to_ascii_lowercase())
            .or_insert_with(|| KeyRecord::new(name));
        key.push(version);
        Ok(key)
    }

    /// Takes in a whole key whose name must be free.
    pub(super) fn insert(&mut self, key: KeyRecord, now: i64) -> Result<&KeyRecord, Refusal> {
        self.name_is_free_of_deleted(&key.name, now)?;
        let name = key.name.to_ascii_lowercase();
        if self.keys.contains_key(&name) {
            return Err(Refusal::key_exists(&key.name));
        }
        Ok(self.keys.entry(name).or_insert(key))
    }

    fn name_is_free_of_deleted(&self, name: &str, now: i64) -> Result<(), Refusal> {
        let found = self.keys.get(&name.to_ascii_lowercase());
        match found.and_then(|key| key.deleted) {
            None => Ok(()),
            Some(deletion) if now < deletion.done => Err(Refusal::being_deleted(name)),
            Some(_) => Err(Refusal::deleted_but_recoverable(name)),
        }
    }

    /// A deleted key. One that is still being deleted is not there yet.
    pub(super) fn deleted(&self, name: &str, now: i64) -> Result<(&KeyRecord, Deletion), Refusal> {
        self.keys
            .get(&name.to_ascii_lowercase())
            .and_then(|key| Some((key, key.deleted?)))
            .filter(|(_, deletion)| now >= deletion.done)
            .ok_or_else(|| Refusal::deleted_key_not_found(name))
    }

    pub(super) fn all_deleted(&self, now: i64) -> impl Iterator<Item = (&KeyRecord, Deletion)> {
        self.keys
            .values()
            .filter_map(|key| Some((key, key.deleted?)))
            .filter(move |(_, deletion)| now >= deletion.done)
    }

    /// Brings a deleted key back.
    pub(super) fn recover(&mut self, name: &str, now: i64) -> Result<&KeyRecord, Refusal> {
        let place = name.to_ascii_lowercase();
        let being_deleted = self
            .keys
            .get(&place)
            .and_then(|key| key.deleted)
            .is_some_and(|deletion| now < deletion.done);
        if being_deleted {
            return Err(Refusal::being_deleted(name));
        }
        let key = self
            .keys
            .get_mut(&place)
            .filter(|key| key.deleted.is_some())
            .ok_or_else(|| Refusal::deleted_key_not_found(name))?;
        key.deleted = None;
        Ok(key)
    }

    /// Destroys a deleted key.
    pub(super) fn purge(&mut self, name: &str, now: i64) -> Result<(), Refusal> {
        self.deleted(name, now)?;
        self.keys.remove(&name.to_ascii_lowercase());
        Ok(())
    }

    /// Destroys what has been kept for long enough.
    pub(super) fn forget(&mut self, now: i64) {
        self.keys
            .retain(|_, key| key.deleted.is_none_or(|deletion| now < deletion.purge));
    }
}

fn id(name: &str, version: Option<&str>) -> String {
    match version {
        Some(version) => format!("{name}/{version}"),
        None => name.to_owned(),
    }
}
