//! Rows, and finding the one that an object belongs to.

use std::collections::{BTreeSet, HashMap};

use kms_core::object::KeyMap;
use kms_core::text::hex;
use ring::digest;

use super::report::{CensusRow, DekSourceCount};
use super::{CensusOptions, Place, too_many_rows};
use crate::Error;
use crate::digest::sha256_hex;
use crate::kubernetes::prefix_of;
use crate::kubernetes::{DamagedValue, DekSourceDigest, DekSourceType, Inspection, ProviderKind};

/// What counts of an object.
pub(super) struct Counted<'a> {
    pub(super) key: &'a [u8],
    pub(super) value_len: usize,
    pub(super) resource: &'a str,
    pub(super) provider: Option<ProviderKind>,
    name: Option<&'a str>,
    pub(super) key_id: Option<&'a str>,
    dek_source_type: Option<DekSourceType>,
    dek_source: Option<(DekSourceDigest, &'a [u8])>,
    encrypted_data_len: Option<usize>,
}

/// Where what is not below the prefix is counted.
const OUTSIDE: &str = "";

impl<'a> Counted<'a> {
    pub(super) fn new(
        key: &'a [u8],
        value: &'a [u8],
        place: Option<&'a Place<'_>>,
        inspected: &Result<Inspection<'a>, DamagedValue<'a>>,
    ) -> Self {
        let resource = place.map_or(OUTSIDE, |place| &*place.resource);
        let value_len = value.len();
        match inspected {
            Ok(inspection) => Self {
                key,
                value_len,
                resource,
                provider: Some(inspection.provider),
                name: inspection.name,
                key_id: inspection.key_id,
                dek_source_type: inspection.dek_source_type,
                dek_source: inspection
                    .dek_source_digest
                    .zip(inspection.encrypted_dek_source),
                encrypted_data_len: Some(inspection.encrypted_data_len),
            },
            Err(damaged) => Self {
                key,
                value_len,
                resource,
                provider: damaged.provider(),
                name: damaged.name(),
                key_id: None,
                dek_source_type: None,
                dek_source: None,
                encrypted_data_len: None,
            },
        }
    }

    pub(super) const fn is_damaged(&self) -> bool {
        self.encrypted_data_len.is_none()
    }

    pub(super) fn prefix(&self) -> String {
        prefix_of(self.provider, self.name)
    }

    /// All that a row is told apart by, unambiguously.
    fn identity(&self, into: &mut Vec<u8>) {
        into.clear();
        let kind = self.provider.map_or(0xff, |provider| provider as u8);
        let source = self.dek_source_type.map_or(0xff, |kind| kind as u8);
        into.extend([kind, source, u8::from(self.is_damaged())]);
        for part in [Some(self.resource), self.name, self.key_id] {
            into.push(u8::from(part.is_some()));
            let part = part.unwrap_or_default();
            into.extend((part.len() as u64).to_be_bytes());
            into.extend(part.as_bytes());
        }
    }
}

/// One census: rows by what tells them apart.
#[derive(Debug)]
pub(super) struct Tally {
    /// Where in `rows` the row of an identity is.
    places: HashMap<Vec<u8>, usize>,
    rows: Vec<Row>,
    /// Of the object before: many in a row belong to one.
    last: Option<(Vec<u8>, usize)>,
    identity: Vec<u8>,
    has_digests: bool,
    is_history: bool,
    examples: usize,
}

#[derive(Debug)]
struct Row {
    resource: String,
    provider: Option<ProviderKind>,
    prefix: String,
    key_id: Option<String>,
    dek_source_type: Option<DekSourceType>,
    is_damaged: bool,
    count: u64,
    value_bytes: u64,
    overhead_bytes: u64,
    /// KMS v2: few sources for many objects.
    sources: HashMap<DekSourceDigest, DekSourceCount>,
    /// Of the object before, and how many of it are not yet in `sources`.
    latest: Option<(DekSourceDigest, u64)>,
    /// KMS v1: as many sources as objects, of which 16 bytes tell them apart.
    own_sources: KeyMap<()>,
    /// History: the keys that were met.
    keys: KeyMap<()>,
    all_keys: BTreeSet<Vec<u8>>,
    /// The first keys in byte order.
    first_keys: BTreeSet<Vec<u8>>,
}

/// Rows of a tally. A cluster has some dozens of resources, and of key ids as many as it rotated.
const MAX_ROWS: usize = 100_000;

impl Tally {
    /// Of objects, each of which has a key of its own.
    pub(super) fn of_live(options: &CensusOptions) -> Self {
        Self {
            places: HashMap::new(),
            rows: Vec::new(),
            last: None,
            identity: Vec::new(),
            has_digests: options.key_digests,
            is_history: false,
            examples: options.examples,
        }
    }

    /// Of changes, several of which may be of one key.
    pub(super) fn of_history(options: &CensusOptions) -> Self {
        Self {
            is_history: true,
            ..Self::of_live(options)
        }
    }

    pub(super) fn add(&mut self, counted: &Counted<'_>) -> Result<(), Error> {
        let place = self.place(counted)?;
        if let Some(row) = self.rows.get_mut(place) {
            row.add(counted, self.is_history, self.has_digests);
            row.name(counted.key, self.examples);
        }
        Ok(())
    }

