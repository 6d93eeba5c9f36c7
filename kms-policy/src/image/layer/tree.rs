//! The tree of files that a layer holds.

use std::collections::BTreeMap;

use crate::{Error, ErrorKind};

/// The most files of one layer, with directories and with every further name of a file. A directory
/// takes some 500 bytes of memory.
const MAX_FILES: usize = 2 * 1024 * 1024;
/// The most bytes of names and link targets of one layer.
const MAX_NAME_BYTES: usize = 256 * 1024 * 1024;

/// File types and permissions, as in `stat`.
pub(super) const S_IFREG: u16 = 0o100_000;
pub(super) const S_IFDIR: u16 = 0o040_000;
pub(super) const S_IFLNK: u16 = 0o120_000;
pub(super) const S_IFCHR: u16 = 0o020_000;
pub(super) const S_IFBLK: u16 = 0o060_000;
pub(super) const S_IFIFO: u16 = 0o010_000;
pub(super) const S_IFMT: u16 = 0o170_000;

/// What a file is, apart from its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// Type and the nine permission bits.
    pub(super) mode: u16,
    /// Whether what lies below in lower layers is hidden.
    pub(super) is_opaque: bool,
    pub(super) mtime: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The length of data or of a link's target, in bytes.
    pub(super) size: u64,
    /// Where the data begins in the tar; or a device's numbers.
    pub(super) offset: u64,
    /// A link's target that does not lie in the tar as it is.
    pub(super) long_target: Option<Vec<u8>>,
}

impl Inode {
    /// A directory that no entry describes.
    fn implied() -> Self {
        Self {
            mode: S_IFDIR | 0o555,
            ..Self::default()
        }
    }

    pub(super) const fn kind(&self) -> u16 {
        self.mode & S_IFMT
    }
}

/// A place in the arena.
pub(super) type NodeId = usize;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) inode: Inode,
    /// By name, in byte order.
    pub(super) children: BTreeMap<Vec<u8>, NodeId>,
}

#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// What was ever put into it, even if it was overwritten.
    taken: Taken,
}

/// How much of what a layer may hold is taken.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    files: usize,
    name_bytes: usize,
}

impl Taken {
    /// Counts a name, before there is memory taken for it.
    fn count(&mut self, name_bytes: usize) -> Result<(), Error> {
        self.files = self.files.saturating_add(1);
        self.name_bytes = self.name_bytes.saturating_add(name_bytes);
        if self.files > MAX_FILES || self.name_bytes > MAX_NAME_BYTES {
            return Err(Error::new(
                ErrorKind::Image,
                "a layer holds over 2,097,152 files, or over 256 MiB of names",
            ));
        }
        Ok(())
    }
}

pub(super) const ROOT: NodeId = 0;

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node {
            inode: Inode::implied(),
            children: BTreeMap::new(),
        };
        Self {
            nodes: vec![root],
            taken: Taken::default(),
        }
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(super) fn find(&self, path: &[&[u8]]) -> Option<NodeId> {
        path.iter().try_fold(ROOT, |id, name| {
            self.nodes.get(id)?.children.get(*name).copied()
        })
    }

    /// The directory at a path. Directories that are missing are made; a file in the way becomes one.
    pub(super) fn directory(&mut self, path: &[&[u8]]) -> Result<NodeId, Error> {
        let mut id = ROOT;
        for name in path {
            let known = self.nodes.get(id).and_then(|node| node.children.get(*name));
            id = match known.copied() {
                Some(child) if self.is_directory(child) => child,
                _ => self.put(id, name, Inode::implied())?,
            };
        }
        Ok(id)
    }

    fn is_directory(&self, id: NodeId) -> bool {
        let node = self.nodes.get(id);
        node.is_some_and(|node| node.inode.kind() == S_IFDIR)
    }

    /// Puts a file into a directory. What had its name before is gone, with all below it.
    pub(super) fn put(
        &mut self,
        parent: NodeId,
        name: &[u8],
        inode: Inode,
    ) -> Result<NodeId, Error> {
        let id = self.nodes.len();
        let target = inode.long_target.as_ref().map_or(0, Vec::len);
        self.taken.count(name.len().saturating_add(target))?;
        self.nodes.push(Node {
            inode,
            children: BTreeMap::new(),
        });
        self.name(parent, name, id);
        Ok(id)
    }

    /// Gives a file a further name. It counts as a file.
    pub(super) fn link(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), Error> {
        self.taken.count(name.len())?;
        self.name(parent, name, id);
        Ok(())
    }

    fn name(&mut self, parent: NodeId, name: &[u8], id: NodeId) {
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children.insert(name.to_vec(), id);
        }
    }

    pub(super) fn set_root(&mut self, inode: Inode) {
        if let Some(node) = self.nodes.get_mut(ROOT) {
            node.inode = inode;
            node.children.clear();
        }
    }

    pub(super) fn set_opaque(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.inode.is_opaque = true;
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.nodes.len()
    }
}

/// The names of a path, without what means nothing; none if it leads out of the layer.
pub(in crate::image) fn names(path: &[u8]) -> Option<Vec<&[u8]>> {
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_out_is_none() {
        assert_eq!(names(b"./a//b/../c/").unwrap(), [&b"a"[..], b"c"]);
        assert_eq!(names(b"/").unwrap(), [&b""[..]; 0]);
        assert_eq!(names(b"a/../../b"), None);
    }

    #[test]
    fn a_file_that_is_overwritten_is_gone_with_what_was_below() {
        let mut tree = Tree::new();
        let directory = tree.directory(&[b"a"]).unwrap();
        tree.put(directory, b"b", Inode::default()).unwrap();
        assert!(tree.find(&[b"a", b"b"]).is_some());
        tree.put(ROOT, b"a", Inode::default()).unwrap();
        assert!(tree.find(&[b"a"]).is_some());
        assert!(tree.find(&[b"a", b"b"]).is_none());
    }

    #[test]
    fn further_names_of_a_file_count_like_files() {
        let mut tree = Tree::new();
        let file = tree.put(ROOT, b"a", Inode::default()).unwrap();
        // One is left, of the files or of the bytes.
        tree.taken.files = MAX_FILES - 1;
        tree.link(ROOT, b"b", file).unwrap();
        assert!(tree.link(ROOT, b"c", file).is_err());
        assert!(tree.find(&[b"c"]).is_none());
        assert!(tree.put(ROOT, b"d", Inode::default()).is_err());
        assert!(tree.directory(&[b"e"]).is_err());
        tree.taken = Taken {
            files: 0,
            name_bytes: MAX_NAME_BYTES - 2,
        };
        tree.link(ROOT, b"fg", file).unwrap();
        let error = tree.link(ROOT, b"h", file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image);
        tree.taken.name_bytes = MAX_NAME_BYTES - 2;
        let link = Inode {
            long_target: Some(b"12".to_vec()),
            ..Inode::default()
        };
        assert!(tree.put(ROOT, b"i", link).is_err());
    }
}
