//! Every change that a store still remembers.

use core::fmt;

use crate::CallOptions;
use crate::object::{ObjectKey, Revision};

/// A place in a store's history: a revision, and the number of a change within it.
///
/// One transaction of etcd changes several objects at one revision; `sub` counts them from zero.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct HistoryPosition {
    /// The revision.
    pub revision: Revision,
    /// Which change of that revision.
    pub sub: u64,
}

impl HistoryPosition {
    /// The change of this number within a revision.
    #[must_use]
    pub const fn new(revision: Revision, sub: u64) -> Self {
        Self { revision, sub }
    }
}

/// Which changes to read, and how many at a time.
///
/// The limits of a page mean what they mean in [`ScanOptions`](crate::object::ScanOptions).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HistoryOptions {
    /// What every call can be told.
    pub call: CallOptions,
    /// What keys begin with. Empty for all keys.
    pub prefix: Vec<u8>,
    /// Only changes after this one: the cursor.
    pub after: Option<HistoryPosition>,
    /// The most changes on a page. Zero is taken as one.
    pub page_limit: u32,
    /// A page ends with the change whose key and value bring it to this many bytes.
    pub page_bytes: usize,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            call: CallOptions::default(),
            prefix: Vec::new(),
            after: None,
            page_limit: super::ScanOptions::DEFAULT_PAGE_LIMIT,
            page_bytes: super::ScanOptions::DEFAULT_PAGE_BYTES,
        }
    }
}

impl HistoryOptions {
    /// Sets what every call can be told.
    #[must_use]
    pub fn with_call(mut self, call: CallOptions) -> Self {
        self.call = call;
        self
    }

    /// Sets what keys begin with.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the cursor.
    #[must_use]
    pub fn with_after(mut self, after: impl Into<Option<HistoryPosition>>) -> Self {
        self.after = after.into();
        self
    }

    /// Sets the most changes on a page.
    #[must_use]
    pub const fn with_page_limit(mut self, changes: u32) -> Self {
        self.page_limit = changes;
        self
    }

    /// Sets how many bytes end a page.
    #[must_use]
    pub const fn with_page_bytes(mut self, bytes: usize) -> Self {
        self.page_bytes = bytes;
        self
    }
}

/// One change to one object.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct HistoryRecord {
    /// When it happened.
    pub position: HistoryPosition,
    /// The object.
    pub key: ObjectKey,
    /// What was written; `None` if the object was deleted (a tombstone).
    pub value: Option<Vec<u8>>,
}

impl HistoryRecord {
    /// A change.
    #[must_use]
    pub const fn new(position: HistoryPosition, key: ObjectKey, value: Option<Vec<u8>>) -> Self {
        Self {
            position,
            key,
            value,
        }
    }
}

/// Shows the length of the value alone: it may be in clear.
impl fmt::Debug for HistoryRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryRecord")
            .field("position", &self.position)
            .field("key", &self.key)
            .field("value_len", &self.value.as_ref().map(Vec::len))
            .finish()
    }
}

/// One page of history.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The changes, in ascending order of their positions.
    pub records: Vec<HistoryRecord>,
    /// Where the next page begins: the position up to which this one has read. `None` if this
    /// page is the last.
    pub next: Option<HistoryPosition>,
    /// The revision up to which history is complete. It may grow from page to page.
    pub revision: Revision,
    /// The revision up to which history is compacted: of what came before, only what was still
    /// there at that revision is kept. `None` if it was never compacted, or is not known.
    pub compacted: Option<Revision>,
}

impl HistoryPage {
    /// A page with changes.
    #[must_use]
    pub const fn new(
        records: Vec<HistoryRecord>,
        next: Option<HistoryPosition>,
        revision: Revision,
    ) -> Self {
        Self {
            records,
            next,
            revision,
            compacted: None,
        }
    }

    /// Sets up to where history is compacted.
    #[must_use]
    pub const fn with_compacted(mut self, revision: Option<Revision>) -> Self {
        self.compacted = revision;
        self
    }
}
