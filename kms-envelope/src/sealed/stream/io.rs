//! `std::io`.

use core::fmt;
use std::io::{self, Read, Write};

use super::{ChunkOpener, ChunkSealer};
use crate::Error;
use crate::sealed::info::preamble_len;

/// How much is read at a time.
const READ_LEN: usize = 64 * 1024;

/// Reads the preamble of a message, no byte more: what [`inspect`](crate::sealed::inspect) and
/// [`Dek::open_stream`](crate::sealed::Dek::open_stream) need. The body follows in `source`.
///
/// # Errors
///
/// What `source` gives; [`io::ErrorKind::InvalidData`] around an [`Error`] for what is no message.
pub fn read_preamble(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut preamble = Vec::new();
    loop {
        let needed = preamble_len(&preamble).map_err(invalid)?;
        let at = preamble.len();
        if needed <= at {
            return Ok(preamble);
        }
        // Bounded by the format, to a little over 1 MiB.
        preamble.resize(needed, 0);
        source.read_exact(preamble.get_mut(at..).unwrap_or_default())?;
    }
}

pub(super) fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Seals what is written to it.
///
/// [`finish`](Self::finish) it: a message whose writer was dropped before does not open as
/// complete. `flush` passes on the chunks that are full; a chunk that is not stays here.
pub struct SealWriter<W> {
    sealer: ChunkSealer,
    sink: W,
}

impl<W: Write> SealWriter<W> {
    /// Writes the message to `sink`.
    pub const fn new(sink: W, sealer: ChunkSealer) -> Self {
        Self { sealer, sink }
    }

    /// Writes the last chunk, flushes, and gives the sink back.
    ///
    /// # Errors
    ///
    /// What the sink gives, or the [`Error`] of [`ChunkSealer::finish`].
    pub fn finish(mut self) -> io::Result<W> {
        // First what waits, so that the last chunk need not be put behind it.
        self.drain()?;
        self.sealer.finish().map_err(invalid)?;
        self.drain()?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn drain(&mut self) -> io::Result<()> {
        while !self.sealer.output().is_empty() {
            match self.sink.write(self.sealer.output()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.sealer.consume(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        self.drain()?;
        // With the output empty, something is taken.
        self.sealer.push(plaintext).map_err(invalid)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.sink.flush()
    }
}

impl<W> fmt::Debug for SealWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealWriter")
            .field("sealer", &self.sealer)
            .finish_non_exhaustive()
    }
}

/// Opens what it reads. The plaintext is complete when it ends without an error.
pub struct OpenReader<R> {
    opener: ChunkOpener,
    source: R,
    piece: Vec<u8>,
    /// The part of the piece that is not pushed yet.
    left: core::ops::Range<usize>,
}

impl<R: Read> OpenReader<R> {
    /// Reads from `source`, which stands behind the preamble.
    pub const fn new(source: R, opener: ChunkOpener) -> Self {
        Self {
            opener,
            source,
            piece: Vec::new(),
            left: 0..0,
        }
    }
}

impl<R: Read> Read for OpenReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let taken = copy_out(&mut self.opener, out);
            if taken > 0 {
                return Ok(taken);
            }
            if self.left.is_empty() {
                self.piece.resize(READ_LEN, 0);
                let read = self.source.read(&mut self.piece)?;
                self.left = 0..read;
                if read == 0 {
                    self.opener.finish().map_err(invalid)?;
                    return Ok(copy_out(&mut self.opener, out));
                }
            }
            let rest = self.piece.get(self.left.clone()).unwrap_or_default();
            let pushed = self.opener.push(rest).map_err(invalid)?;
            self.left.start = self.left.start.saturating_add(pushed);
        }
    }
}

/// Copies what is verified, as far as there is room.
pub(super) fn copy_out(opener: &mut ChunkOpener, out: &mut [u8]) -> usize {
    let taken = opener.output().len().min(out.len());
    if let (Some(to), Some(from)) = (out.get_mut(..taken), opener.output().get(..taken)) {
        to.copy_from_slice(from);
    }
    opener.consume(taken);
    taken
}

impl<R> fmt::Debug for OpenReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenReader")
            .field("opener", &self.opener)
            .finish_non_exhaustive()
    }
}
