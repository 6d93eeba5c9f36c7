//! Root hashes of dm-verity.
//!
//! The tree of hash format version 1, as the Linux kernel reads it and `veritysetup` makes it: each
//! block of data is hashed behind the salt, the hashes fill blocks, these are hashed likewise, until
//! one hash is left. Only the hashes are made here, no superblock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ring::digest::{Context, SHA256};

use crate::{Error, ErrorKind};

/// The length of a hash, in bytes: SHA-256.
pub const HASH_LEN: usize = 32;
/// Levels that 2⁶⁴ bytes take with the smallest blocks, and more.
const MAX_LEVELS: usize = 32;
/// The largest block, in bytes.
const MAX_BLOCK: usize = 1024 * 1024;

/// From so many bytes at once on, blocks are shared out among threads.
const WORTH_THREADS: usize = 1024 * 1024;
/// What a thread takes at once, in bytes. Small, so that none waits long for the last.
const SHARE: usize = 1024 * 1024;
/// What is shared out before the threads meet, in bytes: its hashes take 2 MiB of memory.
const SHARED_OUT: usize = 256 * 1024 * 1024;

/// The form of a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct VerityOptions {
    /// The length of a block of data, in bytes. 4096 by default.
    pub data_block: usize,
    /// The length of a block of hashes, in bytes. 4096 by default.
    pub hash_block: usize,
    /// What is hashed before each block. Zeros by default.
    pub salt: [u8; 32],
}

impl Default for VerityOptions {
    fn default() -> Self {
        Self {
            data_block: 4096,
            hash_block: 4096,
            salt: [0; 32],
        }
    }
}

impl VerityOptions {
    /// Sets the length of both kinds of blocks, in bytes.
    #[must_use]
    pub const fn with_blocks(mut self, data: usize, hash: usize) -> Self {
        self.data_block = data;
        self.hash_block = hash;
        self
    }
}

/// Makes a root hash of data that comes piece by piece. It holds one block for each level.
///
/// ```
/// use kms_policy::image::{VerityHasher, VerityOptions};
///
/// let mut hasher = VerityHasher::new(VerityOptions::default())?;
/// hasher.update(&[0; 8192]);
/// assert_eq!(hasher.finish()?.len(), 32);
/// # Ok::<(), kms_policy::Error>(())
/// ```
pub struct VerityHasher {
    options: VerityOptions,
    /// A hash that has taken in the salt.
    salted: Context,
    threads: usize,
    /// Data that fills no block yet.
    data: Vec<u8>,
    /// For each level, hashes that fill no block yet, and how many it has had.
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    pending: Vec<u8>,
    count: u64,
}

impl core::fmt::Debug for VerityHasher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VerityHasher")
            .field("options", &self.options)
            .field("levels", &self.levels.len())
            .finish_non_exhaustive()
    }
}

impl VerityHasher {
    /// One for trees of this form.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`] if a block is not a power of two between 512 bytes and 1 MiB.
    pub fn new(options: VerityOptions) -> Result<Self, Error> {
        let fits = |block: usize| block.is_power_of_two() && (512..=MAX_BLOCK).contains(&block);
        if !fits(options.data_block) || !fits(options.hash_block) {
            return Err(Error::new(
                ErrorKind::Image,
                "a block of dm-verity is a power of two between 512 bytes and 1 MiB",
            ));
        }
        let mut salted = Context::new(&SHA256);
        salted.update(&options.salt);
        Ok(Self {
            options,
            salted,
            threads: 1,
            data: Vec::with_capacity(options.data_block),
            levels: Vec::new(),
        })
    }

