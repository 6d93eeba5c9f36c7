//! The revisions of a store, and what compaction leaves of them. Knows no locks and no futures.

use core::ops::Bound;
use std::collections::{BTreeMap, VecDeque};

use kms_core::object::{
    HistoryOptions, HistoryPage, HistoryPosition, HistoryRecord, LeaseId, ObjectKey, Revision,
    ScanOptions, ScanPage, StoredObject,
};
use kms_core::{Error, ErrorKind};

/// One change. Every change has a revision of its own.
#[derive(Debug)]
struct Record {
    key: ObjectKey,
    /// `None` is a tombstone.
    value: Option<Vec<u8>>,
    lease: Option<LeaseId>,
}

/// A version that is there.
struct Version<'a> {
    revision: u64,
    record: &'a Record,
    value: &'a Vec<u8>,
}

impl Version<'_> {
    fn to_object(&self) -> StoredObject {
        StoredObject::new(
            self.record.key.clone(),
            self.value.clone(),
            Revision::new(self.revision),
        )
        .with_lease(self.record.lease)
    }
}

/// Invariants: `index` and `records` name the same changes; the revisions of a key ascend and are
/// never none; at most the first of them is at or below `compacted`, and that one is no tombstone.
#[derive(Debug)]
pub(super) struct State {
    revision: u64,
    compacted: u64,
    records: BTreeMap<u64, Record>,
    index: BTreeMap<ObjectKey, VecDeque<u64>>,
}

impl State {
    /// An empty store; as etcd's, it begins at revision one.
    pub(super) const fn new() -> Self {
        Self {
            revision: 1,
            compacted: 0,
            records: BTreeMap::new(),
            index: BTreeMap::new(),
        }
    }

    pub(super) const fn revision(&self) -> Revision {
        Revision::new(self.revision)
    }

