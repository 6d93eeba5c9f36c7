//! What messages are sealed with.

use kms_core::SecureRandom;

use super::dek::{Dek, RecipientsBlock, whole_aad};
use super::header::{ChunkSize, Form, HEADER_LEN, SALT_LEN, Suite, bound_part, join, put};
use super::keys::{self, ContextDigest, MessageKeys};
use super::limits::MAX_PLAINTEXT_LEN;
use super::recipients::Recipient;
use super::stream::{ChunkCipher, ChunkSealer};
use super::{internal, nonce, unsupported};
use crate::Error;
use crate::crypto::{Key32, TAG_LEN, wipe};

/// A DEK with those it was wrapped for and the context it was wrapped under.
///
/// Everything that is the same for all its messages is done once, here.
#[derive(Debug)]
pub struct DekMaterial {
    dek: Dek,
    context: ContextDigest,
    block: RecipientsBlock,
}

impl DekMaterial {
    /// Joins a DEK to its recipients, each of which holds it wrapped under `context`.
    ///
    /// # Errors
    ///
    /// As [`Dek::recipients_block`].
    pub fn new(dek: Dek, context: ContextDigest, recipients: &[Recipient]) -> Result<Self, Error> {
        let block = dek.recipients_block(recipients)?;
        Ok(Self {
            dek,
            context,
            block,
        })
    }

    /// The DEK, to open with.
    #[must_use]
    pub const fn dek(&self) -> &Dek {
        &self.dek
    }

    /// The context its messages are under.
    #[must_use]
    pub const fn context(&self) -> &ContextDigest {
        &self.context
    }

    /// The recipients, as they stand in every message.
    #[must_use]
    pub const fn recipients_block(&self) -> &RecipientsBlock {
        &self.block
    }

    /// How many bytes a whole message is longer than its plaintext.
    #[must_use]
    pub fn overhead(&self) -> usize {
        self.preamble_len().saturating_add(TAG_LEN)
    }

    fn preamble_len(&self) -> usize {
        HEADER_LEN.saturating_add(self.block.as_bytes().len())
    }

    /// Seals a whole message, in one allocation of exact size.
    ///
    /// `aad` is bound to this one message and not stored: whoever opens it must know it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the plaintext is over
    /// [`MAX_PLAINTEXT_LEN`](super::limits::MAX_PLAINTEXT_LEN); [`ErrorKind::Internal`] if there is
    /// no randomness.
    ///
    /// [`ErrorKind::Internal`]: crate::ErrorKind::Internal
    /// [`ErrorKind::Unsupported`]: crate::ErrorKind::Unsupported
    pub fn seal(
        &self,
        suite: Suite,
        random: &dyn SecureRandom,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let total = self.message_len(plaintext.len())?;
        let (header, key) = self.start(suite, Form::Whole, random)?;
        let mut message = Vec::with_capacity(total);
        message.extend_from_slice(&header);
        message.extend_from_slice(self.block.as_bytes());
        message.extend_from_slice(plaintext);
        self.finish(suite, &header, &key, aad, &mut message)?;
        Ok(message)
    }

    /// Seals the plaintext that `message` holds into a whole message that replaces it.
    ///
    /// With [`overhead`](Self::overhead) bytes of spare capacity nothing is allocated; without,
    /// the old allocation is wiped before it is given back.
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal). The plaintext is then still there, unless the cipher itself failed.
    pub fn seal_in_place(
        &self,
        suite: Suite,
        random: &dyn SecureRandom,
        aad: &[u8],
        message: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let plaintext_len = message.len();
        let total = self.message_len(plaintext_len)?;
        let (header, key) = self.start(suite, Form::Whole, random)?;
        if message.capacity() < total {
            let mut roomy = Vec::with_capacity(total);
            roomy.extend_from_slice(message);
            wipe(message);
            *message = roomy;
        }
        let preamble_len = self.preamble_len();
        message.resize(total.saturating_sub(TAG_LEN), 0);
        message.copy_within(..plaintext_len, preamble_len);
        let (preamble, _) = message
            .split_at_mut_checked(preamble_len)
            .ok_or_else(|| internal("a buffer is too short"))?;
        put(&[&header, self.block.as_bytes()], preamble);
        self.finish(suite, &header, &key, aad, message)
    }

    /// Begins a stream.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if there is no randomness.
    pub fn seal_stream(
        &self,
        suite: Suite,
        size: ChunkSize,
        random: &dyn SecureRandom,
        aad: &[u8],
    ) -> Result<ChunkSealer, Error> {
        let (header, key) = self.start(suite, Form::Stream(size), random)?;
        let digest = keys::stream_aad_digest(self.dek.backend(), aad);
        let backend = self.dek.shared_backend();
        let cipher = ChunkCipher::new(backend, suite.aead(), size, key, &header, &digest);
        let preamble = [&header[..], self.block.as_bytes()].concat();
        Ok(ChunkSealer::new(cipher, preamble))
    }

    fn message_len(&self, plaintext_len: usize) -> Result<usize, Error> {
        plaintext_len
            .checked_add(self.overhead())
            .filter(|_| plaintext_len as u64 <= MAX_PLAINTEXT_LEN)
            .ok_or_else(|| unsupported("the plaintext is too long for a whole message"))
    }

    /// A new header and the key that belongs to it.
    fn start(
        &self,
        suite: Suite,
        form: Form,
        random: &dyn SecureRandom,
    ) -> Result<([u8; HEADER_LEN], Key32), Error> {
        let mut salt = [0; SALT_LEN];
        random
            .fill(&mut salt)
            .map_err(|error| internal(error.message()))?;
        let bound = bound_part(suite, form, &salt, &self.context.0);
        let keys = MessageKeys::derive(
            self.dek.backend(),
            self.dek.secret().expose(),
            &salt,
            &bound,
        )?;
        Ok((join(&[&bound, keys.commitment.as_slice()]), keys.message))
    }

    /// Encrypts what stands behind the preamble and adds the tag.
    fn finish(
        &self,
        suite: Suite,
        header: &[u8; HEADER_LEN],
        key: &Key32,
        aad: &[u8],
        message: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let aad = whole_aad(header, aad);
        let body = message.get_mut(self.preamble_len()..).unwrap_or_default();
        let sealed = self
            .dek
            .backend()
            .seal(suite.aead(), key, nonce(0, true), &aad, body);
        match sealed {
            Ok(tag) => {
                message.extend_from_slice(&tag);
                Ok(())
            }
            Err(_) => {
                wipe(message);
                message.clear();
                Err(internal("the cipher failed"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kms_core::{EncryptionContext, SecretBytes, WrappedKey};

    use super::*;
    use crate::ErrorKind;
    use crate::crypto::RingBackend;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_whole_message_has_a_longest_plaintext() {
        let context = ContextDigest::new(&RingBackend, &EncryptionContext::new());
        let secret = SecretBytes::copy_from_slice(&[1; 32]);
        let dek = Dek::new(Arc::new(RingBackend), secret).unwrap();
        let wrapped = WrappedKey::new("k".parse().unwrap(), vec![1]).unwrap();
        let recipient = Recipient::new("p", wrapped).unwrap();
        let material = DekMaterial::new(dek, context, &[recipient]).unwrap();
        let most = usize::try_from(MAX_PLAINTEXT_LEN).unwrap();
        assert_eq!(
            material.message_len(most).unwrap(),
            most + material.overhead()
        );
        for len in [most + 1, usize::MAX - 1, usize::MAX] {
            let error = material.message_len(len).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }
}