    fn place(&mut self, counted: &Counted<'_>) -> Result<usize, Error> {
        counted.identity(&mut self.identity);
        if let Some((identity, place)) = &self.last
            && *identity == self.identity
        {
            return Ok(*place);
        }
        let place = match self.places.get(&self.identity) {
            Some(place) => *place,
            None if self.rows.len() >= MAX_ROWS => return Err(too_many_rows()),
            None => {
                let place = self.rows.len();
                self.rows.push(Row::new(counted));
                self.places.insert(self.identity.clone(), place);
                place
            }
        };
        let (identity, last) = self.last.get_or_insert_default();
        identity.clone_from(&self.identity);
        *last = place;
        Ok(place)
    }

    /// The rows: what is encrypted first, and else in the order of their names.
    pub(super) fn into_rows(self) -> Vec<CensusRow> {
        let (is_history, has_digests) = (self.is_history, self.has_digests);
        let mut rows: Vec<_> = self
            .rows
            .into_iter()
            .map(|row| row.into_report(is_history, has_digests))
            .collect();
        rows.sort_by(|a, b| order(a).cmp(&order(b)));
        rows
    }
}

fn order(row: &CensusRow) -> impl Ord + '_ {
    let is_plain = row.provider == Some(ProviderKind::Identity);
    (
        is_plain,
        &row.resource,
        &row.prefix,
        &row.key_id,
        row.encrypted_dek_source_type,
        row.unparsable,
    )
}

impl Row {
    fn new(counted: &Counted<'_>) -> Self {
        Self {
            resource: counted.resource.to_owned(),
            provider: counted.provider,
            prefix: counted.prefix(),
            key_id: counted.key_id.map(str::to_owned),
            dek_source_type: counted.dek_source_type,
            is_damaged: counted.is_damaged(),
            count: 0,
            value_bytes: 0,
            overhead_bytes: 0,
            sources: HashMap::new(),
            latest: None,
            own_sources: KeyMap::new(),
            keys: KeyMap::new(),
            all_keys: BTreeSet::new(),
            first_keys: BTreeSet::new(),
        }
    }

    /// Keeps a key if it is among the first.
    fn name(&mut self, key: &[u8], most: usize) {
        let is_first = self.first_keys.len() < most
            || self
                .first_keys
                .last()
                .is_some_and(|last| key < last.as_slice());
        if is_first && self.first_keys.insert(key.to_vec()) && self.first_keys.len() > most {
            self.first_keys.pop_last();
        }
    }

    fn add(&mut self, counted: &Counted<'_>, is_history: bool, has_digests: bool) {
        let value_len = counted.value_len as u64;
        self.count = self.count.saturating_add(1);
        self.value_bytes = self.value_bytes.saturating_add(value_len);
        if let Some(data) = counted.encrypted_data_len {
            let overhead = value_len.saturating_sub(data as u64);
            self.overhead_bytes = self.overhead_bytes.saturating_add(overhead);
        }
        match (counted.provider, &counted.dek_source) {
            (Some(ProviderKind::KmsV2), Some((digest, source))) => match &mut self.latest {
                Some((latest, count)) if latest == digest => *count = count.saturating_add(1),
                _ => {
                    self.count_latest();
                    self.sources
                        .entry(*digest)
                        .or_insert_with(|| DekSourceCount::new(sha256_hex(source)));
                    self.latest = Some((*digest, 1));
                }
            },
            (_, Some((digest, _))) => {
                self.own_sources.insert(digest.as_bytes(), ());
            }
            (_, None) => {}
        }
        if is_history {
            self.keys.insert(counted.key, ());
        }
        if has_digests && !self.all_keys.contains(counted.key) {
            self.all_keys.insert(counted.key.to_vec());
        }
    }

    fn count_latest(&mut self) {
        if let Some((digest, more)) = self.latest.take()
            && let Some(source) = self.sources.get_mut(&digest)
        {
            source.count = source.count.saturating_add(more);
        }
    }

    fn into_report(mut self, is_history: bool, has_digests: bool) -> CensusRow {
        self.count_latest();
        let mut sources: Vec<_> = self.sources.into_values().collect();
        sources.sort();
        let distinct = (sources.len() as u64).saturating_add(self.own_sources.len());
        CensusRow {
            resource: self.resource,
            provider: self.provider,
            prefix: self.prefix,
            key_id: self.key_id,
            encrypted_dek_source_type: self.dek_source_type,
            unparsable: self.is_damaged,
            count: self.count,
            value_bytes: self.value_bytes,
            overhead_bytes: self.overhead_bytes,
            distinct_encrypted_dek_sources: distinct,
            by_encrypted_dek_source: sources,
            distinct_keys: is_history.then(|| self.keys.len()),
            keys_sha256_hex: has_digests.then(|| digest_of_keys(&self.all_keys)),
            examples: self
                .first_keys
                .iter()
                .map(|key| key.escape_ascii().to_string())
                .collect(),
            is_history,
        }
    }
}

/// SHA-256 of the keys in byte order, joined by line feeds.
fn digest_of_keys(keys: &BTreeSet<Vec<u8>>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            context.update(b"\n");
        }
        context.update(key);
    }
    hex(context.finish().as_ref())
}
