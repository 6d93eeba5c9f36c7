//! Layers, whatever they hold.

use std::io::Read;

use kms_policy::ErrorKind;
use kms_policy::image::{LayerReading, LayerSummary};
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

/// Reads a few bytes at a time, as a network does.
struct Drops<'a>(&'a [u8], usize);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = self.1.min(buffer.len());
        self.1 = self.1 % 1000 + 1;
        self.0.read(&mut buffer[..most])
    }
}

/// A member: its kind, its path, and its content or the link's target.
fn member() -> impl Strategy<Value = (u8, String, Vec<u8>)> {
    let long = "[a-c]{90,120}";
    let path = prop_oneof![
        "(\\./)?[abc](/[abc]){0,3}",
        Just("etc/passwd".to_owned()),
        "etc/\\.wh\\.(passwd|group|\\.wh\\.\\.opq)",
        (long, long).prop_map(|(a, b)| format!("{a}/{b}")),
    ];
    (0..10_u8, path, prop::collection::vec(any::<u8>(), 0..1500))
}

fn tar(members: &[(u8, String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, content) in members {
        let mut header = if kind % 2 == 0 {
            Header::new_gnu()
        } else {
            Header::new_ustar()
        };
        header.set_mode(0o640);
        header.set_mtime(7);
        header.set_uid(0);
        header.set_device_major(1).unwrap();
        header.set_device_minor(2).unwrap();
        header.set_gid(0);
        header.set_size(0);
        let kind = match kind {
            0..=4 => EntryType::Regular,
            5 => EntryType::Directory,
            6 => EntryType::Symlink,
            7 => EntryType::Link,
            8 => EntryType::Char,
            _ => EntryType::Fifo,
        };
        header.set_entry_type(kind);
        let done = if matches!(kind, EntryType::Symlink | EntryType::Link) {
            let target = if content.len() % 2 == 0 { "a/b" } else { path };
            builder.append_link(&mut header, path, target)
        } else if kind == EntryType::Regular {
            header.set_size(content.len() as u64);
            if content.len() % 3 == 0 {
                let number = content.len().to_string();
                let records = [("uid", number.as_bytes()), ("path", path.as_bytes())];
                builder.append_pax_extensions(records).unwrap();
            }
            builder.append_data(&mut header, path, &**content)
        } else {
            builder.append_data(&mut header, path, &b""[..])
        };
        // A header of this form has no place for such a name.
        drop(done);
    }
    builder.into_inner().unwrap()
}

proptest! {
    #[test]
    fn pieces_do_not_matter(members in prop::collection::vec(member(), 0..12), drop in 1..1000_usize) {
        let tar = tar(&members);
        let whole = LayerSummary::read(&*tar).map_err(|error| error.to_string());
        let pieces = LayerSummary::read(Drops(&tar, drop)).map_err(|error| error.to_string());
        prop_assert_eq!(whole, pieces);
    }

    /// The walk is our own; the crate `tar` walks alike.
    #[test]
    fn a_walk_finds_what_the_crate_tar_finds(members in prop::collection::vec(member(), 0..12)) {
        let bytes = tar(&members);
        let mut passwd = LayerReading::Absent;
        let mut archive = tar::Archive::new(&*bytes);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path_bytes().into_owned();
            if path == b"etc/passwd" && entry.header().entry_type() == EntryType::Regular {
                let mut text = Vec::new();
                entry.read_to_end(&mut text).unwrap();
                passwd = LayerReading::Text(String::from_utf8_lossy(&text).into_owned());
            } else if path == b"etc/.wh.passwd" || (path == b"etc/.wh..wh..opq" && passwd == LayerReading::Absent) {
                passwd = LayerReading::Deleted;
            }
        }
        prop_assert_eq!(LayerSummary::read(&*bytes).unwrap().passwd, passwd);
    }

    #[test]
    fn a_damaged_tar_is_an_error_or_another_layer(
        members in prop::collection::vec(member(), 1..8),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        cut in any::<prop::sample::Index>(),
    ) {
        let tar = tar(&members);
        let whole = LayerSummary::read(&*tar).unwrap();
        let mut changed = tar.clone();
        changed[at.index(tar.len())] ^= 1 << bit;
        if let Ok(summary) = LayerSummary::read(&*changed) {
            prop_assert_ne!(&summary.diff_id, &whole.diff_id);
            prop_assert_ne!(&summary.verity, &whole.verity);
        }
        let _ = LayerSummary::read(&tar[..cut.index(tar.len())]);
    }

    #[test]
    fn any_bytes_are_read_to_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _ = LayerSummary::read(&*bytes);
    }
}

/// A header of a member that describes the next one, and says that it is this long.
fn extension(kind: EntryType, size: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_path("././@LongLink").unwrap();
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn names_are_bounded_before_they_are_read() {
    for kind in [
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
    ] {
        for size in [5 << 20, 1 << 40, u64::MAX >> 1] {
            // Behind the header there would be no end of bytes.
            let endless = std::io::repeat(b'a').take(64 << 20);
            let mut bytes = Vec::from(&*extension(kind, size));
            let error = LayerSummary::read(bytes.as_slice().chain(endless)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Image);
            assert!(error.to_string().contains("over 4 MiB"), "{error}");
            bytes.clear();
        }
    }
}

#[test]
fn descriptions_without_a_member_and_twice_are_errors() {
    let name = [
        extension(EntryType::GNULongName, 3),
        b"a/b".to_vec(),
        vec![0; 509],
    ]
    .concat();
    let end = vec![0; 1024];
    for bad in [
        [&*name, &end].concat(),
        [&*name, &name, &end].concat(),
        name.clone(),
    ] {
        let error = LayerSummary::read(&*bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image);
    }
}

#[test]
fn a_size_that_leads_beyond_all_is_an_error() {
    let mut header = super::made::header();
    header.set_path("a").unwrap();
    for size in [1 << 62, u64::MAX] {
        header.set_size(size);
        header.set_cksum();
        let error = LayerSummary::read(&header.as_bytes()[..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image, "{size}");
    }
    header.set_entry_type(EntryType::Regular);
    header.set_path("etc/passwd").unwrap();
    header.set_size(5 << 20);
    header.set_cksum();
    let endless = std::io::repeat(b'a').take(64 << 20);
    let error = LayerSummary::read(header.as_bytes()[..].chain(endless)).unwrap_err();
    assert!(error.to_string().contains("4 MiB"), "{error}");
}
