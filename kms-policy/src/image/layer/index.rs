//! The index that is appended to a layer's tar, so that the guest can mount it (tarfs).
//!
//! All numbers are little-endian. From the end of the tar on: a table of inodes of 32 bytes each,
//! numbered from 1 in breadth-first order; the entries of directories, 32 bytes each; targets of
//! links that do not lie in the tar; names. Then zeros up to a whole block of 4096 bytes, and one
//! block whose last 512 bytes begin with the table's place and length.

use std::collections::{HashMap, VecDeque};

use super::tree::{NodeId, ROOT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, Tree};
use crate::{Error, ErrorKind};

const BLOCK: u64 = 4096;
const SECTOR: u64 = 512;
/// The length of an inode, and of an entry of a directory, in bytes.
const RECORD: u64 = 32;
/// A bit of an inode's flags.
const OPAQUE: u8 = 1;

/// The bytes behind a tar of this length.
pub(super) fn index(tree: &Tree, tar_len: u64) -> Result<Vec<u8>, Error> {
    let order = breadth_first(tree);
    let plan = Plan::new(tree, &order, tar_len).ok_or_else(too_long)?;
    let mut bytes = Vec::with_capacity(tree.len().saturating_mul(96));
    plan.inodes(tree, &order, &mut bytes).ok_or_else(too_long)?;
    plan.entries(tree, &order, &mut bytes)
        .ok_or_else(too_long)?;
    for (_, node) in nodes(tree, &order) {
        if let Some(target) = &node.inode.long_target {
            bytes.extend_from_slice(target);
        }
    }
    for (_, node) in nodes(tree, &order) {
        for name in node.children.keys() {
            bytes.extend_from_slice(name);
        }
    }
    let written = tar_len
        .checked_add(bytes.len() as u64)
        .ok_or_else(too_long)?;
    let end = written
        .checked_next_multiple_of(BLOCK)
        .ok_or_else(too_long)?;
    let superblock = end.checked_add(BLOCK - SECTOR).ok_or_else(too_long)?;
    let total = end.checked_add(BLOCK).ok_or_else(too_long)?;
    resize(&mut bytes, superblock, tar_len).ok_or_else(too_long)?;
    bytes.extend_from_slice(&tar_len.to_le_bytes());
    bytes.extend_from_slice(&(order.numbered.len() as u64).to_le_bytes());
    resize(&mut bytes, total, tar_len).ok_or_else(too_long)?;
    Ok(bytes)
}

fn too_long() -> Error {
    Error::new(ErrorKind::Image, "a layer is too long to be indexed")
}

fn resize(bytes: &mut Vec<u8>, end: u64, start: u64) -> Option<()> {
    bytes.resize(usize::try_from(end.checked_sub(start)?).ok()?, 0);
    Some(())
}

/// Inodes in their order, each once.
struct Order {
    numbered: Vec<NodeId>,
    /// From 1 on.
    numbers: HashMap<NodeId, u64>,
}

fn breadth_first(tree: &Tree) -> Order {
    let mut order = Order {
        numbered: Vec::new(),
        numbers: HashMap::new(),
    };
    let mut queue = VecDeque::from([ROOT]);
    while let Some(id) = queue.pop_front() {
        if order.numbers.contains_key(&id) {
            continue;
        }
        order.numbered.push(id);
        order.numbers.insert(id, order.numbered.len() as u64);
        if let Some(node) = tree.node(id) {
            queue.extend(node.children.values());
        }
    }
    order
}

fn nodes<'t>(
    tree: &'t Tree,
    order: &'t Order,
) -> impl Iterator<Item = (NodeId, &'t super::tree::Node)> {
    let ids = order.numbered.iter();
    ids.filter_map(|id| Some((*id, tree.node(*id)?)))
}

/// Where everything lies.
struct Plan {
    entries: u64,
    targets: u64,
    names: u64,
}

impl Plan {
    fn new(tree: &Tree, order: &Order, tar_len: u64) -> Option<Self> {
        let table = RECORD.checked_mul(order.numbered.len() as u64)?;
        let entries = tar_len.checked_add(table)?;
        let (mut count, mut target_bytes) = (0_u64, 0_u64);
        for (_, node) in nodes(tree, order) {
            count = count.checked_add(node.children.len() as u64)?;
            let target = node.inode.long_target.as_ref().map_or(0, Vec::len);
            target_bytes = target_bytes.checked_add(target as u64)?;
        }
        let targets = entries.checked_add(RECORD.checked_mul(count)?)?;
        Some(Self {
            entries,
            targets,
            names: targets.checked_add(target_bytes)?,
        })
    }

    fn inodes(&self, tree: &Tree, order: &Order, into: &mut Vec<u8>) -> Option<()> {
        let (mut entry, mut target) = (self.entries, self.targets);
        for (_, node) in nodes(tree, order) {
            let inode = &node.inode;
            let (mut size, mut offset) = (inode.size, inode.offset);
            if inode.kind() == S_IFDIR {
                size = RECORD.checked_mul(node.children.len() as u64)?;
                offset = entry;
                entry = entry.checked_add(size)?;
            } else if let Some(text) = &inode.long_target {
                offset = target;
                target = target.checked_add(text.len() as u64)?;
            }
            let [low, high] = [inode.mtime & 0xffff_ffff, (inode.mtime >> 32) & 0xf];
            into.extend_from_slice(&inode.mode.to_le_bytes());
            into.push(if inode.is_opaque { OPAQUE } else { 0 });
            into.push(u8::try_from(high).ok()?);
            into.extend_from_slice(&inode.uid.to_le_bytes());
            into.extend_from_slice(&inode.gid.to_le_bytes());
            into.extend_from_slice(&u32::try_from(low).ok()?.to_le_bytes());
            into.extend_from_slice(&size.to_le_bytes());
            into.extend_from_slice(&offset.to_le_bytes());
        }
        Some(())
    }

    fn entries(&self, tree: &Tree, order: &Order, into: &mut Vec<u8>) -> Option<()> {
        let mut name_at = self.names;
        for (_, node) in nodes(tree, order) {
            for (name, child) in &node.children {
                let number = order.numbers.get(child)?;
                let kind = tree.node(*child)?.inode.kind();
                into.extend_from_slice(&number.to_le_bytes());
                into.extend_from_slice(&name_at.to_le_bytes());
                into.extend_from_slice(&(name.len() as u64).to_le_bytes());
                into.push(entry_type(kind));
                into.extend_from_slice(&[0; 7]);
                name_at = name_at.checked_add(name.len() as u64)?;
            }
        }
        Some(())
    }
}

/// `DT_*` of `readdir`.
const fn entry_type(kind: u16) -> u8 {
    match kind {
        S_IFIFO => 1,
        S_IFCHR => 2,
        S_IFDIR => 4,
        S_IFBLK => 6,
        S_IFREG => 8,
        S_IFLNK => 10,
        _ => 0,
    }
}
