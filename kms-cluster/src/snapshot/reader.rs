//! Reading pages: many at once where they lie together.

use core::ops::{Deref, Range};
use std::collections::VecDeque;
use std::sync::Arc;

use kms_core::Error;

use super::database::Database;
use super::page::{self, Fault, Header, Kind};

/// A part of a buffer, which lives as long as somebody holds a part of it.
#[derive(Clone, Default)]
pub(super) struct Shared {
    buffer: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Shared {
    fn whole(buffer: Vec<u8>) -> Self {
        let range = 0..buffer.len();
        Self {
            buffer: Arc::new(buffer),
            range,
        }
    }

    /// The buffer, and where in it this part begins.
    pub(super) fn buffer(&self) -> (&Arc<Vec<u8>>, usize) {
        (&self.buffer, self.range.start)
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }
}

/// A page with all that overflows from it.
#[derive(Default)]
pub(super) struct Page {
    pub(super) id: u64,
    /// Where it begins in the file, in bytes.
    pub(super) offset: u64,
    pub(super) bytes: Shared,
    pub(super) count: usize,
    kind: Option<Kind>,
}

impl Page {
    /// The one page of a bucket that lies within its parent's leaf, at this place of the file.
    pub(super) fn inline(bytes: Vec<u8>, offset: u64) -> Result<Self, Fault> {
        let header = Header::parse(&bytes)?;
        if header.kind != Kind::Leaf || header.overflow != 0 {
            return Err(Fault {
                offset: 8,
                problem: "is not a single leaf",
            });
        }
        page::check(&bytes, header)?;
        Ok(Self {
            id: 0,
            offset,
            bytes: Shared::whole(bytes),
            count: header.count,
            kind: Some(header.kind),
        })
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.kind == Some(Kind::Leaf)
    }
}

/// The longest page with its overflow, in bytes. A leaf that is longer holds an object of many
/// times etcd's default limit of 1.5 MiB for a request.
const MAX_PAGE_LEN: u64 = 64 * 1024 * 1024;
/// A call to the kernel costs as much as copying some pages, and the pages of a snapshot lie in
/// the order that a sweep visits them.
const BLOCK_LEN: u64 = 256 * 1024;
/// Buffers that are looked at to be filled again.
const MAX_USED: usize = 16;

/// Reads and checks pages.
///
/// Where a page lies near the one before, the block around it is read, which then holds the next
/// ones, too. In a file without any order each page is read alone.
pub(super) struct PageReader<'d> {
    database: &'d Database,
    block: Shared,
    block_offset: u64,
    /// The number of the block that the last page began in.
    last: Option<u64>,
    /// Blocks that were read before. Others may hold parts of them still.
    used: VecDeque<Shared>,
}

impl<'d> PageReader<'d> {
    pub(super) fn new(database: &'d Database) -> Self {
        Self {
            database,
            block: Shared::default(),
            block_offset: 0,
            last: None,
            used: VecDeque::new(),
        }
    }

    /// Reads a page with its overflow, and checks all of its elements.
    pub(super) fn read(&mut self, id: u64) -> Result<Page, Error> {
        let database = self.database;
        let meta = database.meta();
        let size = u64::from(meta.page_size);
        let offset = id
            .checked_mul(size)
            .filter(|_| (2..meta.pages).contains(&id))
            .ok_or_else(|| database.corrupt(format!("there is no page {id}")))?;
        let fault = |fault| database.fault(id, fault);
        let mut bytes = self.part(offset, size)?;
        let header = Header::parse(&bytes).map_err(fault)?;
        if header.id != id {
            return Err(fault(Fault {
                offset: 0,
                problem: "is torn: another page is in its place",
            }));
        }
        let len = u64::from(header.overflow)
            .checked_add(1)
            .filter(|pages| id.checked_add(*pages).is_some_and(|end| end <= meta.pages))
            .and_then(|pages| pages.checked_mul(size))
            .filter(|len| *len <= MAX_PAGE_LEN)
            .ok_or_else(|| {
                fault(Fault {
                    offset: 12,
                    problem: "overflows into more pages than there are, or than are read here",
                })
            })?;
        if header.overflow > 0 {
            bytes = self.part(offset, len)?;
        }
        page::check(&bytes, header).map_err(fault)?;
        self.last = Some(offset / BLOCK_LEN);
        Ok(Page {
            id,
            offset,
            bytes,
            count: header.count,
            kind: Some(header.kind),
        })
    }

    /// A part of the file: of the block that is there, of the one that it lies in, or read alone.
    fn part(&mut self, offset: u64, len: u64) -> Result<Shared, Error> {
        if let Some(part) = self.part_of_block(offset, len) {
            return Ok(part);
        }
        let number = offset / BLOCK_LEN;
        let is_near = self.last.is_some_and(|last| last.abs_diff(number) <= 1);
        let is_within = number == offset.saturating_add(len).saturating_sub(1) / BLOCK_LEN;
        if is_near && is_within {
            self.read_block(number)?;
            if let Some(part) = self.part_of_block(offset, len) {
                return Ok(part);
            }
        }
        let length = usize::try_from(len).map_err(|_| {
            self.database
                .corrupt("a page is too long for this machine".to_owned())
        })?;
        let mut bytes = vec![0; length];
        self.database.read_exact_at(&mut bytes, offset)?;
        Ok(Shared::whole(bytes))
    }

    fn part_of_block(&self, offset: u64, len: u64) -> Option<Shared> {
        let start = usize::try_from(offset.checked_sub(self.block_offset)?).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        (end <= self.block.len()).then(|| Shared {
            buffer: Arc::clone(&self.block.buffer),
            range: start..end,
        })
    }

    fn read_block(&mut self, number: u64) -> Result<(), Error> {
        self.used.push_back(core::mem::take(&mut self.block));
        let offset = number.saturating_mul(BLOCK_LEN);
        let len = BLOCK_LEN.min(self.database.len().saturating_sub(offset));
        let mut buffer = self.free_buffer();
        buffer.resize(usize::try_from(len).unwrap_or(0), 0);
        self.database.read_exact_at(&mut buffer, offset)?;
        self.block = Shared::whole(buffer);
        self.block_offset = offset;
        Ok(())
    }

    /// The oldest buffer that nobody holds a part of, or a new one.
    fn free_buffer(&mut self) -> Vec<u8> {
        let free = (self.used.iter()).position(|used| Arc::strong_count(&used.buffer) == 1);
        let mut used = free.and_then(|index| self.used.remove(index));
        if self.used.len() > MAX_USED {
            self.used.pop_front();
        }
        used.as_mut()
            .and_then(|used| Arc::get_mut(&mut used.buffer))
            .map(core::mem::take)
            .unwrap_or_default()
    }
}
