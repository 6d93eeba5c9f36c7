//! What a census found.

use std::collections::BTreeMap;

use kms_core::object::Revision;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::MAX_NAMED;
use super::tally::Counted;
use crate::kubernetes::{DamagedValue, DekSourceType, ProviderKind};

/// What stored objects are encrypted with. Serializes to JSON with the names of its fields.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct CensusReport {
    /// What the cluster holds now.
    pub live: LiveCensus,
    /// What its history holds, if that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryCensus>,
    /// Every key id that a KMS v2 value names, with what needs it.
    pub key_ids: Vec<KeyIdUse>,
}

/// The live keyspace.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct LiveCensus {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys.
    pub key_bytes: u64,
    /// Bytes of values.
    pub value_bytes: u64,
    /// Keys with a lease: they expire by themselves, such as events.
    pub keys_with_an_etcd_lease: u64,
    /// Keys that are not under the API server's prefix, at most a thousand.
    pub keys_outside_registry: Vec<String>,
    /// How many such keys there are.
    #[serde(skip)]
    pub keys_outside_prefix: u64,
    /// By resource.
    pub objects_by_resource: BTreeMap<String, ResourceCount>,
    /// By everything that tells two values apart.
    pub census: Vec<CensusRow>,
    /// By namespace, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<NamespaceRow>>,
    /// Objects that are damaged, as far as this is seen without a key; at most ten thousand.
    pub damaged: Vec<DamagedObject>,
    /// Damaged objects beyond those that are named.
    #[serde(skip_serializing_if = "is_zero")]
    pub damaged_not_named: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde wants"
)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl LiveCensus {
    pub(super) fn add(&mut self, counted: &Counted<'_>, has_lease: bool) {
        let add = |to: &mut u64, count: u64| *to = to.saturating_add(count);
        add(&mut self.keys, 1);
        add(&mut self.key_bytes, counted.key.len() as u64);
        add(&mut self.value_bytes, counted.value_len as u64);
        add(&mut self.keys_with_an_etcd_lease, u64::from(has_lease));
        let is_plain = counted.provider == Some(ProviderKind::Identity);
        let count = |resource: &mut ResourceCount| {
            add(&mut resource.objects, 1);
            add(&mut resource.plain, u64::from(is_plain));
            add(&mut resource.encrypted, u64::from(!is_plain));
        };
        match self.objects_by_resource.get_mut(counted.resource) {
            Some(resource) => count(resource),
            None => {
                let resource = self.objects_by_resource.entry(counted.resource.to_owned());
                count(resource.or_default());
            }
        }
    }

    pub(super) fn add_damaged(&mut self, key: &[u8], value: &[u8], damaged: &DamagedValue<'_>) {
        if self.damaged.len() >= MAX_NAMED {
            self.damaged_not_named = self.damaged_not_named.saturating_add(1);
            return;
        }
        self.damaged.push(DamagedObject {
            etcd_key: key.escape_ascii().to_string(),
            damage: "unparsable".to_owned(),
            reason: damaged.to_string(),
            stored_len: value.len() as u64,
        });
    }
}

/// How many objects of a resource there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ResourceCount {
    /// All of them.
    pub objects: u64,
    /// Stored as they are.
    pub plain: u64,
    /// With a prefix, damaged or not.
    pub encrypted: u64,
}

/// Objects that have resource, prefix, key id and type of DEK source in common.
///
/// Serializes `count` as `objects`, or as `records` in history.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CensusRow {
    /// As in the etcd key: the first segment after the prefix, or the first two. Empty for keys
    /// that are not under the prefix.
    pub resource: String,
    /// The provider; `None` if the prefix names one that is not known.
    pub provider: Option<ProviderKind>,
    /// All before the payload; empty for what is stored as it is.
    pub prefix: String,
    /// KMS v2: the id of the KEK. A KMS v1 value names none.
    pub key_id: Option<String>,
    /// KMS v2: what the wrapped secret is.
    pub encrypted_dek_source_type: Option<DekSourceType>,
    /// Whether these are damaged so that what they are under cannot be known.
    pub unparsable: bool,
    /// How many there are.
    pub count: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
    /// Bytes of prefixes, wrapped secrets and the like, without nonces and tags.
    pub overhead_bytes: u64,
    /// KMS: how many DEK sources they share.
    pub distinct_encrypted_dek_sources: u64,
    /// KMS v2: by DEK source.
    pub by_encrypted_dek_source: Vec<DekSourceCount>,
    /// In history: how many keys these are changes of.
    pub distinct_keys: Option<u64>,
    /// SHA-256 of the keys in byte order, joined by line feeds, if that was asked for.
    pub keys_sha256_hex: Option<String>,
    /// Some of the keys, if that was asked for: the first in byte order.
    pub examples: Vec<String>,
    pub(super) is_history: bool,
}

