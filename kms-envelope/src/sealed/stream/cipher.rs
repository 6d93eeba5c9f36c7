//! One chunk at a time.

use std::sync::Arc;

use crate::Error;
use crate::crypto::{Aead, CryptoBackend, Key32, TAG_LEN, Unspecified, wipe};
use crate::sealed::header::{HEADER_LEN, join};
use crate::sealed::{ChunkSize, does_not_open, nonce};

const AAD_LEN: usize = HEADER_LEN + 32;

/// The key of a stream, and what every chunk of it is bound to.
pub(crate) struct ChunkCipher {
    backend: Arc<dyn CryptoBackend>,
    aead: Aead,
    size: ChunkSize,
    key: Box<Key32>,
    aad: [u8; AAD_LEN],
}

impl ChunkCipher {
    pub(crate) fn new(
        backend: Arc<dyn CryptoBackend>,
        aead: Aead,
        size: ChunkSize,
        key: Key32,
        header: &[u8; HEADER_LEN],
        aad_digest: &[u8; 32],
    ) -> Self {
        Self {
            backend,
            aead,
            size,
            key: Box::new(key),
            aad: join(&[header, aad_digest]),
        }
    }

    pub(super) const fn size(&self) -> ChunkSize {
        self.size
    }

    pub(super) fn seal(
        &self,
        index: u64,
        last: bool,
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Unspecified> {
        self.backend
            .seal(self.aead, &self.key, nonce(index, last), &self.aad, in_out)
    }

    /// Ciphertext and tag to plaintext. What does not verify becomes zeros.
    pub(super) fn open<'c>(
        &self,
        index: u64,
        last: bool,
        chunk: &'c mut [u8],
    ) -> Result<&'c mut [u8], Error> {
        let opened = self
            .backend
            .open(self.aead, &self.key, nonce(index, last), &self.aad, chunk)
            .map(|plaintext| plaintext.len());
        match opened {
            Ok(len) => chunk.get_mut(..len).ok_or_else(does_not_open),
            Err(_) => {
                wipe(chunk);
                Err(does_not_open())
            }
        }
    }
}