    /// Hashes on so many threads where 1 MiB or more comes at once.
    #[must_use]
    pub const fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let block = self.options.data_block;
        if !self.data.is_empty() {
            let missing = block.saturating_sub(self.data.len()).min(bytes.len());
            let (head, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
            self.data.extend_from_slice(head);
            bytes = rest;
            if self.data.len() < block {
                return;
            }
            let full = core::mem::take(&mut self.data);
            self.add_hash(self.hash(&full));
            self.data = full;
            self.data.clear();
        }
        let rest = bytes.len().checked_rem(block).unwrap_or_default();
        let full = bytes.len().saturating_sub(rest);
        let (full, rest) = bytes.split_at_checked(full).unwrap_or((bytes, &[]));
        self.data.extend_from_slice(rest);
        if self.threads < 2 || full.len() < WORTH_THREADS {
            for block in full.chunks_exact(block) {
                self.add_hash(self.hash(block));
            }
            return;
        }
        for shared_out in full.chunks(SHARED_OUT) {
            for hash in self.hashes(shared_out) {
                self.add_hash(hash);
            }
        }
    }

    /// The hashes of many blocks, in order, made on several threads.
    fn hashes(&self, blocks: &[u8]) -> Vec<[u8; HASH_LEN]> {
        let block = self.options.data_block;
        let shares: Vec<&[u8]> = blocks.chunks(SHARE.max(block)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done: Vec<(usize, Vec<_>)> = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(share) = shares.get(index) else {
                    return done;
                };
                let blocks = share.chunks_exact(block);
                done.push((index, blocks.map(|block| self.hash(block)).collect()));
            }
        };
        let mut done = thread::scope(|scope| {
            // Where there is no thread to be had, those that there are do the work.
            let others: Vec<_> = (1..self.threads.min(shares.len()))
                .filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mut done = work();
            for other in others {
                match other.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        done.sort_unstable_by_key(|(index, _)| *index);
        done.into_iter().flat_map(|(_, hashes)| hashes).collect()
    }

    /// The hash of one block, which does not belong to the tree yet.
    fn hash(&self, block: &[u8]) -> [u8; HASH_LEN] {
        let mut context = self.salted.clone();
        context.update(block);
        let mut hash = [0; HASH_LEN];
        for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        hash
    }

    fn add_hash(&mut self, mut hash: [u8; HASH_LEN]) {
        for index in 0..MAX_LEVELS {
            if self.levels.len() == index {
                self.levels.push(Level::default());
            }
            let Some(level) = self.levels.get_mut(index) else {
                return;
            };
            level.count = level.count.saturating_add(1);
            level.pending.extend_from_slice(&hash);
            if level.pending.len() < self.options.hash_block {
                return;
            }
            let full = core::mem::take(&mut level.pending);
            hash = self.hash(&full);
            if let Some(level) = self.levels.get_mut(index) {
                level.pending = full;
                level.pending.clear();
            }
        }
    }

    /// The root hash. A last block that is not full counts as filled up with zeros.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`] if there was no data: dm-verity has no empty device.
    pub fn finish(mut self) -> Result<[u8; HASH_LEN], Error> {
        if !self.data.is_empty() {
            let mut last = core::mem::take(&mut self.data);
            last.resize(self.options.data_block, 0);
            self.add_hash(self.hash(&last));
        }
        let mut index = 0;
        loop {
            let level = self.levels.get_mut(index).map(core::mem::take);
            let Some(Level { pending, count }) = level else {
                return Err(Error::new(ErrorKind::Image, "dm-verity over no data"));
            };
            if count == 1 && self.levels.len() == index.saturating_add(1) {
                let mut root = [0; HASH_LEN];
                // One hash that filled no block is the root.
                for (to, from) in root.iter_mut().zip(&pending) {
                    *to = *from;
                }
                return Ok(root);
            }
            index = index.saturating_add(1);
            if !pending.is_empty() {
                let mut last = pending;
                last.resize(self.options.hash_block, 0);
                self.add_to(index, self.hash(&last));
            }
        }
    }

    /// Adds a hash to a level that may be the first of its kind.
    fn add_to(&mut self, index: usize, hash: [u8; HASH_LEN]) {
        while self.levels.len() <= index {
            self.levels.push(Level::default());
        }
        if let Some(level) = self.levels.get_mut(index) {
            level.count = level.count.saturating_add(1);
            level.pending.extend_from_slice(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::hex;

    /// 3000 blocks of 4096 bytes; block i is the number i, little-endian, again and again.
    fn numbered() -> Vec<u8> {
        (0..3000_u32)
            .flat_map(|block| block.to_le_bytes().repeat(1024))
            .collect()
    }

    fn root(data: &[u8], options: VerityOptions, piece: usize) -> String {
        let mut hasher = VerityHasher::new(options).unwrap();
        data.chunks(piece).for_each(|piece| hasher.update(piece));
        hex(&hasher.finish().unwrap())
    }

    #[test]
    fn roots_are_those_of_the_kernel() {
        // From a unit test of Kata Containers.
        let expected = "b66f087933ddbac8aca3c62359bbd9ff87372c30d86dbb6bfcd4b8ae369367eb";
        assert_eq!(
            root(&numbered(), VerityOptions::default(), 1 << 20),
            expected
        );
        let small = VerityOptions::default().with_blocks(512, 512);
        let expected = "94c67a2d2b46e669032d74bcdf3571cc128c306281e4ae6deb07ff62011c7dee";
        assert_eq!(root(&numbered(), small, 1 << 20), expected);
    }

    #[test]
    fn pieces_do_not_matter() {
        let data = &numbered()[..130 * 4096];
        let options = VerityOptions::default();
        let whole = root(data, options, data.len());
        for piece in [1000, 4095, 4096, 4097, 12_288] {
            assert_eq!(root(data, options, piece), whole, "{piece}");
        }
    }

    #[test]
    fn threads_do_not_matter() {
        let data = [&*numbered(), &*numbered(), b"rest"].concat();
        let whole = root(&data, VerityOptions::default(), data.len());
        for (threads, piece) in [(2, data.len()), (3, 5_000_001), (7, 1 << 20), (2, 4096)] {
            let mut hasher = VerityHasher::new(VerityOptions::default())
                .unwrap()
                .with_threads(threads);
            data.chunks(piece).for_each(|piece| hasher.update(piece));
            assert_eq!(hex(&hasher.finish().unwrap()), whole, "{threads} {piece}");
        }
    }

    /// By the definition: all hashes of a level at once.
    fn slow(data: &[u8]) -> String {
        let hasher = VerityHasher::new(VerityOptions::default()).unwrap();
        let mut blocks: Vec<u8> = data.to_vec();
        loop {
            blocks.resize(blocks.len().next_multiple_of(4096), 0);
            let hashes: Vec<u8> = blocks
                .chunks(4096)
                .flat_map(|block| hasher.hash(block))
                .collect();
            if hashes.len() == HASH_LEN {
                return hex(&hashes);
            }
            blocks = hashes;
        }
    }

    #[test]
    fn every_number_of_blocks_around_a_full_level_has_its_root() {
        let data = vec![7; 16_385 * 4096];
        for blocks in [1, 2, 127, 128, 129, 255, 256, 257, 16_383, 16_384, 16_385] {
            let data = &data[..blocks * 4096];
            assert_eq!(
                root(data, VerityOptions::default(), data.len()),
                slow(data),
                "{blocks}"
            );
        }
        assert_eq!(
            root(&data[..5000], VerityOptions::default(), 5000),
            slow(&data[..5000])
        );
    }

    #[test]
    fn there_is_no_root_of_nothing_and_no_odd_block() {
        assert!(
            VerityHasher::new(VerityOptions::default())
                .unwrap()
                .finish()
                .is_err()
        );
        for block in [0, 256, 1000, 4097, 2 << 20] {
            let options = VerityOptions::default().with_blocks(block, 4096);
            assert!(VerityHasher::new(options).is_err(), "{block}");
        }
    }
}