impl Serialize for CensusRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = if self.is_history {
            "records"
        } else {
            "objects"
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("resource", &self.resource)?;
        map.serialize_entry("provider", &self.provider)?;
        map.serialize_entry("prefix", &self.prefix)?;
        map.serialize_entry("key_id", &self.key_id)?;
        let kind = self.encrypted_dek_source_type.map(DekSourceType::as_str);
        map.serialize_entry("encrypted_dek_source_type", &kind)?;
        if self.unparsable {
            map.serialize_entry("unparsable", &true)?;
        }
        map.serialize_entry(count, &self.count)?;
        map.serialize_entry("value_bytes", &self.value_bytes)?;
        map.serialize_entry("overhead_bytes", &self.overhead_bytes)?;
        let distinct = self.distinct_encrypted_dek_sources;
        map.serialize_entry("distinct_encrypted_dek_sources", &distinct)?;
        if !self.by_encrypted_dek_source.is_empty() {
            let sources: Vec<_> = self
                .by_encrypted_dek_source
                .iter()
                .map(|source| SourceEntry { source, count })
                .collect();
            map.serialize_entry("by_encrypted_dek_source", &sources)?;
        }
        if let Some(keys) = self.distinct_keys {
            map.serialize_entry("distinct_keys", &keys)?;
        }
        if let Some(digest) = &self.keys_sha256_hex {
            map.serialize_entry("keys_sha256_hex", digest)?;
        }
        if !self.examples.is_empty() {
            map.serialize_entry("examples", &self.examples)?;
        }
        map.end()
    }
}

struct SourceEntry<'a> {
    source: &'a DekSourceCount,
    count: &'static str,
}

impl Serialize for SourceEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("encrypted_dek_source_sha256_hex", &self.source.sha256_hex)?;
        map.serialize_entry(self.count, &self.source.count)?;
        map.end()
    }
}

/// How many values share a DEK source.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct DekSourceCount {
    /// SHA-256 of the wrapped secret.
    pub sha256_hex: String,
    /// Values.
    pub count: u64,
}

impl DekSourceCount {
    pub(super) const fn new(sha256_hex: String) -> Self {
        Self {
            sha256_hex,
            count: 0,
        }
    }
}

/// Objects of one namespace.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NamespaceRow {
    /// As in [`CensusRow::resource`].
    pub resource: String,
    /// Empty for what is in no namespace.
    pub namespace: String,
    /// As in [`CensusRow::prefix`].
    pub prefix: String,
    /// As in [`CensusRow::key_id`].
    pub key_id: Option<String>,
    /// How many there are.
    pub objects: u64,
}

/// An object that does not open, or cannot.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DamagedObject {
    /// Its key; what is not printable ASCII is escaped.
    pub etcd_key: String,
    /// `unparsable`, or `does-not-open` if that was tried.
    pub damage: String,
    /// What is wrong, for people.
    pub reason: String,
    /// The length of the stored value, in bytes.
    pub stored_len: u64,
}

impl DamagedObject {
    /// An object that parses and does not open.
    #[must_use]
    pub fn does_not_open(key: &[u8], value: &[u8], reason: impl Into<String>) -> Self {
        Self {
            etcd_key: key.escape_ascii().to_string(),
            damage: "does-not-open".to_owned(),
            reason: reason.into(),
            stored_len: value.len() as u64,
        }
    }
}

