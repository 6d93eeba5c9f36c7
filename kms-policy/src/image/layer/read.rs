//! One pass over a layer's tar.

use std::io::{self, Read};

use super::archive::{Entries, Entry, Stream};
use super::hashing::Hashing;
use super::tree::{self, Inode, ROOT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, Tree};
use super::{broken, index};
use crate::policy::hex;
use crate::{Error, ErrorKind};

/// The longest `/etc/passwd` or `/etc/group`, in bytes.
const MAX_ACCOUNTS: u64 = 4 * 1024 * 1024;
/// Where the target of a link lies in a header.
const LINK_NAME_AT: u64 = 157;
/// The mark of a directory that hides what lies below it.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What the name of a file that hides another begins with.
const WHITEOUT: &[u8] = b".wh.";

/// What one layer is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LayerSummary {
    /// The digest of the uncompressed tar, `sha256:…`.
    pub diff_id: String,
    /// The root hash of dm-verity over the indexed tar, 64 hexadecimal digits.
    pub verity: String,
    /// What the layer says of `/etc/passwd`.
    pub passwd: LayerReading,
    /// What the layer says of `/etc/group`.
    pub group: LayerReading,
}

/// What a layer says of one file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum LayerReading {
    /// Nothing: that of the layers below counts.
    #[default]
    Absent,
    /// It is deleted.
    Deleted,
    /// It is this text.
    Text(String),
}

impl LayerReading {
    /// Puts this layer over those below.
    pub fn over(&self, below: &mut Option<String>) {
        match self {
            Self::Absent => {}
            Self::Deleted => *below = None,
            Self::Text(text) => *below = Some(text.clone()),
        }
    }
}

impl LayerSummary {
    /// Reads an uncompressed tar to its end, in one pass. Memory grows with the number of files, never
    /// with their content. Large layers are hashed on two threads.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if it cannot be read; [`ErrorKind::Image`] if it is no tar, or holds more
    /// names than there is memory for.
    pub fn read(tar: impl Read) -> Result<Self, Error> {
        let mut entries = Entries::new(Hashing::new(tar)?);
        let mut layer = Layer {
            tree: Tree::new(),
            passwd: LayerReading::Absent,
            group: LayerReading::Absent,
        };
        while let Some(entry) = entries.next()? {
            layer.add(&entry, &mut entries)?;
        }
        let (digest, mut verity, len) = entries.into_stream().finish().map_err(broken)?;
        verity.update(&index::index(&layer.tree, len)?);
        Ok(Self {
            diff_id: format!("sha256:{}", hex(digest.as_ref())),
            verity: hex(&verity.finish()?),
            passwd: layer.passwd,
            group: layer.group,
        })
    }
}

struct Layer {
    tree: Tree,
    passwd: LayerReading,
    group: LayerReading,
}

impl Layer {
    fn add(&mut self, entry: &Entry, entries: &mut Entries<impl Stream>) -> Result<(), Error> {
        let Some(names) = tree::names(&entry.path) else {
            return Ok(());
        };
        let Some((name, parents)) = names.split_last() else {
            if let Some(inode) = inode(entry)? {
                self.tree.set_root(inode);
            }
            return Ok(());
        };
        if *name == OPAQUE {
            let directory = self.tree.directory(parents)?;
            self.tree.set_opaque(directory);
            if parents == [b"etc"] {
                self.note(b"passwd", LayerReading::Deleted, true);
                self.note(b"group", LayerReading::Deleted, true);
            }
            return Ok(());
        }
        if let Some(hidden) = name
            .strip_prefix(WHITEOUT)
            .filter(|hidden| !hidden.is_empty())
        {
            let directory = self.tree.directory(parents)?;
            let inode = Inode {
                mode: S_IFCHR,
                ..Inode::default()
            };
            self.tree.put(directory, hidden, inode)?;
            if parents == [b"etc"] {
                self.note(hidden, LayerReading::Deleted, false);
            }
            return Ok(());
        }
        if entry.header.entry_type().is_hard_link() {
            return self.hard_link(entry, parents, name);
        }
        let Some(inode) = inode(entry)? else {
            return Ok(());
        };
        let is_file = inode.kind() == S_IFREG;
        let directory = self.tree.directory(parents)?;
        self.tree.put(directory, name, inode)?;
        if is_file && parents == [b"etc"] && [&b"passwd"[..], b"group"].contains(name) {
            if entry.size > MAX_ACCOUNTS {
                return Err(Error::new(
                    ErrorKind::Image,
                    "a layer has an `/etc/passwd` or `/etc/group` of over 4 MiB",
                ));
            }
            let bytes = entries.data(entry)?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            self.note(name, LayerReading::Text(text), false);
        }
        Ok(())
    }

