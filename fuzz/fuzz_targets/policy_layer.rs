//! Layers of images: any tar, and one that was well-formed before bytes of it were changed, gives an
//! error or facts that hold of its bytes, however it is read.
#![no_main]

use std::io::Read;
use std::sync::LazyLock;

use kms_policy::image::{Digest, LayerSummary};
use libfuzzer_sys::fuzz_target;

/// Members of every kind, names of every length.
static TAR: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(7);
    header.set_device_major(1).expect("a number");
    header.set_device_minor(3).expect("a number");
    let long = "d/".repeat(80);
    let kinds = [
        (tar::EntryType::Directory, "etc", ""),
        (
            tar::EntryType::Regular,
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\n",
        ),
        (tar::EntryType::Link, "etc/link", "etc/passwd"),
        (tar::EntryType::Symlink, "etc/symlink", &long),
        (tar::EntryType::Char, "dev/null", ""),
        (tar::EntryType::Regular, "etc/.wh.group", ""),
        (tar::EntryType::Regular, "d/.wh..wh..opq", ""),
        (tar::EntryType::Regular, &long, "content"),
    ];
    for (kind, path, content) in kinds {
        header.set_entry_type(kind);
        header.set_size(0);
        if matches!(kind, tar::EntryType::Link | tar::EntryType::Symlink) {
            builder
                .append_link(&mut header, path, content)
                .expect("in memory");
        } else {
            header.set_size(content.len() as u64);
            builder
                .append_data(&mut header, path, content.as_bytes())
                .expect("in memory");
        }
    }
    builder.into_inner().expect("in memory")
});

/// Gives seven bytes at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(7);
        self.0.read(&mut buffer[..most])
    }
}

fn check(tar: &[u8]) {
    let whole = LayerSummary::read(tar);
    let pieces = LayerSummary::read(Drops(tar));
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole, pieces);
            assert_eq!(whole.diff_id, Digest::sha256(tar).as_str());
        }
        (Err(whole), Err(pieces)) => assert_eq!(whole.kind(), pieces.kind()),
        (whole, pieces) => panic!("{whole:?} but {pieces:?}"),
    }
}

fuzz_target!(|input: &[u8]| {
    check(input);
    let Some((place, patch)) = input.split_first_chunk::<2>() else {
        return;
    };
    let mut tar = TAR.clone();
    let at = usize::from(u16::from_le_bytes(*place)) % tar.len();
    let length = patch.len().min(tar.len() - at);
    tar[at..at + length].copy_from_slice(&patch[..length]);
    // A header that was changed is let through by its sum.
    let start = at / 512 * 512;
    let sum: u32 = tar[start..start + 512]
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    tar[start + 148..start + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    check(&tar);
});
