//! What a message says about itself to someone without a key.

use super::header::{Form, HEADER_LEN, Header, Suite};
use super::keys::ContextDigest;
use super::limits::MAX_PLAINTEXT_LEN;
use super::malformed;
use super::recipients::{BLOCK_START_LEN, Block, Recipients, block_len};
use super::stream::StreamLayout;
use crate::Error;
use crate::crypto::TAG_LEN;

/// The preamble of a message, header and recipients, checked against every bound of the format.
///
/// Borrowed from the message. Nothing in it is authenticated before the message opens.
#[derive(Clone, Copy)]
pub struct SealedInfo<'a> {
    pub(super) header: Header<'a>,
    pub(super) block: Block<'a>,
    preamble_len: usize,
}

/// Reads what a message says about itself, without any key.
///
/// The message may be cut off anywhere behind its preamble: the body is not looked at.
///
/// # Errors
///
/// [`ErrorKind::Malformed`] for what breaks a rule of the format, and [`ErrorKind::Unsupported`]
/// for a version, suite or form that is not known.
///
/// [`ErrorKind::Malformed`]: crate::ErrorKind::Malformed
/// [`ErrorKind::Unsupported`]: crate::ErrorKind::Unsupported
pub fn inspect(message: &[u8]) -> Result<SealedInfo<'_>, Error> {
    let header = Header::parse(message)?;
    let block = Block::parse(message.get(HEADER_LEN..).unwrap_or_default())?;
    Ok(SealedInfo {
        header,
        block,
        preamble_len: HEADER_LEN.saturating_add(block.bytes.len()),
    })
}

/// How long the preamble of a message is that begins with `start`, in bytes, as far as can be
/// told; what a reader that gets a message piece by piece has to collect.
///
/// While the answer is more than the bytes at hand, read up to it and ask again; when it is not,
/// the preamble is complete. At most two questions are needed. The answer is never over
/// 1,048,718.
///
/// # Errors
///
/// As [`inspect`], but for what stands in the recipients' entries.
pub fn preamble_len(start: &[u8]) -> Result<usize, Error> {
    // A wrong kind of file shows in its first bytes, without waiting for the rest.
    if start.len() >= HEADER_LEN {
        Header::parse(start)?;
    }
    let block = start.get(HEADER_LEN..).unwrap_or_default();
    let block = if block.len() < BLOCK_START_LEN {
        BLOCK_START_LEN
    } else {
        block_len(block)?
    };
    Ok(HEADER_LEN.saturating_add(block))
}

impl<'a> SealedInfo<'a> {
    /// The algorithms.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.header.suite
    }

    /// Whole or stream.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.header.form
    }

    /// The digest of the encryption context.
    #[must_use]
    pub const fn context_digest(&self) -> ContextDigest {
        ContextDigest(*self.header.context)
    }

    /// Who can open it.
    #[must_use]
    pub const fn recipients(&self) -> Recipients<'a> {
        self.block.recipients
    }

    /// Where the body begins, in bytes from the start of the message.
    #[must_use]
    pub const fn preamble_len(&self) -> usize {
        self.preamble_len
    }

    /// How long the plaintext of a message with this preamble is if the whole message has
    /// `message_len` bytes. The difference is the overhead. Nobody vouches for the length until
    /// the message opens.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) if no message with this preamble has
    /// that length.
    pub fn plaintext_len(&self, message_len: u64) -> Result<u64, Error> {
        message_len
            .checked_sub(self.preamble_len as u64)
            .and_then(|body| match self.header.form {
                Form::Whole => body
                    .checked_sub(TAG_LEN as u64)
                    .filter(|len| *len <= MAX_PLAINTEXT_LEN),
                Form::Stream(size) => {
                    StreamLayout::new(size, body).map(|layout| layout.plaintext_len())
                }
            })
            .ok_or_else(|| malformed("body", "has a length that no plaintext gives"))
    }
}

impl core::fmt::Debug for SealedInfo<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SealedInfo")
            .field("suite", &self.suite())
            .field("form", &self.form())
            .field("context_digest", &self.context_digest())
            .field("recipients", &self.recipients())
            .field("preamble_len", &self.preamble_len)
            .finish()
    }
}
