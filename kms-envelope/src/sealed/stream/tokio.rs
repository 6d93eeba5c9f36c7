//! `tokio::io`.

use core::fmt;
use core::future::poll_fn;
use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::io::{copy_out, invalid};
use super::{ChunkOpener, ChunkSealer};
use crate::sealed::info::preamble_len;

const READ_LEN: usize = 64 * 1024;

/// As [`read_preamble`](super::read_preamble), for tokio. Cancelled, it has taken an unknown number of bytes
/// from `source`.
///
/// # Errors
///
/// As [`read_preamble`](super::read_preamble).
pub async fn read_preamble_async(source: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut preamble = Vec::new();
    let mut filled = 0_usize;
    loop {
        let needed = preamble_len(preamble.get(..filled).unwrap_or_default()).map_err(invalid)?;
        if needed <= filled {
            return Ok(preamble);
        }
        // Bounded by the format, to a little over 1 MiB.
        preamble.resize(needed, 0);
        while filled < needed {
            let space = preamble.get_mut(filled..).unwrap_or_default();
            let read = read_some(source, space).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled = filled.saturating_add(read);
        }
    }
}

async fn read_some(source: &mut (impl AsyncRead + Unpin), space: &mut [u8]) -> io::Result<usize> {
    let mut buffer = ReadBuf::new(space);
    poll_fn(|cx| Pin::new(&mut *source).poll_read(cx, &mut buffer)).await?;
    Ok(buffer.filled().len())
}

/// Seals what is written to it, like [`SealWriter`](super::SealWriter).
///
/// `shutdown` finishes the message: one whose writer was dropped before does not open as complete.
///
/// ```
/// # use std::sync::Arc;
/// # use kms_core::{EncryptionContext, OsRandom, SecretBytes, WrappedKey};
/// # use kms_envelope::crypto::RingBackend;
/// # use kms_envelope::sealed::{ChunkSize, ContextDigest, Dek, DekMaterial, Recipient, Suite};
/// use kms_envelope::sealed::stream::{AsyncOpenReader, AsyncSealWriter, read_preamble_async};
/// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
///
/// # let context = ContextDigest::new(&RingBackend, &EncryptionContext::new());
/// # let dek = Dek::new(Arc::new(RingBackend), SecretBytes::random(&OsRandom, 32)?)?;
/// # let wrapped = WrappedKey::new("vault/kek/3".parse()?, vec![1; 60])?;
/// # let material = DekMaterial::new(dek, context, &[Recipient::new("vault", wrapped)?])?;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let sealer = material.seal_stream(Suite::Aes256Gcm, ChunkSize::default(), &OsRandom, b"")?;
/// let mut writer = AsyncSealWriter::new(Vec::new(), sealer);
/// writer.write_all(b"a very long file").await?;
/// writer.shutdown().await?;
/// let message = writer.into_inner();
///
/// let mut source = &message[..];
/// let preamble = read_preamble_async(&mut source).await?;
/// let opener = material.dek().open_stream(&preamble, &context, b"")?;
/// let mut plaintext = String::new();
/// AsyncOpenReader::new(source, opener).read_to_string(&mut plaintext).await?;
/// assert_eq!(plaintext, "a very long file");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncSealWriter<W> {
    sealer: ChunkSealer,
    sink: W,
}

impl<W: AsyncWrite + Unpin> AsyncSealWriter<W> {
    /// Writes the message to `sink`.
    pub const fn new(sink: W, sealer: ChunkSealer) -> Self {
        Self { sealer, sink }
    }

    /// Gives the sink back. After `shutdown` it holds the whole message.
    pub fn into_inner(self) -> W {
        self.sink
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sealer.output().is_empty() {
            match ready!(Pin::new(&mut self.sink).poll_write(cx, self.sealer.output()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sealer.consume(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for AsyncSealWriter<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        plaintext: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        // With the output empty, something is taken.
        Poll::Ready(self.sealer.push(plaintext).map_err(invalid))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.sink).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // First what waits, so that the last chunk need not be put behind it.
        ready!(self.poll_drain(cx))?;
        self.sealer.finish().map_err(invalid)?;
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.sink).poll_shutdown(cx)
    }
}

impl<W> fmt::Debug for AsyncSealWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncSealWriter")
            .field("sealer", &self.sealer)
            .finish_non_exhaustive()
    }
}

/// Opens what it reads, like [`OpenReader`](super::OpenReader). The plaintext is complete when it
/// ends without an error.
pub struct AsyncOpenReader<R> {
    opener: ChunkOpener,
    source: R,
    piece: Vec<u8>,
    /// The part of the piece that is not pushed yet.
    left: Range<usize>,
}

impl<R: AsyncRead + Unpin> AsyncOpenReader<R> {
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

impl<R: AsyncRead + Unpin> AsyncRead for AsyncOpenReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let taken = copy_out(&mut this.opener, out.initialize_unfilled());
            if taken > 0 {
                out.advance(taken);
                return Poll::Ready(Ok(()));
            }
            if this.left.is_empty() {
                this.piece.resize(READ_LEN, 0);
                let mut piece = ReadBuf::new(&mut this.piece);
                ready!(Pin::new(&mut this.source).poll_read(cx, &mut piece))?;
                this.left = 0..piece.filled().len();
                if this.left.is_empty() {
                    this.opener.finish().map_err(invalid)?;
                    let taken = copy_out(&mut this.opener, out.initialize_unfilled());
                    out.advance(taken);
                    return Poll::Ready(Ok(()));
                }
            }
            let rest = this.piece.get(this.left.clone()).unwrap_or_default();
            let pushed = this.opener.push(rest).map_err(invalid)?;
            this.left.start = this.left.start.saturating_add(pushed);
        }
    }
}

impl<R> fmt::Debug for AsyncOpenReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncOpenReader")
            .field("opener", &self.opener)
            .finish_non_exhaustive()
    }
}
