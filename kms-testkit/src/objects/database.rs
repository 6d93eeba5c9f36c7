//! Writes database files as etcd does, for tests and benchmarks of what reads them.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "numbers of a test tool: what overflows panics in a test"
)]

use std::io::{self, Read, Seek, SeekFrom, Write};

use kms_core::object::{HistoryPosition, LeaseId, Revision};
use ring::digest;

/// Writes an etcd database: a bbolt file with the buckets `key` and `meta`, records in the order
/// of their revisions.
///
/// Enough of one for readers; an etcd would miss its own bookkeeping in it. Holds a few bytes for
/// each page and no values, so files may be of any size. The first revision is two, as in a new
/// cluster.
///
/// ```
/// use std::io::Cursor;
///
/// use kms_testkit::objects::DatabaseWriter;
///
/// let mut writer = DatabaseWriter::new(Cursor::new(Vec::new()))?;
/// writer.put(b"/registry/secrets/default/token", b"k8s\0...", None)?;
/// writer.delete(b"/registry/secrets/default/token")?;
/// let snapshot: Vec<u8> = writer.finish_snapshot()?.into_inner();
/// assert_eq!(snapshot.len() % 512, 32); // whole pages, and a SHA-256
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct DatabaseWriter<W> {
    out: W,
    revision: u64,
    compacted: Option<Revision>,
    /// The leaf that is being filled.
    leaf: Vec<Item>,
    leaf_len: usize,
    /// Pages so far, the two meta pages included.
    pages: u64,
    /// First key and number of each page of the level below.
    level: Vec<(Vec<u8>, u64)>,
}

#[derive(Debug)]
struct Item {
    flags: u32,
    key: Vec<u8>,
    value: Vec<u8>,
}

const PAGE: usize = 4096;
const HEADER: usize = 16;
const ELEMENT: usize = 16;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const META: u16 = 4;

