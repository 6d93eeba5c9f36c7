//! Random access.

use core::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use super::io::invalid;
use super::{ChunkOpener, StreamLayout};
use crate::crypto::wipe_allocation;
use crate::sealed::does_not_open;

/// Opens any part of a stream that can be sought in, one chunk at a time.
///
/// It has opened the last chunk as such before it says how long the plaintext is, so a stream that
/// was cut off or added to is refused at once. Chunks in between are verified when they are read.
/// It holds one chunk, and reads it again only when another one was read meanwhile.
///
/// ```
/// use std::io::{Cursor, Read as _, Seek as _, SeekFrom};
/// # use std::sync::Arc;
///
/// # use kms_core::{EncryptionContext, OsRandom, SecretBytes, WrappedKey};
/// # use kms_envelope::crypto::RingBackend;
/// # use kms_envelope::sealed::{ChunkSize, ContextDigest, Dek, DekMaterial, Recipient, Suite};
/// use kms_envelope::sealed::stream::{SeekReader, read_preamble};
///
/// # let context = ContextDigest::new(&RingBackend, &EncryptionContext::new());
/// # let dek = Dek::new(Arc::new(RingBackend), SecretBytes::random(&OsRandom, 32)?)?;
/// # let wrapped = WrappedKey::new("vault/kek/3".parse()?, vec![1; 60])?;
/// # let material = DekMaterial::new(dek, context, &[Recipient::new("vault", wrapped)?])?;
/// # let sealer = material.seal_stream(Suite::Aes256Gcm, ChunkSize::MIN, &OsRandom, b"")?;
/// # let sealed: Result<Vec<_>, _> = sealer.seal_all([vec![7; 100_000]]).collect();
/// # let file = Cursor::new(sealed?.concat());
/// let mut file = file;
/// let preamble = read_preamble(&mut file)?;
/// let mut plaintext = SeekReader::new(file, material.dek().open_stream(&preamble, &context, b"")?)?;
/// assert_eq!(plaintext.plaintext_len(), 100_000);
/// plaintext.seek(SeekFrom::End(-3))?;
/// let mut tail = Vec::new();
/// plaintext.read_to_end(&mut tail)?;
/// assert_eq!(tail, [7; 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SeekReader<R> {
    opener: ChunkOpener,
    source: R,
    body_at: u64,
    layout: StreamLayout,
    /// The plaintext of the chunk `index`, if any is loaded.
    chunk: Vec<u8>,
    index: Option<u64>,
    position: u64,
}

impl<R: Read + Seek> SeekReader<R> {
    /// Reads from `source`, which stands behind the preamble and ends with the message.
    ///
    /// # Errors
    ///
    /// What the source gives; [`io::ErrorKind::InvalidData`] around an [`Error`](crate::Error) if
    /// the stream does not end with its last chunk.
    pub fn new(mut source: R, opener: ChunkOpener) -> io::Result<Self> {
        let body_at = source.stream_position()?;
        let end = source.seek(SeekFrom::End(0))?;
        let layout = end
            .checked_sub(body_at)
            .and_then(|body_len| StreamLayout::new(opener.chunk_size(), body_len))
            .ok_or_else(|| invalid(does_not_open()))?;
        let mut reader = Self {
            opener,
            source,
            body_at,
            layout,
            chunk: Vec::new(),
            index: None,
            position: 0,
        };
        reader.load(layout.chunks().saturating_sub(1))?;
        Ok(reader)
    }

    /// How long the plaintext is, in bytes. Verified.
    #[must_use]
    pub const fn plaintext_len(&self) -> u64 {
        self.layout.plaintext_len()
    }

    fn load(&mut self, index: u64) -> io::Result<()> {
        if self.index == Some(index) {
            return Ok(());
        }
        self.index = None;
        let place = self
            .layout
            .chunk(index)
            .ok_or_else(|| invalid(does_not_open()))?;
        let len = usize::try_from(place.end.saturating_sub(place.start))
            .map_err(|_| invalid(does_not_open()))?;
        let start = self.body_at.saturating_add(place.start);
        self.source.seek(SeekFrom::Start(start))?;
        self.chunk.resize(len, 0);
        self.source.read_exact(&mut self.chunk)?;
        let opened = self
            .opener
            .open_chunk(index, self.layout.is_last(index), &mut self.chunk)
            .map_err(invalid)?
            .len();
        self.chunk.truncate(opened);
        self.index = Some(index);
        Ok(())
    }
}

impl<R: Read + Seek> Read for SeekReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.position >= self.plaintext_len() {
            return Ok(0);
        }
        let (index, offset) = self.layout.locate(self.position);
        self.load(index)?;
        let mut rest = self.chunk.get(offset..).unwrap_or_default();
        let read = rest.read(out)?;
        self.position = self.position.saturating_add(read as u64);
        Ok(read)
    }
}

impl<R: Read + Seek> Seek for SeekReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.plaintext_len().checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl<R> Drop for SeekReader<R> {
    fn drop(&mut self) {
        wipe_allocation(&mut self.chunk);
    }
}

impl<R> fmt::Debug for SeekReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeekReader")
            .field("opener", &self.opener)
            .field("layout", &self.layout)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