    /// The revision that a read which names `at` is to see.
    pub(super) fn readable(&self, at: Option<Revision>) -> Result<Revision, Error> {
        let Some(at) = at else {
            return Ok(self.revision());
        };
        if at.get() > self.revision {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "revision {at} is not reached yet; the newest is {}",
                    self.revision
                ),
            ));
        }
        if at.get() < self.compacted {
            return Err(Error::new(
                ErrorKind::Compacted,
                format!(
                    "revision {at} is compacted; the oldest kept is {}",
                    self.compacted
                ),
            ));
        }
        Ok(at)
    }

    /// The object as of a revision that is readable.
    pub(super) fn object_at(&self, key: &ObjectKey, at: Revision) -> Option<StoredObject> {
        Some(self.version_at(self.index.get(key)?, at)?.to_object())
    }

    /// Which of a key's versions stands at a revision, unless it is a tombstone.
    fn version_at(&self, revisions: &VecDeque<u64>, at: Revision) -> Option<Version<'_>> {
        let after = revisions.partition_point(|revision| *revision <= at.get());
        let revision = *revisions.get(after.checked_sub(1)?)?;
        let record = self.records.get(&revision)?;
        Some(Version {
            revision,
            record,
            value: record.value.as_ref()?,
        })
    }

    /// The newest revision of an object that exists, and its lease.
    pub(super) fn current(&self, key: &ObjectKey) -> Option<(Revision, Option<LeaseId>)> {
        let revision = *self.index.get(key)?.back()?;
        let record = self.records.get(&revision)?;
        record.value.as_ref()?;
        Some((Revision::new(revision), record.lease))
    }

    pub(super) fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Error> {
        let at = self.readable(options.at)?;
        let (start, end) = options.range();
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut versions = self
            .index
            .range::<[u8], _>((Bound::Included(start.as_slice()), end))
            .filter_map(|(_, revisions)| self.version_at(revisions, at))
            .peekable();
        let mut budget = Budget::new(options.page_limit, options.page_bytes);
        let mut page = Vec::new();
        while budget.is_open() {
            let Some(version) = versions.next() else {
                break;
            };
            let object = version.to_object();
            budget.take(object.size());
            page.push(object);
        }
        let more = versions.peek().is_some();
        let next = page
            .last()
            .filter(|_| more)
            .map(|object| object.key.clone());
        Ok(ScanPage::new(page, next, at))
    }

    /// How many objects a scan comes to, whatever its pages. Goes over all of them.
    pub(super) fn count(&self, options: &ScanOptions) -> Result<u64, Error> {
        let at = self.readable(options.at)?;
        let (start, end) = options.range();
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = (Bound::Included(start.as_slice()), end);
        let versions = self.index.range::<[u8], _>(range);
        Ok(versions
            .filter_map(|(_, revisions)| self.version_at(revisions, at))
            .count() as u64)
    }

    pub(super) fn history(&self, options: &HistoryOptions) -> HistoryPage {
        let start = options.after.map_or(Bound::Unbounded, |after| {
            Bound::Excluded(after.revision.get())
        });
        let mut records = self
            .records
            .range((start, Bound::Unbounded))
            .filter(|(_, record)| record.key.as_bytes().starts_with(&options.prefix))
            .peekable();
        let mut budget = Budget::new(options.page_limit, options.page_bytes);
        let mut page: Vec<HistoryRecord> = Vec::new();
        while budget.is_open() {
            let Some((revision, record)) = records.next() else {
                break;
            };
            let value_len = record.value.as_ref().map_or(0, Vec::len);
            budget.take(record.key.as_bytes().len().saturating_add(value_len));
            page.push(HistoryRecord::new(
                HistoryPosition::new(Revision::new(*revision), 0),
                record.key.clone(),
                record.value.clone(),
            ));
        }
        let more = records.peek().is_some();
        let next = page.last().filter(|_| more).map(|record| record.position);
        let compacted = (self.compacted > 0).then(|| Revision::new(self.compacted));
        HistoryPage::new(page, next, self.revision()).with_compacted(compacted)
    }

    /// Makes one change, at the next revision.
    pub(super) fn write(
        &mut self,
        key: &ObjectKey,
        value: Option<Vec<u8>>,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Error> {
        self.revision = self
            .revision
            .checked_add(1)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the store ran out of revisions"))?;
        self.index
            .entry(key.clone())
            .or_default()
            .push_back(self.revision);
        self.records.insert(
            self.revision,
            Record {
                key: key.clone(),
                value,
                lease,
            },
        );
        Ok(self.revision())
    }

    /// Forgets what only reads before `floor` would need. Does nothing if that is forgotten, or
    /// reaches beyond the newest revision.
    pub(super) fn compact(&mut self, floor: u64) {
        while self.compacted < floor.min(self.revision) {
            self.compacted = self.compacted.saturating_add(1);
            self.forget_superseded_by(self.compacted);
        }
    }

    /// `floor` is the new floor: a change made there hides the one before it for good, and is
    /// itself needless if it is a tombstone.
    fn forget_superseded_by(&mut self, floor: u64) {
        let Some(record) = self.records.get(&floor) else {
            return;
        };
        let (key, is_tombstone) = (record.key.clone(), record.value.is_none());
        let Some(revisions) = self.index.get_mut(&key) else {
            return;
        };
        while let Some(oldest) = revisions.front().copied()
            && (oldest < floor || (oldest == floor && is_tombstone))
        {
            revisions.pop_front();
            self.records.remove(&oldest);
        }
        if revisions.is_empty() {
            self.index.remove(&key);
        }
    }

    /// How many changes are kept.
    pub(super) fn kept(&self) -> usize {
        self.records.len()
    }
}

/// What a page may still hold; always at least one thing.
struct Budget {
    count: u32,
    bytes: usize,
}

impl Budget {
    fn new(count: u32, bytes: usize) -> Self {
        Self {
            count: count.max(1),
            bytes: bytes.max(1),
        }
    }

    const fn is_open(&self) -> bool {
        self.count > 0 && self.bytes > 0
    }

    const fn take(&mut self, bytes: usize) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