    /// What an opaque mark says counts less than what the layer itself holds.
    fn note(&mut self, name: &[u8], reading: LayerReading, only_if_absent: bool) {
        let slot = match name {
            b"passwd" => &mut self.passwd,
            b"group" => &mut self.group,
            _ => return,
        };
        if !only_if_absent || *slot == LayerReading::Absent {
            *slot = reading;
        }
    }

    fn hard_link(&mut self, entry: &Entry, parents: &[&[u8]], name: &[u8]) -> Result<(), Error> {
        let target = entry.link.as_deref().and_then(tree::names);
        let found = target.and_then(|names| self.tree.find(&names));
        let is_file = |id| {
            let node = self.tree.node(id);
            node.is_some_and(|node| node.inode.kind() == S_IFREG)
        };
        if let Some(id) = found.filter(|id| *id != ROOT && is_file(*id)) {
            let directory = self.tree.directory(parents)?;
            self.tree.link(directory, name, id)?;
        }
        Ok(())
    }
}

/// What an entry describes; none for types that the index leaves out.
fn inode(entry: &Entry) -> Result<Option<Inode>, Error> {
    let header = &entry.header;
    let kind = header.entry_type();
    let file_type = if kind.is_file() || kind.is_contiguous() {
        S_IFREG
    } else if kind.is_dir() {
        S_IFDIR
    } else if kind.is_symlink() {
        S_IFLNK
    } else if kind.is_character_special() {
        S_IFCHR
    } else if kind.is_block_special() {
        S_IFBLK
    } else if kind.is_fifo() {
        S_IFIFO
    } else {
        return Ok(None);
    };
    let permissions = header.mode().map_err(broken)? & 0o777;
    let number = |value: io::Result<u64>| {
        let value = value.map_err(broken)?;
        u32::try_from(value)
            .map_err(|_| Error::new(ErrorKind::Image, "a layer names a user over 2³²"))
    };
    let mut inode = Inode {
        mode: file_type | u16::try_from(permissions).unwrap_or_default(),
        mtime: header.mtime().map_err(broken)?,
        uid: number(header.uid())?,
        gid: number(header.gid())?,
        ..Inode::default()
    };
    match file_type {
        S_IFREG => {
            inode.size = entry.size;
            inode.offset = entry.data_at;
        }
        S_IFLNK => {
            let target = entry.link.clone().unwrap_or_default();
            inode.size = target.len() as u64;
            if header.link_name_bytes().as_deref() == Some(&*target) {
                inode.offset = entry.header_at.saturating_add(LINK_NAME_AT);
            } else {
                inode.long_target = Some(target);
            }
        }
        S_IFCHR | S_IFBLK => {
            let major = header.device_major().map_err(broken)?.unwrap_or_default();
            let minor = header.device_minor().map_err(broken)?.unwrap_or_default();
            inode.offset = u64::from(minor) | (u64::from(major) << 32);
        }
        _ => {}
    }
    Ok(Some(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(tar: &[u8]) -> LayerSummary {
        LayerSummary::read(tar).unwrap()
    }

    #[test]
    fn an_empty_layer_has_the_root_that_published_policies_show() {
        let layer = summary(&[0; 1024]);
        assert_eq!(
            layer.diff_id,
            "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
        );
        assert_eq!(
            layer.verity,
            "67450082ab56da1aecc5eae2f18d980cd9e7306e79334a1a826a91cfd90114a8"
        );
    }

    fn tar(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            header.set_uid(1000);
            header.set_gid(0);
            header.set_mtime(0x3_0000_0007);
            if kind.is_symlink() || kind.is_hard_link() {
                header.set_size(0);
                builder.append_link(&mut header, path, content).unwrap();
            } else {
                header.set_size(content.len() as u64);
                builder
                    .append_data(&mut header, path, content.as_bytes())
                    .unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn the_users_of_the_topmost_layer_count() {
        use tar::EntryType as T;
        let lower = summary(&tar(&[
            ("etc/passwd", T::Regular, "a:x:1:1::/:\n"),
            ("etc/group", T::Regular, "a:x:1:\n"),
        ]));
        let upper = summary(&tar(&[
            ("etc/.wh.passwd", T::Regular, ""),
            ("etc/group", T::Regular, "b:x:2:\n"),
        ]));
        let opaque = summary(&tar(&[
            ("etc/group", T::Regular, "c:x:3:\n"),
            ("etc/.wh..wh..opq", T::Regular, ""),
        ]));
        let (mut passwd, mut group) = (None, None);
        for (layer, expected) in [
            (&lower, (Some("a:x:1:1::/:\n"), Some("a:x:1:\n"))),
            (&upper, (None, Some("b:x:2:\n"))),
            (&opaque, (None, Some("c:x:3:\n"))),
        ] {
            layer.passwd.over(&mut passwd);
            layer.group.over(&mut group);
            assert_eq!((passwd.as_deref(), group.as_deref()), expected);
        }
    }

    #[test]
    fn whatever_a_layer_holds_counts_in_its_root() {
        use tar::EntryType as T;
        let base = [
            ("a", T::Directory, ""),
            ("a/b", T::Regular, "x"),
            ("l", T::Symlink, "a/b"),
        ];
        let roots: Vec<_> = [
            tar(&base),
            tar(&base[..2]),
            tar(&[base[0], base[1], ("l", T::Symlink, "a/c")]),
            tar(&[base[0], base[1], base[2], ("h", T::Link, "a/b")]),
            tar(&[base[0], base[1], base[2], ("a/.wh.c", T::Regular, "")]),
            tar(&[
                base[0],
                base[1],
                base[2],
                ("a/.wh..wh..opq", T::Regular, ""),
            ]),
        ]
        .iter()
        .map(|tar| summary(tar).verity)
        .collect();
        for (index, root) in roots.iter().enumerate() {
            assert!(!roots[..index].contains(root), "{index}");
        }
    }

    #[test]
    fn damaged_tars_are_errors() {
        use tar::EntryType as T;
        let whole = tar(&[("etc/passwd", T::Regular, "abc"), ("b", T::Directory, "")]);
        for cut in [1, 100, 511, 513, 600] {
            let error = LayerSummary::read(&whole[..cut]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Image, "{cut}");
        }
        let mut flipped = whole;
        flipped[0] ^= 1;
        assert_eq!(
            LayerSummary::read(&*flipped).unwrap_err().kind(),
            ErrorKind::Image
        );
    }

    /// A tar with one member, which a PAX record gives a path or a link's target.
    fn with_pax(kind: tar::EntryType, key: &str, value: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        builder
            .append_pax_extensions([(key, value.as_bytes())])
            .unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_path("a").unwrap();
        header.set_size(0);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn paths_and_targets_are_no_longer_than_linux_has_them() {
        use tar::EntryType as T;
        for (kind, key) in [
            (T::Regular, "path"),
            (T::Symlink, "linkpath"),
            (T::Link, "linkpath"),
        ] {
            let named =
                |len: usize| LayerSummary::read(&*with_pax(kind, key, &"a/".repeat(len / 2)));
            assert!(named(4096).is_ok(), "{key}");
            let error = named(4098).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Image, "{key}");
            assert!(error.message().contains("4096 bytes"), "{error}");
        }
        let long = format!("{}b", "a/".repeat(2048));
        let error = LayerSummary::read(&*tar(&[(&long, T::Regular, "")])).unwrap_err();
        assert!(error.message().contains("4096 bytes"), "{error}");
    }
}
