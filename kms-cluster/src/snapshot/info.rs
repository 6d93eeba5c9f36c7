//! What a database file says about itself.

use kms_core::Error;
use kms_core::object::Revision;

use super::database::Database;
use super::record;
use super::walk::{self, Direction, Root, Walk};

/// What a snapshot says about itself.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// The newest revision of the keyspace. A cluster begins at one.
    pub revision: Revision,
    /// History up to here was compacted: only the newest state of each object is left of it.
    pub compacted: Option<Revision>,
    /// The SHA-256 that etcd appends to a snapshot, in hexadecimal, if it was there and was
    /// checked. A member's own file has none.
    pub sha256: Option<String>,
    /// The database without that digest, in bytes.
    pub database_bytes: u64,
    /// In bytes.
    pub page_bytes: u32,
    /// Pages in use or free, but for those past the end.
    pub pages: u64,
    /// bbolt's number of the newest transaction.
    pub transaction: u64,
}

/// The buckets that are read.
pub(super) struct Buckets {
    /// etcd's records.
    pub(super) key: Root,
    meta: Option<Root>,
}

impl Buckets {
    pub(super) fn find(database: &Database) -> Result<Self, Error> {
        let root = Root::Page(database.meta().root);
        let mut walk = Walk::new(database, &root, Direction::Forward)?;
        let (mut key, mut meta) = (None, None);
        while let Some(leaf) = walk.next_leaf()? {
            for entry in walk::entries(leaf, Direction::Forward) {
                let slot = match entry.key {
                    b"key" => &mut key,
                    b"meta" => &mut meta,
                    _ => continue,
                };
                let offset = leaf.offset.saturating_add(entry.value_offset as u64);
                *slot = Root::parse(entry.value, offset).filter(|_| entry.is_bucket);
                if slot.is_none() {
                    return Err(database.corrupt(format!(
                        "page {}, offset {offset}: not the begin of a bucket",
                        leaf.id
                    )));
                }
            }
        }
        let key = key.ok_or_else(|| {
            database.corrupt("there is no bucket `key`: this is no database of etcd".to_owned())
        })?;
        Ok(Self { key, meta })
    }

    /// How far history was compacted, or is being: a compaction that was scheduled has begun to
    /// delete, and etcd finishes it when it starts.
    pub(super) fn compacted(&self, database: &Database) -> Result<Option<Revision>, Error> {
        let mut compacted = None;
        let Some(meta) = &self.meta else {
            return Ok(None);
        };
        let mut walk = Walk::new(database, meta, Direction::Forward)?;
        while let Some(leaf) = walk.next_leaf()? {
            for entry in walk::entries(leaf, Direction::Forward) {
                if !matches!(entry.key, b"finishedCompactRev" | b"scheduledCompactRev") {
                    continue;
                }
                let (position, _) = record::parse_position(entry.value).ok_or_else(|| {
                    let offset = leaf.offset.saturating_add(entry.value_offset as u64);
                    database.corrupt(format!(
                        "page {}, offset {offset}: the mark of compaction is no revision",
                        leaf.id
                    ))
                })?;
                compacted = compacted.max(Some(position.revision));
            }
        }
        Ok(compacted)
    }

    /// The revision of the newest record.
    pub(super) fn newest(&self, database: &Database) -> Result<Option<Revision>, Error> {
        let mut walk = Walk::new(database, &self.key, Direction::Backward)?;
        while let Some(leaf) = walk.next_leaf()? {
            if let Some(entry) = walk::entries(leaf, Direction::Backward).next() {
                let (position, _) = record::parse_position(entry.key).ok_or_else(|| {
                    database.corrupt(format!(
                        "page {}, offset {}: a record whose key is no revision",
                        leaf.id, leaf.offset
                    ))
                })?;
                return Ok(Some(position.revision));
            }
        }
        Ok(None)
    }
}
