//! Root hashes beside those of `veritysetup`.

use std::process::Command;

use kms_policy::image::{VerityHasher, VerityOptions};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

fn root(data: &[u8], threads: usize) -> String {
    let mut hasher = VerityHasher::new(VerityOptions::default())
        .unwrap()
        .with_threads(threads);
    hasher.update(data);
    let root = hasher.finish().unwrap();
    root.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What Debian's tool says. It takes no part of a block.
fn veritysetup(data: &[u8], directory: &std::path::Path) -> String {
    let (file, hashes) = (directory.join("data"), directory.join("hashes"));
    std::fs::write(&file, data).unwrap();
    let output = Command::new("veritysetup")
        .args([
            "format",
            "--no-superblock",
            "--hash=sha256",
            "--data-block-size=4096",
        ])
        .args([
            "--hash-block-size=4096",
            &format!("--salt={}", "00".repeat(32)),
        ])
        .args([&file, &hashes])
        .output()
        .expect("veritysetup is in PATH");
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Root hash:"));
    line.unwrap_or_else(|| panic!("{text}{error}"))
        .trim()
        .to_owned()
}

#[test]
#[ignore = "needs veritysetup of the package cryptsetup-bin"]
fn the_root_is_that_of_veritysetup() {
    let directory = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::default();
    let mut random = |len: usize| {
        let seed = any::<u64>().new_tree(&mut runner).unwrap().current();
        let mut state = seed | 1;
        let words = std::iter::repeat_with(move || {
            // xorshift: what the bytes are does not matter, as long as blocks differ.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        words.flatten().take(len).collect::<Vec<u8>>()
    };
    let blocks = [
        1, 2, 3, 127, 128, 129, 255, 256, 257, 1000, 4096, 16_383, 16_384,
    ];
    for blocks in blocks {
        let data = random(blocks * 4096);
        let expected = veritysetup(&data, directory.path());
        for threads in [1, 2, 3] {
            assert_eq!(
                root(&data, threads),
                expected,
                "{blocks} blocks, {threads} threads"
            );
        }
        // Part of a block counts as filled up with zeros.
        let mut part = data;
        part.truncate((blocks - 1) * 4096 + 1);
        let mut whole = part.clone();
        whole.resize(blocks * 4096, 0);
        assert_eq!(root(&part, 2), veritysetup(&whole, directory.path()));
    }
    // Nothing has no root, there as here.
    std::fs::write(directory.path().join("data"), b"").unwrap();
    let status = Command::new("veritysetup")
        .args(["format", "--no-superblock", "--salt=-"])
        .args([
            directory.path().join("data"),
            directory.path().join("hashes"),
        ])
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
    let hasher = VerityHasher::new(VerityOptions::default()).unwrap();
    hasher.finish().unwrap_err();
}
