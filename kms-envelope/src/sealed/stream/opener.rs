//! Body in, plaintext out.

use core::fmt;

use super::Pump;
use super::buffers::Buffers;
use super::cipher::ChunkCipher;
use crate::Error;
use crate::crypto::TAG_LEN;
use crate::sealed::limits::MAX_STREAM_LEN;
use crate::sealed::{ChunkSize, does_not_open};

/// Opens a stream chunk by chunk, without I/O.
///
/// Push the body, which begins behind the preamble, and take out plaintext; when there is nothing
/// more to push, [`finish`](Self::finish) and take out the rest. Only then it is known that the
/// plaintext is complete.
///
/// For random access there is [`open_chunk`](Self::open_chunk).
///
/// ```
/// # use kms_envelope::{Error, sealed::stream::ChunkOpener};
/// fn open(mut opener: ChunkOpener, mut body: &[u8]) -> Result<Vec<u8>, Error> {
///     let mut plaintext = Vec::new();
///     while !body.is_empty() {
///         let taken = opener.push(body)?;
///         body = &body[taken..];
///         plaintext.extend_from_slice(opener.output());
///         opener.consume(opener.output().len());
///     }
///     opener.finish()?;
///     plaintext.extend_from_slice(opener.output());
///     Ok(plaintext)
/// }
/// ```
pub struct ChunkOpener {
    cipher: ChunkCipher,
    buffers: Buffers,
    next: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Open,
    Finished,
    Failed,
}

impl ChunkOpener {
    pub(in crate::sealed) const fn new(cipher: ChunkCipher) -> Self {
        Self {
            cipher,
            buffers: Buffers::new(Vec::new(), Vec::new()),
            next: 0,
            state: State::Open,
        }
    }

    /// How the stream is cut.
    #[must_use]
    pub const fn chunk_size(&self) -> ChunkSize {
        self.cipher.size()
    }

    /// Takes as much of `body` as there is room for and returns how many bytes that was: none only
    /// if it is empty, or while there is [`output`](Self::output) that must go first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`](crate::ErrorKind::Crypto) if a chunk does not verify as the one that
    /// belongs here, and ever after.
    pub fn push(&mut self, body: &[u8]) -> Result<usize, Error> {
        if self.state != State::Open {
            return Err(does_not_open());
        }
        if body.is_empty() {
            return Ok(0);
        }
        let full = self.cipher.size().bytes().saturating_add(TAG_LEN);
        // What fills a chunk may be the last one; only a byte behind it shows that it is not.
        if self.buffers.input.len() >= full {
            if !self.output().is_empty() {
                return Ok(0);
            }
            self.open_input(false)?;
            self.buffers.turn();
        }
        Ok(self.buffers.fill(body, full))
    }

    /// The plaintext that is verified and not taken yet.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.buffers.pending()
    }

    /// Says that the first `len` bytes of the output were taken.
    pub fn consume(&mut self, len: usize) {
        self.buffers.consume(len);
    }

    /// Opens what was pushed since the last full chunk as the last one; the rest of the plaintext
    /// is then in the output. To finish twice does nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`](crate::ErrorKind::Crypto) if it is not the last chunk: the stream was
    /// cut off or changed. What was put out before is then only a beginning.
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.state {
            State::Finished => return Ok(()),
            State::Failed => return Err(does_not_open()),
            State::Open => {}
        }
        self.open_input(true)?;
        if self.output().is_empty() {
            self.buffers.turn();
        } else {
            self.buffers.append();
        }
        self.state = State::Finished;
        Ok(())
    }

    /// Opens one chunk, ciphertext and tag, where it lies, and returns the part of it that is the
    /// plaintext. [`StreamLayout`](super::StreamLayout) says where a chunk is.
    ///
    /// A length is proved only by opening the last chunk as such.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`](crate::ErrorKind::Crypto) if it is not this chunk of this stream;
    /// `chunk` is then overwritten with zeros.
    pub fn open_chunk<'c>(
        &self,
        index: u64,
        last: bool,
        chunk: &'c mut [u8],
    ) -> Result<&'c mut [u8], Error> {
        let size = self.cipher.size().bytes();
        let len = chunk.len().checked_sub(TAG_LEN);
        let fits = len.is_some_and(|len| {
            let full = len == size;
            // Every chunk but the last is full, and the last is empty only if it is alone.
            let shape = full || (last && len < size && (len > 0 || index == 0));
            let end = index
                .checked_mul(size as u64)
                .and_then(|start| start.checked_add(len as u64));
            shape && end.is_some_and(|end| end <= MAX_STREAM_LEN)
        });
        if !fits {
            return Err(does_not_open());
        }
        self.cipher.open(index, last, chunk)
    }

    fn open_input(&mut self, last: bool) -> Result<(), Error> {
        let mut input = core::mem::take(&mut self.buffers.input);
        let opened = self
            .open_chunk(self.next, last, &mut input)
            .map(|plaintext| plaintext.len());
        self.buffers.input = input;
        match opened {
            Ok(len) => {
                self.buffers.input.truncate(len);
                self.next = self.next.saturating_add(1);
                Ok(())
            }
            Err(error) => {
                self.state = State::Failed;
                Err(error)
            }
        }
    }

    /// Opens everything an iterator yields, which is the body in pieces of any size. The items of
    /// the returned iterator, joined, are the plaintext; it is complete if none of them is an
    /// error. After an error there are no more.
    pub fn open_all<I>(self, body: I) -> impl Iterator<Item = Result<Vec<u8>, Error>>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        super::iter::Pumped::new(self, body.into_iter())
    }
}

impl Pump for ChunkOpener {
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

impl fmt::Debug for ChunkOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkOpener")
            .field("size", &self.cipher.size())
            .field("next", &self.next)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
