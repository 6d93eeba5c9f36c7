//! Walking the leaves of a bucket, forward or backward.

use kms_core::Error;

use super::database::Database;
use super::page::{self, Entry, Fault};
use super::reader::{Page, PageReader};

/// Where a bucket begins.
#[derive(Clone, Debug)]
pub(super) enum Root {
    /// At a page of its own.
    Page(u64),
    /// Within its parent's leaf: a small bucket is one leaf without overflow.
    Inline {
        /// The leaf.
        bytes: Vec<u8>,
        /// Where it begins in the file, in bytes.
        offset: u64,
    },
}

impl Root {
    /// Reads a bucket's header: the root page, and a sequence number that is of no use here.
    /// `offset` is where it begins in the file.
    pub(super) fn parse(bucket: &[u8], offset: u64) -> Option<Self> {
        const LEN: usize = 16;
        match page::u64_at(bucket, 0)? {
            0 => Some(Self::Inline {
                bytes: bucket.get(LEN..)?.to_vec(),
                offset: offset.saturating_add(LEN as u64),
            }),
            page => Some(Self::Page(page)),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// A walk over the leaves of one bucket. Holds one page for each level of the tree.
///
/// No page is visited twice: a tree in which two branches share a page, or a page is below
/// itself, is refused.
pub(super) struct Walk<'d> {
    database: &'d Database,
    reader: PageReader<'d>,
    direction: Direction,
    /// The branches above the leaf, the root first, and which children of each are left.
    branches: Vec<(Page, core::ops::Range<usize>)>,
    leaf: Page,
    /// The leaf that was just reached and not handed out.
    fresh: bool,
    visited: Visited,
}

/// bbolt's trees are as deep as the logarithm of their size: a billion entries are six levels.
const MAX_DEPTH: usize = 32;
/// A branch overflows if its keys are long; those of etcd have 17 bytes.
const MAX_BRANCH_LEN: usize = 1024 * 1024;

impl<'d> Walk<'d> {
    /// Begins at the first leaf, or at the last.
    pub(super) fn new(
        database: &'d Database,
        root: &Root,
        direction: Direction,
    ) -> Result<Self, Error> {
        Self::start(database, root, direction, None)
    }

    /// Begins at the leaf that would hold this key, and goes forward.
    pub(super) fn seek(database: &'d Database, root: &Root, key: &[u8]) -> Result<Self, Error> {
        Self::start(database, root, Direction::Forward, Some(key))
    }

    fn start(
        database: &'d Database,
        root: &Root,
        direction: Direction,
        key: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let mut walk = Self {
            database,
            reader: PageReader::new(database),
            direction,
            branches: Vec::new(),
            leaf: Page::default(),
            fresh: true,
            visited: Visited::new(database.meta().pages),
        };
        match root {
            Root::Page(id) => walk.descend(*id, key)?,
            Root::Inline { bytes, offset } => {
                walk.leaf = Page::inline(bytes.clone(), *offset).map_err(|fault| {
                    let offset = offset.saturating_add(fault.offset as u64);
                    database.corrupt(format!(
                        "a bucket within a page, offset {offset}: {}",
                        fault.problem
                    ))
                })?;
            }
        }
        Ok(walk)
    }

    /// The next leaf; `None` after the last.
    pub(super) fn next_leaf(&mut self) -> Result<Option<&Page>, Error> {
        if !core::mem::take(&mut self.fresh) && !self.advance()? {
            return Ok(None);
        }
        Ok(Some(&self.leaf))
    }

    fn advance(&mut self) -> Result<bool, Error> {
        while let Some((branch, children)) = self.branches.last_mut() {
            let next = match self.direction {
                Direction::Forward => children.next(),
                Direction::Backward => children.next_back(),
            };
            let Some(index) = next else {
                self.branches.pop();
                continue;
            };
            let Some((_, child)) = page::child(&branch.bytes, index) else {
                return Err(self.database.fault(branch.id, NO_CHILD));
            };
            self.descend(child, None)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// bbolt removes a leaf that has become empty, unless it is the root.
    fn check_leaf(&self) -> Result<(), Error> {
        if self.leaf.count > 0 || self.branches.is_empty() {
            return Ok(());
        }
        Err(self.database.fault(
            self.leaf.id,
            Fault {
                offset: 10,
                problem: "is an empty leaf below a branch",
            },
        ))
    }

    /// Goes down to a leaf: along the key if there is one, else along the edge.
    fn descend(&mut self, mut id: u64, key: Option<&[u8]>) -> Result<(), Error> {
        loop {
            if !self.visited.insert(id) {
                return Err(self.database.fault(
                    id,
                    Fault {
                        offset: 0,
                        problem: "is in the tree twice",
                    },
                ));
            }
            self.leaf = self.reader.read(id)?;
            if self.leaf.is_leaf() {
                return self.check_leaf();
            }
            let branch = core::mem::take(&mut self.leaf);
            if self.branches.len() >= MAX_DEPTH || branch.bytes.len() > MAX_BRANCH_LEN {
                return Err(self.database.fault(
                    id,
                    Fault {
                        offset: 0,
                        problem: "is a branch deeper or longer than bbolt makes them",
                    },
                ));
            }
            let mut children = 0..branch.count;
            let index = match (key, self.direction) {
                (Some(key), _) => {
                    let index = last_at_or_before(&branch, key);
                    children.start = index.saturating_add(1);
                    Some(index)
                }
                (None, Direction::Forward) => children.next(),
                (None, Direction::Backward) => children.next_back(),
            };
            let child = index.and_then(|index| page::child(&branch.bytes, index));
            let Some((_, child)) = child else {
                return Err(self.database.fault(branch.id, NO_CHILD));
            };
            id = child;
            self.branches.push((branch, children));
        }
    }
}

const NO_CHILD: Fault = Fault {
    offset: 10,
    problem: "lacks a child",
};

/// The child below which a key belongs: the last whose first key is not after it.
fn last_at_or_before(branch: &Page, key: &[u8]) -> usize {
    let (mut low, mut high) = (0, branch.count);
    while low < high {
        let middle = low.midpoint(high);
        let is_after = page::child(&branch.bytes, middle).is_none_or(|(first, _)| first > key);
        if is_after {
            high = middle;
        } else {
            low = middle.saturating_add(1);
        }
    }
    low.saturating_sub(1)
}

/// The entries of a leaf, with their numbers.
pub(super) fn entries(leaf: &Page, direction: Direction) -> impl Iterator<Item = Entry<'_>> + '_ {
    let count = leaf.count;
    // `page::check` has shown that every one is there: this skips none.
    (0..count).filter_map(move |index| {
        let index = match direction {
            Direction::Forward => index,
            Direction::Backward => count.saturating_sub(index).saturating_sub(1),
        };
        page::entry(&leaf.bytes, index)
    })
}

/// Which pages were visited: a bit for each.
struct Visited(Vec<u64>);

impl Visited {
    /// The file has this many pages, so the bits are fewer than its bytes by far.
    fn new(pages: u64) -> Self {
        let words = usize::try_from(pages.div_ceil(64)).unwrap_or(0);
        Self(vec![0; words])
    }

    /// Whether the page may be visited. One that does not exist may: reading it says so better.
    fn insert(&mut self, id: u64) -> bool {
        let word = usize::try_from(id / 64).ok();
        let Some(bits) = word.and_then(|word| self.0.get_mut(word)) else {
            return true;
        };
        let bit = 1_u64 << (id % 64);
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }
}
