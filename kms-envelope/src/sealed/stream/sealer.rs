//! Plaintext in, message out.

use core::fmt;

use super::Pump;
use super::buffers::Buffers;
use super::cipher::ChunkCipher;
use crate::Error;
use crate::sealed::limits::MAX_STREAM_LEN;
use crate::sealed::{internal, unsupported};

/// Seals a stream chunk by chunk, without I/O.
///
/// Push plaintext and take out the message, preamble first, until all is pushed; then
/// [`finish`](Self::finish) and take out the rest. A message whose sealer was dropped before that
/// has no last chunk and does not open as complete.
///
/// ```
/// # use kms_envelope::{Error, sealed::stream::ChunkSealer};
/// fn seal(mut sealer: ChunkSealer, mut plaintext: &[u8]) -> Result<Vec<u8>, Error> {
///     let mut message = Vec::new();
///     while !plaintext.is_empty() {
///         let taken = sealer.push(plaintext)?;
///         plaintext = &plaintext[taken..];
///         message.extend_from_slice(sealer.output());
///         sealer.consume(sealer.output().len());
///     }
///     sealer.finish()?;
///     message.extend_from_slice(sealer.output());
///     Ok(message)
/// }
/// ```
pub struct ChunkSealer {
    cipher: ChunkCipher,
    buffers: Buffers,
    next: u64,
    pushed: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Open,
    Finished,
    /// Plaintext was lost, so the stream must not be finished as if it were complete.
    Failed,
}

impl ChunkSealer {
    pub(in crate::sealed) const fn new(cipher: ChunkCipher, preamble: Vec<u8>) -> Self {
        Self {
            cipher,
            buffers: Buffers::new(Vec::new(), preamble),
            next: 0,
            pushed: 0,
            state: State::Open,
        }
    }

    /// Takes as much of `plaintext` as there is room for and returns how many bytes that was:
    /// none only if it is empty, or while there is [`output`](Self::output) that must go first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) beyond
    /// [`MAX_STREAM_LEN`](crate::sealed::limits::MAX_STREAM_LEN), and after
    /// [`finish`](Self::finish). After an error the stream cannot be finished.
    pub fn push(&mut self, plaintext: &[u8]) -> Result<usize, Error> {
        if self.state != State::Open {
            return Err(unsupported("the stream is finished or has failed"));
        }
        if plaintext.is_empty() {
            return Ok(0);
        }
        let size = self.cipher.size().bytes();
        if self.buffers.input.len() >= size {
            if !self.output().is_empty() {
                return Ok(0);
            }
            self.seal_input(false)?;
            self.buffers.turn();
        }
        let taken = self.buffers.fill(plaintext, size);
        self.pushed = self.pushed.saturating_add(taken as u64);
        if self.pushed > MAX_STREAM_LEN {
            self.state = State::Failed;
            return Err(unsupported("a stream has at most 2^43 bytes"));
        }
        Ok(taken)
    }

    /// The part of the message that is ready.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.buffers.pending()
    }

    /// Says that the first `len` bytes of the output were taken.
    pub fn consume(&mut self, len: usize) {
        self.buffers.consume(len);
    }

    /// Seals the last chunk; the rest of the message is then in the output. To finish twice does
    /// nothing.
    ///
    /// # Errors
    ///
    /// If the stream has failed before, or the cipher fails.
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.state {
            State::Finished => return Ok(()),
            State::Failed => return Err(unsupported("the stream has failed")),
            State::Open => {}
        }
        self.seal_input(true)?;
        if self.output().is_empty() {
            self.buffers.turn();
        } else {
            self.buffers.append();
        }
        self.state = State::Finished;
        Ok(())
    }

    #[cfg(test)]
    pub(super) const fn pretend_pushed(&mut self, bytes: u64) {
        self.pushed = bytes;
    }

    /// Encrypts the input in place and adds the tag.
    fn seal_input(&mut self, last: bool) -> Result<(), Error> {
        match self.cipher.seal(self.next, last, &mut self.buffers.input) {
            Ok(tag) => {
                self.buffers.input.extend_from_slice(&tag);
                self.next = self.next.saturating_add(1);
                Ok(())
            }
            Err(_) => {
                self.state = State::Failed;
                Err(internal("the cipher failed"))
            }
        }
    }

    /// Seals everything an iterator yields. The items of the returned iterator, joined, are the
    /// message; without its last item, it does not open as complete.
    pub fn seal_all<I>(self, plaintext: I) -> impl Iterator<Item = Result<Vec<u8>, Error>>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        super::iter::Pumped::new(self, plaintext.into_iter())
    }
}

impl Pump for ChunkSealer {
    fn push(&mut self, input: &[u8]) -> Result<usize, Error> {
        self.push(input)
    }

    fn output(&self) -> &[u8] {
        self.output()
    }

    fn consume(&mut self, len: usize) {
        self.consume(len);
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.finish()
    }
}

impl fmt::Debug for ChunkSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSealer")
            .field("size", &self.cipher.size())
            .field("pushed", &self.pushed)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
