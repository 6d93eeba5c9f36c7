//! An unwrapped DEK: it opens messages, and changes whom they are for.

use core::fmt;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use kms_core::SecretBytes;
use subtle::{Choice, ConstantTimeEq as _};

use super::header::{Form, HEADER_LEN, Suite};
use super::info::{SealedInfo, inspect};
use super::keys::{self, ContextDigest, DEK_LEN, MessageKeys};
use super::limits::MAX_PLAINTEXT_LEN;
use super::recipients::{self, Block, Recipient, RecipientInfo};
use super::stream::{ChunkCipher, ChunkOpener};
use super::{does_not_open, nonce, other_context, unsupported};
use crate::Error;
use crate::crypto::{CryptoBackend, Key32, TAG_LEN, Unspecified, wipe};

/// The longest recipients block that a DEK remembers: most are a tenth of it.
const REMEMBERED_BLOCK_LEN: usize = 4096;

/// An unwrapped DEK with what is derived from it once.
pub struct Dek {
    backend: Arc<dyn CryptoBackend>,
    secret: SecretBytes,
    recipients_key: Box<Key32>,
    /// The first block that was made by this DEK or found genuine. Nearly all messages of a DEK
    /// have the same, and to compare takes a tenth of what a MAC takes.
    genuine: OnceLock<RecipientsBlock>,
}

/// Who can open the messages of one DEK, encoded and authenticated: made by
/// [`Dek::recipients_block`], used for any number of messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecipientsBlock(Vec<u8>);

impl RecipientsBlock {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The recipients, in order.
    pub fn recipients(&self) -> impl Iterator<Item = RecipientInfo<'_>> {
        // What `Dek::recipients_block` has written can be read.
        Block::parse(&self.0)
            .into_iter()
            .flat_map(|block| block.recipients)
    }
}

/// What a message has shown itself to be when commitment and MAC are right.
struct Unlocked {
    header: [u8; HEADER_LEN],
    suite: Suite,
    form: Form,
    key: Key32,
    body_at: usize,
}

impl Dek {
    /// Takes over what a provider unwrapped or a generator made.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`](crate::ErrorKind::Crypto) if it has not 32 bytes, the same as if it
    /// were another message's DEK.
    pub fn new(backend: Arc<dyn CryptoBackend>, secret: SecretBytes) -> Result<Self, Error> {
        if secret.len() != DEK_LEN {
            return Err(does_not_open());
        }
        let recipients_key = keys::recipients_key(&*backend, secret.expose())?;
        Ok(Self {
            backend,
            secret,
            recipients_key,
            genuine: OnceLock::new(),
        })
    }

    /// Encodes and authenticates a list of recipients, each of which holds this DEK wrapped.
    /// Nothing can check that it does but unwrapping it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) unless there are 1 to 16, no two
    /// with the same provider id and key id, of at most 1,048,576 bytes in all.
    pub fn recipients_block(&self, recipients: &[Recipient]) -> Result<RecipientsBlock, Error> {
        let mut block = recipients::encode(recipients)?;
        let mac = keys::recipients_mac(self.backend(), &self.recipients_key, &block);
        block.extend_from_slice(&mac);
        self.remember(&block);
        Ok(RecipientsBlock(block))
    }

    /// Opens a whole message.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] and [`ErrorKind::Unsupported`] as [`inspect`], the latter also for
    /// a stream. [`ErrorKind::Crypto`] for another context, and for everything else that keeps it
    /// from opening, without a word on which: another DEK, another `aad`, any change.
    ///
    /// [`ErrorKind::Crypto`]: crate::ErrorKind::Crypto
    /// [`ErrorKind::Malformed`]: crate::ErrorKind::Malformed
    /// [`ErrorKind::Unsupported`]: crate::ErrorKind::Unsupported
    pub fn open(
        &self,
        message: &[u8],
        context: &ContextDigest,
        aad: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let unlocked = self.unlock_whole(message, context)?;
        let mut body = message.get(unlocked.body_at..).unwrap_or_default().to_vec();
        let len = self.open_body(&unlocked, aad, &mut body)?.len();
        body.truncate(len);
        Ok(body)
    }

