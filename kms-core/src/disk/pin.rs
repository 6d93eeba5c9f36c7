//! Telling whether a file is still the one that was read.

use std::fs::{self, File, Metadata};
use std::path::Path;
use std::time::SystemTime;

/// One state of a file, held so that any later one is told from it without reading.
///
/// Writers that replace the file, as ours do, are always seen. A foreign one that overwrites it in
/// place is not, if it keeps the length and comes within the tick of the file system's clock in
/// which the file was last changed.
#[derive(Debug)]
pub(crate) struct Pin {
    pub(super) stamp: Stamp,
    /// As long as it is open, the file system cannot give its inode to a later file, so no two
    /// files share a stamp.
    pub(super) handle: File,
}

impl Pin {
    /// Whether this very file, unchanged, lies at `path` now.
    pub(crate) fn is_current(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| Stamp::new(&metadata) == self.stamp)
    }
}

#[derive(Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and the time of the last change of the inode, in s and ns.
    inode: [u64; 4],
}

impl Stamp {
    pub(super) fn new(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
            inode: inode(metadata),
        }
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> [u64; 4] {
    use std::os::unix::fs::MetadataExt as _;
    [
        metadata.dev(),
        metadata.ino(),
        metadata.ctime().cast_unsigned(),
        metadata.ctime_nsec().cast_unsigned(),
    ]
}

#[cfg(not(unix))]
const fn inode(_: &Metadata) -> [u64; 4] {
    [0; 4]
}