impl<W: Read + Write + Seek> DatabaseWriter<W> {
    /// Begins a database at the begin of `out`.
    ///
    /// # Errors
    ///
    /// What `out` returns.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.seek(SeekFrom::Start(0))?;
        out.write_all(&[0; 2 * PAGE])?;
        Ok(Self {
            out,
            revision: 1,
            compacted: None,
            leaf: Vec::new(),
            leaf_len: HEADER,
            pages: 2,
            level: Vec::new(),
        })
    }

    /// Writes an object at the next revision, which is returned.
    ///
    /// # Errors
    ///
    /// What `out` returns.
    pub fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        lease: Option<LeaseId>,
    ) -> io::Result<Revision> {
        let position = self.next_revision();
        self.record(position, Some(value), key, lease)?;
        Ok(position.revision)
    }

    /// Deletes an object at the next revision, which is returned.
    ///
    /// # Errors
    ///
    /// What `out` returns.
    pub fn delete(&mut self, key: &[u8]) -> io::Result<Revision> {
        let position = self.next_revision();
        self.record(position, None, key, None)?;
        Ok(position.revision)
    }

    /// Writes a change at any position, in any order: for databases that are wrong.
    ///
    /// # Errors
    ///
    /// What `out` returns.
    pub fn record(
        &mut self,
        position: HistoryPosition,
        value: Option<&[u8]>,
        key: &[u8],
        lease: Option<LeaseId>,
    ) -> io::Result<()> {
        let mut record = Vec::with_capacity(key.len() + value.map_or(0, <[u8]>::len) + 32);
        field(&mut record, 1, key);
        if let Some(value) = value {
            number(&mut record, 2, position.revision.get());
            number(&mut record, 3, position.revision.get());
            number(&mut record, 4, 1);
            field(&mut record, 5, value);
            if let Some(lease) = lease {
                number(&mut record, 6, lease.get().cast_unsigned());
            }
        }
        let mut at = position.revision.get().to_be_bytes().to_vec();
        at.push(b'_');
        at.extend(position.sub.to_be_bytes());
        if value.is_none() {
            at.push(b't');
        }
        self.item(0, at, record)
    }

    /// Notes that history was compacted up to here. Nothing is removed: write what is left.
    pub const fn set_compacted(&mut self, revision: Revision) {
        self.compacted = Some(revision);
    }

    /// Lets the next change have this revision.
    pub const fn skip_to(&mut self, revision: Revision) {
        self.revision = revision.get().saturating_sub(1);
    }

    /// Ends the database, as a member keeps it.
    ///
    /// # Errors
    ///
    /// What `out` returns.
    pub fn finish(mut self) -> io::Result<W> {
        let records = self.end_bucket()?;
        if let Some(compacted) = self.compacted {
            let mut mark = compacted.get().to_be_bytes().to_vec();
            mark.push(b'_');
            mark.extend([0; 8]);
            self.item(0, b"finishedCompactRev".to_vec(), mark)?;
        }
        let meta = self.end_bucket()?;
        for (name, page) in [("key", records), ("meta", meta)] {
            let bucket = [page.to_le_bytes(), [0; 8]].concat();
            self.item(1, name.as_bytes().to_vec(), bucket)?;
        }
        let root = self.end_bucket()?;
        for transaction in 0..2_u64 {
            let mut meta = Vec::new();
            for number in [0xED0C_DAED, 2, PAGE as u32, 0] {
                meta.extend(number.to_le_bytes());
            }
            // The root bucket and its sequence, no free list, pages, transaction.
            for number in [root, 0, u64::MAX, self.pages, transaction] {
                meta.extend(number.to_le_bytes());
            }
            let sum = meta.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
            });
            meta.extend(u64::to_le_bytes(sum));
            let page = [header(transaction, META, 0, 0), meta].concat();
            self.out
                .seek(SeekFrom::Start(transaction.saturating_mul(PAGE as u64)))?;
            self.out.write_all(&page)?;
        }
        self.out.seek(SeekFrom::End(0))?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Ends the database and puts its SHA-256 behind it, as `etcdctl snapshot save` does.
    ///
    /// # Errors
    ///
    /// What `out` returns.
    pub fn finish_snapshot(self) -> io::Result<W> {
        let mut out = self.finish()?;
        out.seek(SeekFrom::Start(0))?;
        let mut context = digest::Context::new(&digest::SHA256);
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let length = out.read(&mut chunk)?;
            match chunk.get(..length) {
                None | Some([]) => break,
                Some(read) => context.update(read),
            }
        }
        out.write_all(context.finish().as_ref())?;
        out.flush()?;
        Ok(out)
    }

    const fn next_revision(&mut self) -> HistoryPosition {
        self.revision = self.revision.saturating_add(1);
        HistoryPosition::new(Revision::new(self.revision), 0)
    }

    fn item(&mut self, flags: u32, key: Vec<u8>, value: Vec<u8>) -> io::Result<()> {
        let size = ELEMENT + key.len() + value.len();
        if self.leaf_len + size > PAGE && !self.leaf.is_empty() {
            self.end_page(LEAF)?;
        }
        self.leaf_len += size;
        self.leaf.push(Item { flags, key, value });
        Ok(())
    }

    /// Writes the items that wait, as one page with its overflow.
    fn end_page(&mut self, kind: u16) -> io::Result<()> {
        let items = core::mem::take(&mut self.leaf);
        self.leaf_len = HEADER;
        let data: usize = items
            .iter()
            .map(|item| item.key.len() + item.value.len())
            .sum();
        let length = HEADER + items.len() * ELEMENT + if kind == LEAF { data } else { 0 };
        let keys: usize = items.iter().map(|item| item.key.len()).sum();
        let length = if kind == LEAF { length } else { length + keys };
        let count = length.div_ceil(PAGE);
        let id = self.pages;
        let mut page = header(id, kind, items.len() as u16, count as u32 - 1);
        let mut at = HEADER + items.len() * ELEMENT;
        for (index, item) in items.iter().enumerate() {
            let pos = (at - HEADER - index * ELEMENT) as u32;
            let (key, value) = (item.key.len() as u32, item.value.len() as u32);
            if kind == LEAF {
                for number in [item.flags, pos, key, value] {
                    page.extend(number.to_le_bytes());
                }
                at += item.key.len() + item.value.len();
            } else {
                page.extend(pos.to_le_bytes());
                page.extend(key.to_le_bytes());
                page.extend(&item.value);
                at += item.key.len();
            }
        }
        for item in &items {
            page.extend(&item.key);
            if kind == LEAF {
                page.extend(&item.value);
            }
        }
        page.resize(count * PAGE, 0);
        self.out.write_all(&page)?;
        self.pages += count as u64;
        let first = items
            .into_iter()
            .next()
            .map_or_else(Vec::new, |item| item.key);
        self.level.push((first, id));
        Ok(())
    }

    /// Writes the branches above the leaves; the root's page.
    fn end_bucket(&mut self) -> io::Result<u64> {
        if !self.leaf.is_empty() || self.level.is_empty() {
            self.end_page(LEAF)?;
        }
        while self.level.len() > 1 {
            let children = core::mem::take(&mut self.level);
            for (key, page) in children {
                let size = ELEMENT + key.len();
                if self.leaf_len + size > PAGE && !self.leaf.is_empty() {
                    self.end_page(BRANCH)?;
                }
                self.leaf_len += size;
                let value = page.to_le_bytes().to_vec();
                self.leaf.push(Item {
                    flags: 0,
                    key,
                    value,
                });
            }
            self.end_page(BRANCH)?;
        }
        Ok(self.level.pop().map_or(0, |(_, page)| page))
    }
}

fn header(id: u64, kind: u16, count: u16, overflow: u32) -> Vec<u8> {
    let mut header = id.to_le_bytes().to_vec();
    header.extend(kind.to_le_bytes());
    header.extend(count.to_le_bytes());
    header.extend(overflow.to_le_bytes());
    header
}

fn field(record: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(record, number << 3 | 2);
    varint(record, bytes.len() as u64);
    record.extend(bytes);
}

fn number(record: &mut Vec<u8>, field: u64, value: u64) {
    varint(record, field << 3);
    varint(record, value);
}

fn varint(record: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        record.push(value as u8 | 0x80);
        value >>= 7;
    }
    record.push(value as u8);
}