/// What history holds: every change that was not compacted.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct HistoryCensus {
    /// Changes.
    pub records: u64,
    /// Of these, values that were written.
    pub puts: u64,
    /// Of these, deletions.
    pub tombstones: u64,
    /// Keys that they are of.
    pub distinct_keys: u64,
    /// Of these, keys that no longer exist.
    pub keys_deleted: u64,
    /// Values that are not what their object is now.
    pub puts_not_live: u64,
    /// Bytes of all values.
    pub value_bytes: u64,
    /// Bytes of values that are not live.
    pub value_bytes_not_live: u64,
    /// The oldest change.
    pub first_revision: u64,
    /// The newest.
    pub last_revision: u64,
    /// Up to where it is compacted, if it is and the source says so.
    #[serde(skip)]
    pub compacted: Option<Revision>,
    /// All values by everything that tells them apart.
    pub census_all_puts: Vec<CensusRow>,
    /// Those that are not live.
    pub census_puts_not_live: Vec<CensusRow>,
}

impl HistoryCensus {
    pub(super) fn add(
        &mut self,
        value_len: usize,
        revision: Revision,
        is_put: bool,
        is_live: bool,
    ) {
        let add = |to: &mut u64, count: u64| *to = to.saturating_add(count);
        let superseded = is_put && !is_live;
        add(&mut self.records, 1);
        add(&mut self.puts, u64::from(is_put));
        add(&mut self.tombstones, u64::from(!is_put));
        add(&mut self.puts_not_live, u64::from(superseded));
        add(&mut self.value_bytes, value_len as u64);
        if superseded {
            add(&mut self.value_bytes_not_live, value_len as u64);
        }
        let revision = revision.get();
        self.last_revision = self.last_revision.max(revision);
        self.first_revision = match self.first_revision {
            0 => revision,
            first => first.min(revision),
        };
    }
}

/// What needs a key id of KMS v2.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KeyIdUse {
    /// The provider's prefix.
    pub prefix: String,
    /// The key id. `None` stands for KMS v1, whose values name none: any key of that provider
    /// may be needed.
    pub key_id: Option<String>,
    /// Live objects.
    pub live_objects: u64,
    /// Values in history, live ones included; `None` if history was not read.
    pub records: Option<u64>,
    /// Values in history that are not live.
    pub records_not_live: Option<u64>,
}

impl KeyIdUse {
    /// Whether only history holds values of this key: who restores an older revision needs it.
    #[must_use]
    pub fn is_only_in_history(&self) -> bool {
        self.live_objects == 0 && self.records.is_some_and(|records| records > 0)
    }
}

impl CensusReport {
    pub(super) fn new(live: LiveCensus, history: Option<HistoryCensus>) -> Self {
        let key_ids = key_ids(&live, history.as_ref());
        Self {
            live,
            history,
            key_ids,
        }
    }
}

fn key_ids(live: &LiveCensus, history: Option<&HistoryCensus>) -> Vec<KeyIdUse> {
    let mut uses = BTreeMap::<(String, Option<String>), KeyIdUse>::new();
    let zero = history.map(|_| 0);
    let mut each = |rows: &[CensusRow], add: &dyn Fn(&mut KeyIdUse, u64)| {
        for row in rows {
            let names_its_key = row.provider == Some(ProviderKind::KmsV2) && !row.unparsable;
            if !names_its_key && row.provider != Some(ProviderKind::KmsV1) {
                continue;
            }
            let entry = uses
                .entry((row.prefix.clone(), row.key_id.clone()))
                .or_insert_with(|| KeyIdUse {
                    prefix: row.prefix.clone(),
                    key_id: row.key_id.clone(),
                    live_objects: 0,
                    records: zero,
                    records_not_live: zero,
                });
            add(entry, row.count);
        }
    };
    let plus = |to: Option<u64>, count: u64| to.map(|to| to.saturating_add(count));
    each(&live.census, &|entry, count| {
        entry.live_objects = entry.live_objects.saturating_add(count);
    });
    if let Some(history) = history {
        each(&history.census_all_puts, &|entry, count| {
            entry.records = plus(entry.records, count);
        });
        each(&history.census_puts_not_live, &|entry, count| {
            entry.records_not_live = plus(entry.records_not_live, count);
        });
    }
    uses.into_values().collect()
}
