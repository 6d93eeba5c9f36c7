//! One pass over all records, the newest first.

use core::ops::ControlFlow;

use kms_core::Error;
use kms_core::object::{HistoryPosition, KeyMap, LeaseId, Revision};

use super::database::Database;
use super::page::{Entry, Fault};
use super::reader::{Page, Shared};
use super::record::{self, KeyValue};
use super::walk::{self, Direction, Root, Walk};

/// One change of one object, as a sweep meets it.
///
/// The value may be in clear, so `Debug` shows its length alone.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct SweptRecord<'a> {
    /// When it happened.
    pub position: HistoryPosition,
    /// The object's key, 1 to [`ObjectKey::MAX_LEN`](kms_core::object::ObjectKey::MAX_LEN) bytes.
    pub key: &'a [u8],
    /// What was written; `None` if the object was deleted (a tombstone).
    pub value: Option<&'a [u8]>,
    /// The lease it hangs on.
    pub lease: Option<LeaseId>,
    /// Whether this is what the object is: no later change of it is in the file, and it was not
    /// deleted.
    pub is_live: bool,
    /// Where the value lies in the file.
    pub(super) value_offset: u64,
    /// The page, and where in it the key and the value begin.
    pub(super) page: &'a Shared,
    pub(super) key_start: usize,
    pub(super) value_start: usize,
}

impl core::fmt::Debug for SweptRecord<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SweptRecord")
            .field("position", &self.position)
            .field("key", &format_args!("\"{}\"", self.key.escape_ascii()))
            .field("value_len", &self.value.map(<[u8]>::len))
            .field("lease", &self.lease)
            .field("is_live", &self.is_live)
            .finish()
    }
}

/// Reads one record; `None` for one after the revision.
pub(super) fn read<'a>(
    database: &Database,
    leaf: &'a Page,
    entry: &Entry<'a>,
) -> Result<SweptRecord<'a>, Error> {
    let fault = |problem| {
        let offset = leaf.offset.saturating_add(entry.value_offset as u64);
        database.corrupt(format!("page {}, offset {offset}: {problem}", leaf.id))
    };
    if entry.is_bucket {
        return Err(fault("a bucket among the records"));
    }
    let (position, is_deletion) = record::parse_position(entry.key)
        .ok_or_else(|| fault("a record whose key is no revision"))?;
    let found = KeyValue::parse(entry.value).map_err(fault)?;
    if !is_deletion && found.mod_revision != position.revision.get() {
        return Err(fault("a record that belongs to another revision"));
    }
    let value_offset = leaf
        .offset
        .saturating_add(entry.value_offset as u64)
        .saturating_add(found.value_offset as u64);
    Ok(SweptRecord {
        position,
        key: found.key,
        value: (!is_deletion).then_some(found.value),
        lease: found.lease,
        is_live: false,
        value_offset,
        page: &leaf.bytes,
        key_start: entry.value_offset.saturating_add(found.key_offset),
        value_start: entry.value_offset.saturating_add(found.value_offset),
    })
}

/// Visits every record up to a revision, the newest first.
///
/// The first record of a key that is met is the newest, so that one pass tells what is live.
pub(super) fn newest_first(
    database: &Database,
    bucket: &Root,
    at: Revision,
    mut visit: impl FnMut(&SweptRecord<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut seen = KeyMap::new();
    let mut walk = Walk::new(database, bucket, Direction::Backward)?;
    let mut last = None;
    'leaves: while let Some(leaf) = walk.next_leaf()? {
        for entry in walk::entries(leaf, Direction::Backward) {
            let mut record = read(database, leaf, &entry)?;
            check_order(
                database,
                leaf,
                record.position,
                &mut last,
                Direction::Backward,
            )?;
            if record.position.revision > at {
                continue;
            }
            record.is_live = seen.insert(record.key, ()).is_none() && record.value.is_some();
            if visit(&record).is_break() {
                break 'leaves;
            }
        }
    }
    database.check_unchanged()
}

/// Refuses records that are not strictly in the order of their positions: what is live would be
/// wrong.
pub(super) fn check_order(
    database: &Database,
    leaf: &Page,
    position: HistoryPosition,
    last: &mut Option<HistoryPosition>,
    direction: Direction,
) -> Result<(), Error> {
    let in_order = last.is_none_or(|last| match direction {
        Direction::Forward => last < position,
        Direction::Backward => last > position,
    });
    *last = Some(position);
    if in_order {
        return Ok(());
    }
    Err(database.fault(
        leaf.id,
        Fault {
            offset: 0,
            problem: "holds a record that is not in the order of revisions",
        },
    ))
}
