//! Counting objects by what they are encrypted with.

mod report;
mod tally;

use std::collections::BTreeMap;

use kms_core::object::{KeyMap, Revision};

pub use self::report::{
    CensusReport, CensusRow, DamagedObject, DekSourceCount, HistoryCensus, KeyIdUse, LiveCensus,
    NamespaceRow, ResourceCount,
};
use self::tally::{Counted, Tally};
use super::Place;
use crate::kubernetes::{ConfiguredNames, Inspector};
use crate::{Error, ErrorKind};

/// How to count.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CensusOptions {
    /// The names of the configuration. Without it a name in a prefix ends at the first colon
    /// after which the value makes sense.
    pub names: Option<ConfiguredNames>,
    /// The API server's `--etcd-prefix`. `/registry` by default.
    pub etcd_prefix: Vec<u8>,
    /// Whether to count by namespace, too.
    pub by_namespace: bool,
    /// Whether to make a digest of each row's keys, so that two censuses can be compared. Keeps
    /// every key in memory.
    pub key_digests: bool,
    /// How many keys of each row to name: the first in byte order. None by default.
    pub examples: usize,
}

impl Default for CensusOptions {
    fn default() -> Self {
        Self {
            names: None,
            etcd_prefix: b"/registry".to_vec(),
            by_namespace: false,
            key_digests: false,
            examples: 0,
        }
    }
}

impl CensusOptions {
    /// Sets the names of the configuration.
    #[must_use]
    pub fn with_names(mut self, names: impl Into<Option<ConfiguredNames>>) -> Self {
        self.names = names.into();
        self
    }

    /// Sets the API server's `--etcd-prefix`.
    #[must_use]
    pub fn with_etcd_prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.etcd_prefix = prefix.into();
        self
    }

    /// Sets whether to count by namespace, too.
    #[must_use]
    pub const fn with_by_namespace(mut self, by_namespace: bool) -> Self {
        self.by_namespace = by_namespace;
        self
    }

    /// Sets whether to make a digest of each row's keys.
    #[must_use]
    pub const fn with_key_digests(mut self, key_digests: bool) -> Self {
        self.key_digests = key_digests;
        self
    }

    /// Sets how many keys of each row to name.
    #[must_use]
    pub const fn with_examples(mut self, keys: usize) -> Self {
        self.examples = keys;
        self
    }
}

/// Counts stored objects by resource, provider, prefix, key id and DEK source, without any key.
///
/// Every object is counted in exactly one row, also one that is damaged. What a row says is what
/// values say of themselves; only opening them shows that it is true.
///
/// Memory grows with the number of rows and of KMS v1 objects, and in history with the number of
/// keys; never with values.
#[derive(Debug)]
pub struct Census {
    options: CensusOptions,
    inspector: Inspector,
    live: Tally,
    all_puts: Tally,
    puts_not_live: Tally,
    facts: LiveCensus,
    history: HistoryCensus,
    has_history: bool,
    namespaces: BTreeMap<(String, String, String, Option<String>), u64>,
    /// Every key of history, and whether there is an object of it now.
    exists: KeyMap<bool>,
}

/// Damaged objects that are named; more are counted.
const MAX_NAMED: usize = 10_000;
/// Keys outside the prefix that are named; more are counted.
const MAX_OUTSIDE: usize = 1_000;

impl Census {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(options: CensusOptions) -> Self {
        Self {
            live: Tally::of_live(&options),
            all_puts: Tally::of_history(&options),
            puts_not_live: Tally::of_history(&options),
            facts: LiveCensus::default(),
            history: HistoryCensus::default(),
            has_history: false,
            namespaces: BTreeMap::new(),
            exists: KeyMap::new(),
            inspector: Inspector::new(options.names.clone()),
            options,
        }
    }

    /// Counts an object of the live keyspace. Each must be given once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if there are more different rows than any cluster has: somebody
    /// writes a new key id with each object.
    pub fn live(&mut self, key: &[u8], value: &[u8], has_lease: bool) -> Result<(), Error> {
        let place = Place::of(&self.options.etcd_prefix, key);
        let inspected = self.inspector.inspect(value);
        let counted = Counted::new(key, value, place.as_ref(), &inspected);
        self.live.add(&counted)?;
        self.facts.add(&counted, has_lease);
        if place.is_none() {
            self.facts.keys_outside_prefix = self.facts.keys_outside_prefix.saturating_add(1);
            if self.facts.keys_outside_registry.len() < MAX_OUTSIDE {
                let key = key.escape_ascii().to_string();
                self.facts.keys_outside_registry.push(key);
            }
        }
        if let Err(damaged) = &inspected {
            self.facts.add_damaged(key, value, damaged);
        }
        if self.options.by_namespace {
            let namespace = place.as_ref().and_then(|place| place.namespace.as_deref());
            let row = (
                counted.resource.to_owned(),
                namespace.unwrap_or_default().to_owned(),
                counted.prefix(),
                counted.key_id.map(str::to_owned),
            );
            let count = self.namespaces.entry(row).or_default();
            *count = count.saturating_add(1);
        }
        Ok(())
    }

    /// Counts a change that history holds: what was written, or a deletion if `value` is `None`.
    /// `is_live` says that this is what the object is now; such a change is to be given to
    /// [`Census::live`] as well. Any order will do.
    ///
    /// # Errors
    ///
    /// As [`Census::live`].
    pub fn change(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        revision: Revision,
        is_live: bool,
    ) -> Result<(), Error> {
        self.has_history = true;
        self.history.add(
            value.map_or(0, <[u8]>::len),
            revision,
            value.is_some(),
            is_live,
        );
        let is_known_to_exist = self.exists.get(key).copied().unwrap_or(false);
        self.exists.insert(key, is_known_to_exist || is_live);
        let Some(value) = value else {
            return Ok(());
        };
        let place = Place::of(&self.options.etcd_prefix, key);
        let inspected = self.inspector.inspect(value);
        let counted = Counted::new(key, value, place.as_ref(), &inspected);
        self.all_puts.add(&counted)?;
        if !is_live {
            self.puts_not_live.add(&counted)?;
        }
        Ok(())
    }

    /// Notes that history is read, though it may hold nothing, and up to where it is compacted if
    /// that is known. The highest revision that is given counts.
    pub fn reads_history(&mut self, compacted: Option<Revision>) {
        self.has_history = true;
        self.history.compacted = self.history.compacted.max(compacted);
    }

    /// How many live objects were counted.
    #[must_use]
    pub const fn objects(&self) -> u64 {
        self.facts.keys
    }

    /// What was found.
    #[must_use]
    pub fn report(self) -> CensusReport {
        let mut live = self.facts;
        live.census = self.live.into_rows();
        live.namespaces = self
            .options
            .by_namespace
            .then(|| namespaces(self.namespaces));
        let history = self.has_history.then(|| {
            let mut history = self.history;
            history.distinct_keys = self.exists.len();
            history.keys_deleted = self.exists.values().filter(|exists| !**exists).count() as u64;
            history.census_all_puts = self.all_puts.into_rows();
            history.census_puts_not_live = self.puts_not_live.into_rows();
            history
        });
        CensusReport::new(live, history)
    }
}

fn namespaces(
    counts: BTreeMap<(String, String, String, Option<String>), u64>,
) -> Vec<NamespaceRow> {
    let row = |((resource, namespace, prefix, key_id), objects)| NamespaceRow {
        resource,
        namespace,
        prefix,
        key_id,
        objects,
    };
    counts.into_iter().map(row).collect()
}

fn too_many_rows() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the objects are under more different key ids than a census can hold",
    )
}
