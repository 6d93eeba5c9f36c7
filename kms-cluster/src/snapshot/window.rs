//! The next keys of a scan, in order.

use core::ops::ControlFlow;

use kms_core::Error;
use kms_core::object::{LeaseId, ObjectKey, Revision, ScanOptions};

use super::database::Database;
use super::sweep;
use super::walk::Root;

/// A file is in the order of revisions, and a scan wants the order of keys. A window holds the
/// next keys of a scan, as many as its budget allows, and where their values lie; when a scan has
/// used it up, a further pass over the file makes the next one.
pub(super) struct Window {
    at: Revision,
    prefix: Vec<u8>,
    through: Option<ObjectKey>,
    /// All live keys after this one, up to the last of `entries`, are here.
    after: Option<ObjectKey>,
    pub(super) entries: Vec<WindowEntry>,
    /// Live keys of the scan that come after the last of `entries`.
    pub(super) beyond: u64,
}

/// An object without its value.
pub(super) struct WindowEntry {
    pub(super) key: Box<[u8]>,
    pub(super) revision: Revision,
    pub(super) lease: Option<LeaseId>,
    pub(super) value_offset: u64,
    pub(super) value_len: usize,
}

impl WindowEntry {
    /// What it takes in memory, in bytes, with what an allocation costs.
    fn size(&self) -> usize {
        const ALLOCATION: usize = 16;
        size_of::<Self>()
            .saturating_add(self.key.len())
            .saturating_add(ALLOCATION)
    }
}

/// What a window holds at most, in bytes; while it is made, twice that.
pub(super) const BUDGET: usize = 10 * 1024 * 1024;

impl Window {
    /// Whether the window can answer for these options, whose cursor may have moved within it.
    pub(super) fn serves(&self, options: &ScanOptions, at: Revision) -> bool {
        let is_of_this_scan =
            self.at == at && self.prefix == options.prefix && self.through == options.through;
        let begins_before = self.after <= options.after;
        let ends_behind = self.beyond == 0
            || self.entries.last().is_some_and(|last| {
                options
                    .after
                    .as_ref()
                    .is_none_or(|after| after.as_bytes() < &*last.key)
            });
        is_of_this_scan && begins_before && ends_behind
    }

    /// The entries behind the cursor.
    pub(super) fn behind(&self, after: Option<&ObjectKey>) -> &[WindowEntry] {
        let from = after.map_or(0, |after| {
            self.entries
                .partition_point(|entry| &*entry.key <= after.as_bytes())
        });
        self.entries.get(from..).unwrap_or_default()
    }

    /// Makes a window by one pass over the file.
    pub(super) fn fill(
        database: &Database,
        bucket: &Root,
        options: &ScanOptions,
        at: Revision,
        budget: usize,
    ) -> Result<Self, Error> {
        let (start, end) = options.range();
        let mut nearest = Nearest {
            entries: Vec::new(),
            size: 0,
            budget,
            beyond: 0,
            bound: None,
        };
        sweep::newest_first(database, bucket, at, |record| {
            let in_range =
                record.key >= start.as_slice() && end.as_deref().is_none_or(|end| record.key < end);
            if let (true, true, Some(value)) = (record.is_live, in_range, record.value) {
                nearest.offer(record.key, || WindowEntry {
                    key: record.key.into(),
                    revision: record.position.revision,
                    lease: record.lease,
                    value_offset: record.value_offset,
                    value_len: value.len(),
                });
            }
            ControlFlow::Continue(())
        })?;
        nearest.entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        nearest.trim();
        Ok(Self {
            at,
            prefix: options.prefix.clone(),
            through: options.through.clone(),
            after: options.after.clone(),
            entries: nearest.entries,
            beyond: nearest.beyond,
        })
    }
}

/// The first keys in byte order of all that are offered, within a budget.
struct Nearest {
    entries: Vec<WindowEntry>,
    size: usize,
    budget: usize,
    beyond: u64,
    /// Keys from here on are too far.
    bound: Option<Box<[u8]>>,
}

impl Nearest {
    fn offer(&mut self, key: &[u8], entry: impl FnOnce() -> WindowEntry) {
        if self.bound.as_deref().is_some_and(|bound| key >= bound) {
            self.beyond = self.beyond.saturating_add(1);
            return;
        }
        let entry = entry();
        self.size = self.size.saturating_add(entry.size());
        self.entries.push(entry);
        if self.size > self.budget.saturating_mul(2) {
            self.entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            self.trim();
        }
    }

    /// Drops what is over the budget from the end of the sorted entries, but never all.
    fn trim(&mut self) {
        while self.size > self.budget && self.entries.len() > 1 {
            let Some(entry) = self.entries.pop() else {
                break;
            };
            self.size = self.size.saturating_sub(entry.size());
            self.beyond = self.beyond.saturating_add(1);
            self.bound = Some(entry.key);
        }
    }
}
