//! Root hashes of dm-verity beside bare SHA-256 over the same blocks, on as many threads; and a whole
//! layer beside the two bare hashes that it cannot do without.
//!
//! With the salt a block takes as many rounds of SHA-256 as without, and the tree has one hash more for
//! each 127 or so; what is above that is ours.

use std::hint::black_box;
use std::thread;

use kms_benches::{Comparison, compare, machine, smoke};
use kms_policy::image::{LayerSummary, VerityHasher, VerityOptions};
use ring::digest::{SHA256, digest};

const BLOCK: usize = 4096;

fn main() {
    if !smoke() && std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("Machine: {}.\n", machine());
    let (len, label) = if smoke() {
        (4 << 20, "4 MiB")
    } else {
        (1 << 30, "1 GiB")
    };
    // No two blocks are alike, and none is empty.
    let data: Vec<u8> = (0..len / 8)
        .flat_map(|word: u64| (word * 0x9e37_79b9).to_le_bytes())
        .collect();
    println!("| over {label} | threads | dm-verity | bare SHA-256 | ratio |");
    println!("|---|---|---|---|---|");
    for threads in [1, 2] {
        let found = compare(|| root(&data, threads), || blocks(&data, threads));
        row("root hash", threads, &found);
    }
    let layer = layer(&data);
    let found = compare(
        || LayerSummary::read(&*layer).expect("a tar"),
        || {
            thread::scope(|scope| {
                scope.spawn(|| black_box(digest(&SHA256, &layer)));
                blocks(&layer, 1);
            });
        },
    );
    row("whole layer", 2, &found);
}

fn root(data: &[u8], threads: usize) -> [u8; 32] {
    let hasher = VerityHasher::new(VerityOptions::default()).expect("options");
    let mut hasher = hasher.with_threads(threads);
    hasher.update(data);
    hasher.finish().expect("data")
}

/// Hashes each block, and keeps nothing.
fn blocks(data: &[u8], threads: usize) {
    let share = data.len().div_ceil(threads).next_multiple_of(BLOCK);
    thread::scope(|scope| {
        for share in data.chunks(share) {
            scope.spawn(move || {
                for block in share.chunks(BLOCK) {
                    black_box(digest(&SHA256, block));
                }
            });
        }
    });
}

/// A tar with one file.
fn layer(data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut builder = tar::Builder::new(Vec::with_capacity(data.len() + 4096));
    builder
        .append_data(&mut header, "file", data)
        .expect("in memory");
    builder.into_inner().expect("in memory")
}

fn row(what: &str, threads: usize, found: &Comparison) {
    let (ours, bare) = (found.candidate_ns / 1e6, found.baseline_ns / 1e6);
    println!(
        "| {what} | {threads} | {ours:.0} ms | {bare:.0} ms | {:.3} |",
        found.ratio
    );
}