    /// Opens a whole message where it lies, and returns the part of it that is the plaintext.
    ///
    /// # Errors
    ///
    /// As [`Dek::open`]. If the body did not verify it is overwritten with zeros: such a message
    /// opens under no other DEK either, since the commitment matched this one.
    pub fn open_in_place<'m>(
        &self,
        message: &'m mut [u8],
        context: &ContextDigest,
        aad: &[u8],
    ) -> Result<&'m mut [u8], Error> {
        let unlocked = self.unlock_whole(message, context)?;
        let body = message.get_mut(unlocked.body_at..).unwrap_or_default();
        self.open_body(&unlocked, aad, body)
    }

    /// Opens a stream, of which `preamble` is the beginning, for as long as
    /// [`preamble_len`](super::preamble_len) says; what follows in `preamble` is ignored.
    ///
    /// # Errors
    ///
    /// As [`Dek::open`]; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a whole
    /// message.
    pub fn open_stream(
        &self,
        preamble: &[u8],
        context: &ContextDigest,
        aad: &[u8],
    ) -> Result<ChunkOpener, Error> {
        let info = inspect(preamble)?;
        let unlocked = self.unlock(&info, Some(context))?;
        let Form::Stream(size) = unlocked.form else {
            return Err(unsupported("the message is a whole one, not a stream"));
        };
        let digest = keys::stream_aad_digest(self.backend(), aad);
        Ok(ChunkOpener::new(ChunkCipher::new(
            Arc::clone(&self.backend),
            unlocked.suite.aead(),
            size,
            unlocked.key,
            &unlocked.header,
            &digest,
        )))
    }

    /// Whether this is the message's DEK and the recipients are those that its owner gave it, under
    /// whatever context. The body is not opened.
    ///
    /// # Errors
    ///
    /// As [`Dek::open`].
    pub fn check(&self, message: &[u8]) -> Result<(), Error> {
        self.unlock(&inspect(message)?, None).map(drop)
    }

    /// Replaces the recipients of a message: the same header, the same body.
    ///
    /// # Errors
    ///
    /// As [`Dek::open`]: the message must be of this DEK, under whatever context. Its body is not
    /// opened.
    pub fn rewrap(&self, message: &[u8], block: &RecipientsBlock) -> Result<Vec<u8>, Error> {
        let info = inspect(message)?;
        let unlocked = self.unlock(&info, None)?;
        let body = message.get(unlocked.body_at..).unwrap_or_default();
        Ok([&unlocked.header[..], &block.0, body].concat())
    }

    /// As [`Dek::rewrap`], for a message of which only the beginning is at hand: returns the new
    /// preamble, to stand in the place of the first [`SealedInfo::preamble_len`] bytes.
    ///
    /// # Errors
    ///
    /// As [`Dek::rewrap`].
    pub fn rewrap_preamble(
        &self,
        preamble: &[u8],
        block: &RecipientsBlock,
    ) -> Result<Vec<u8>, Error> {
        let info = inspect(preamble)?;
        self.rewrap(
            preamble.get(..info.preamble_len()).unwrap_or_default(),
            block,
        )
    }

    pub(super) fn backend(&self) -> &dyn CryptoBackend {
        &*self.backend
    }

    pub(super) fn shared_backend(&self) -> Arc<dyn CryptoBackend> {
        Arc::clone(&self.backend)
    }

    pub(crate) const fn secret(&self) -> &SecretBytes {
        &self.secret
    }

    fn unlock_whole(&self, message: &[u8], context: &ContextDigest) -> Result<Unlocked, Error> {
        let info = inspect(message)?;
        let unlocked = self.unlock(&info, Some(context))?;
        match unlocked.form {
            Form::Whole => Ok(unlocked),
            Form::Stream(_) => Err(unsupported("the message is a stream, not a whole one")),
        }
    }

    /// Steps 2 and 4 of reading.
    fn unlock(
        &self,
        info: &SealedInfo<'_>,
        context: Option<&ContextDigest>,
    ) -> Result<Unlocked, Error> {
        let header = &info.header;
        if context.is_some_and(|context| context.0 != *header.context) {
            return Err(other_context());
        }
        let keys = MessageKeys::derive(
            self.backend(),
            self.secret.expose(),
            header.salt,
            header.bound,
        )?;
        let committed = keys.commitment.ct_eq(header.commitment);
        if !bool::from(committed & self.authenticates(&info.block)) {
            return Err(does_not_open());
        }
        Ok(Unlocked {
            header: *header.bytes,
            suite: header.suite,
            form: header.form,
            key: keys.message,
            body_at: info.preamble_len(),
        })
    }

    fn authenticates(&self, block: &Block<'_>) -> Choice {
        // What the MAC covers is no secret, so it may be compared in the time it takes.
        if let Some(RecipientsBlock(known)) = self.genuine.get()
            && let Some((covered, mac)) = known.split_last_chunk::<{ recipients::MAC_LEN }>()
            && covered == block.covered
        {
            return mac.ct_eq(block.mac);
        }
        let mac = keys::recipients_mac(self.backend(), &self.recipients_key, block.covered);
        let authentic = mac.ct_eq(block.mac);
        if authentic.into() {
            self.remember(block.bytes);
        }
        authentic
    }

    fn remember(&self, block: &[u8]) {
        if block.len() <= REMEMBERED_BLOCK_LEN {
            self.genuine.get_or_init(|| RecipientsBlock(block.to_vec()));
        }
    }

    fn open_body<'m>(
        &self,
        unlocked: &Unlocked,
        aad: &[u8],
        body: &'m mut [u8],
    ) -> Result<&'m mut [u8], Error> {
        let aad = whole_aad(&unlocked.header, aad);
        // ChaCha20-Poly1305 could open more than the format allows.
        let len = if is_whole_body(body.len()) {
            let aead = unlocked.suite.aead();
            let opened = self
                .backend()
                .open(aead, &unlocked.key, nonce(0, true), &aad, body);
            opened.map(|plaintext| plaintext.len())
        } else {
            Err(Unspecified)
        };
        match len {
            Ok(len) => body.get_mut(..len).ok_or_else(does_not_open),
            Err(_) => {
                wipe(body);
                Err(does_not_open())
            }
        }
    }
}

