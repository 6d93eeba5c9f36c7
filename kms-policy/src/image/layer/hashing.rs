//! A stream that is hashed as it passes.

use std::io::{self, Read};
use std::thread;

use ring::digest::{Context, SHA256};

use super::archive::Stream;
use crate::Error;
use crate::image::{VerityHasher, VerityOptions};

/// How much is read and hashed at once, in bytes.
const PIECE: usize = 4 * 1024 * 1024;
/// From here on, a second thread is worth its start, in bytes.
const WORTH_A_THREAD: usize = 256 * 1024;

/// Two hashes over the same bytes: of the whole, and of dm-verity.
pub(super) struct Hashing<R> {
    inner: R,
    piece: Box<[u8]>,
    /// What of the piece was not taken yet.
    start: usize,
    end: usize,
    digest: Context,
    verity: VerityHasher,
    len: u64,
}

impl<R: Read> Hashing<R> {
    pub(super) fn new(inner: R) -> Result<Self, Error> {
        Ok(Self {
            inner,
            piece: vec![0; PIECE].into_boxed_slice(),
            start: 0,
            end: 0,
            digest: Context::new(&SHA256),
            verity: VerityHasher::new(VerityOptions::default())?,
            len: 0,
        })
    }

    /// Takes what is left, and gives the digest of the whole, dm-verity's state, and the length.
    pub(super) fn finish(mut self) -> io::Result<(ring::digest::Digest, VerityHasher, u64)> {
        while self.more()? {}
        Ok((self.digest.finish(), self.verity, self.len))
    }

    /// Reads and hashes the next piece, if the last one was taken.
    fn more(&mut self) -> io::Result<bool> {
        (self.start, self.end) = (0, 0);
        while let Some(free) = self.piece.get_mut(self.end..).filter(|it| !it.is_empty()) {
            match self.inner.read(free) {
                Ok(0) => break,
                Ok(read) => self.end = self.end.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let bytes = self.piece.get(..self.end).unwrap_or_default();
        hash(&mut self.digest, &mut self.verity, bytes);
        self.len = self.len.saturating_add(bytes.len() as u64);
        Ok(!bytes.is_empty())
    }

    /// At most so many bytes of what was hashed and not taken; none at the end.
    fn take(&mut self, len: usize) -> io::Result<&[u8]> {
        if self.start == self.end && !self.more()? {
            return Ok(&[]);
        }
        let start = self.start;
        self.start = start.saturating_add(len).min(self.end);
        Ok(self.piece.get(start..self.start).unwrap_or_default())
    }
}

/// Each of the two hashes on a thread of its own, if there are enough bytes.
fn hash(digest: &mut Context, verity: &mut VerityHasher, bytes: &[u8]) {
    if bytes.len() < WORTH_A_THREAD {
        digest.update(bytes);
        verity.update(bytes);
        return;
    }
    let has_started = thread::scope(|scope| {
        let started = thread::Builder::new().spawn_scoped(scope, || verity.update(bytes));
        digest.update(bytes);
        started.is_ok()
    });
    if !has_started {
        verity.update(bytes);
    }
}

impl<R: Read> Stream for Hashing<R> {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0_usize;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let bytes = self.take(rest.len())?;
            if bytes.is_empty() {
                break;
            }
            if let Some(to) = rest.get_mut(..bytes.len()) {
                to.copy_from_slice(bytes);
            }
            filled = filled.saturating_add(bytes.len());
        }
        Ok(filled)
    }

    fn skip(&mut self, mut len: u64) -> io::Result<()> {
        while len > 0 {
            let most = usize::try_from(len).unwrap_or(usize::MAX);
            let taken = self.take(most)?.len();
            if taken == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            len = len.saturating_sub(taken as u64);
        }
        Ok(())
    }
}
