//! Records that outlive the visit.

use core::fmt;
use core::ops::Range;
use std::sync::Arc;

use super::SweptRecord;

/// Keys and values of a sweep that are handed to another thread without being copied: they share
/// the pages that were read.
///
/// ```no_run
/// use std::ops::ControlFlow;
///
/// use kms_cluster::snapshot::{RecordBatch, Snapshot};
///
/// let snapshot = Snapshot::open("backup.db")?;
/// let mut batch = RecordBatch::new();
/// snapshot.sweep(None, |record| {
///     if record.is_live {
///         batch.push(record);
///     }
///     if batch.held_bytes() < 1 << 20 {
///         ControlFlow::Continue(())
///     } else {
///         ControlFlow::Break(())
///     }
/// })?;
/// let longest = batch.iter().map(|(_, value)| value.len()).max();
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Default)]
pub struct RecordBatch {
    buffers: Vec<Arc<Vec<u8>>>,
    records: Vec<Located>,
    held_bytes: usize,
}

struct Located {
    buffer: usize,
    key: Range<usize>,
    value: Range<usize>,
}

impl RecordBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record. The value of a deletion is empty.
    pub fn push(&mut self, record: &SweptRecord<'_>) {
        let (buffer, page) = record.page.buffer();
        let is_same = |last: &Arc<Vec<u8>>| Arc::ptr_eq(last, buffer);
        if !self.buffers.last().is_some_and(is_same) {
            self.buffers.push(Arc::clone(buffer));
            self.held_bytes = self.held_bytes.saturating_add(buffer.len());
        }
        let range = |start: usize, len: usize| {
            let start = page.saturating_add(start);
            start..start.saturating_add(len)
        };
        self.records.push(Located {
            buffer: self.buffers.len().saturating_sub(1),
            key: range(record.key_start, record.key.len()),
            value: range(record.value_start, record.value.map_or(0, <[u8]>::len)),
        });
    }

    /// Keys and values, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records.iter().filter_map(|record| {
            let buffer = self.buffers.get(record.buffer)?;
            let key = buffer.get(record.key.clone())?;
            Some((key, buffer.get(record.value.clone())?))
        })
    }

    /// How many records there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What is kept in memory for these records, in bytes: all of what was read with them, which
    /// may be more than they are.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Lets go of all records.
    pub fn clear(&mut self) {
        self.buffers.clear();
        self.records.clear();
        self.held_bytes = 0;
    }
}

/// Values may be in clear.
impl fmt::Debug for RecordBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordBatch")
            .field("len", &self.len())
            .field("held_bytes", &self.held_bytes)
            .finish()
    }
}