/// Whether a whole message can have a body of so many bytes.
fn is_whole_body(len: usize) -> bool {
    len.checked_sub(TAG_LEN)
        .is_some_and(|plaintext_len| plaintext_len as u64 <= MAX_PLAINTEXT_LEN)
}

/// The AAD of a whole message.
pub(super) fn whole_aad<'h>(header: &'h [u8; HEADER_LEN], aad: &[u8]) -> Cow<'h, [u8]> {
    if aad.is_empty() {
        Cow::Borrowed(header)
    } else {
        Cow::Owned([header, aad].concat())
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dek")
            .field("backend", &self.backend)
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It saves a MAC for each message, and must not hold much for each DEK.
    #[test]
    fn the_first_genuine_block_is_remembered_if_it_is_short() {
        let secret = || SecretBytes::copy_from_slice(&[7; DEK_LEN]);
        let backend = || Arc::new(crate::crypto::RingBackend);
        let short = Dek::new(backend(), secret()).unwrap();
        short.remember(&[1; REMEMBERED_BLOCK_LEN]);
        short.remember(&[2; REMEMBERED_BLOCK_LEN]);
        let first = RecipientsBlock(vec![1; REMEMBERED_BLOCK_LEN]);
        assert_eq!(short.genuine.get(), Some(&first));
        let long = Dek::new(backend(), secret()).unwrap();
        long.remember(&[1; REMEMBERED_BLOCK_LEN + 1]);
        assert_eq!(long.genuine.get(), None);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_whole_body_has_a_tag_and_no_more_than_the_longest_plaintext() {
        let most = usize::try_from(MAX_PLAINTEXT_LEN).unwrap() + TAG_LEN;
        for (len, allowed) in [
            (0, false),
            (15, false),
            (16, true),
            (most, true),
            (most + 1, false),
            (usize::MAX, false),
        ] {
            assert_eq!(is_whole_body(len), allowed, "{len}");
        }
    }
}
