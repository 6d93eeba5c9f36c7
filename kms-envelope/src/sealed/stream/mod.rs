//! Messages that do not fit into memory: chunks that are sealed and opened one by one.
//!
//! [`ChunkSealer`] and [`ChunkOpener`] do no I/O: bytes are pushed in and taken out, and each
//! holds two chunks, or for a moment four when it is finished while output waits. Around them are [`SealWriter`], [`OpenReader`] and [`SeekReader`] for
//! the standard library's traits, iterators ([`ChunkSealer::seal_all`], [`ChunkOpener::open_all`]),
//! and with the feature `tokio` `AsyncSealWriter` and `AsyncOpenReader`.
//!
//! No byte of a chunk comes out before its tag is verified. But a reader gets the first chunks
//! before it can know that the last one is missing: what it reads is complete only when the end
//! was reached without an error. Whoever acts on a beginning must be able to undo it.
//!
//! ```
//! use std::io::{Read as _, Write as _};
//! # use std::sync::Arc;
//!
//! # use kms_core::{EncryptionContext, OsRandom, SecretBytes, WrappedKey};
//! # use kms_envelope::crypto::RingBackend;
//! # use kms_envelope::sealed::{ChunkSize, ContextDigest, Dek, DekMaterial, Recipient, Suite};
//! use kms_envelope::sealed::stream::{OpenReader, SealWriter, read_preamble};
//!
//! # let context = ContextDigest::new(&RingBackend, &EncryptionContext::new());
//! # let dek = Dek::new(Arc::new(RingBackend), SecretBytes::random(&OsRandom, 32)?)?;
//! # let wrapped = WrappedKey::new("vault/kek/3".parse()?, vec![1; 60])?;
//! # let material = DekMaterial::new(dek, context, &[Recipient::new("vault", wrapped)?])?;
//! let sealer =
//!     material.seal_stream(Suite::Aes256Gcm, ChunkSize::default(), &OsRandom, b"backup 7")?;
//! let mut writer = SealWriter::new(Vec::new(), sealer);
//! writer.write_all(b"a very long file")?;
//! let message = writer.finish()?;
//!
//! let mut source = &message[..];
//! let preamble = read_preamble(&mut source)?;
//! let opener = material.dek().open_stream(&preamble, &context, b"backup 7")?;
//! let mut plaintext = String::new();
//! OpenReader::new(source, opener).read_to_string(&mut plaintext)?;
//! assert_eq!(plaintext, "a very long file");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod buffers;
mod cipher;
mod io;
mod iter;
mod layout;
mod opener;
mod sealer;
mod seek;
#[cfg(feature = "tokio")]
mod tokio;

pub(super) use cipher::ChunkCipher;
pub use io::{OpenReader, SealWriter, read_preamble};
pub use layout::StreamLayout;
pub use opener::ChunkOpener;
pub use sealer::ChunkSealer;
pub use seek::SeekReader;
#[cfg(feature = "tokio")]
pub use tokio::{AsyncOpenReader, AsyncSealWriter, read_preamble_async};

use crate::Error;

/// What sealing and opening have in common for those who move the bytes.
trait Pump {
    /// Takes as many bytes as there is room for; none while output waits that must go first.
    fn push(&mut self, input: &[u8]) -> Result<usize, Error>;
    /// What waits to be taken out.
    fn output(&self) -> &[u8];
    /// Drops the first bytes of the output.
    fn consume(&mut self, len: usize);
    /// Says that nothing more will be pushed.
    fn finish(&mut self) -> Result<(), Error>;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ErrorKind;
    use crate::crypto::{Aead, RingBackend};
    use crate::sealed::ChunkSize;
    use crate::sealed::limits::MAX_STREAM_LEN;

    fn cipher() -> ChunkCipher {
        let key = [7; 32].into();
        let size = ChunkSize::MIN;
        ChunkCipher::new(
            Arc::new(RingBackend),
            Aead::Aes256Gcm,
            size,
            key,
            &[1; 104],
            &[2; 32],
        )
    }

    #[test]
    fn a_chunk_beyond_the_longest_stream_is_refused_though_it_verifies() {
        let opener = ChunkOpener::new(cipher());
        let chunks = MAX_STREAM_LEN / 4096;
        for (index, opens) in [(chunks - 1, true), (chunks, false), (u64::MAX, false)] {
            let mut chunk = vec![0x5a; 4096];
            let tag = cipher().seal(index, false, &mut chunk).unwrap();
            chunk.extend(tag);
            assert!(cipher().open(index, false, &mut chunk.clone()).is_ok());
            assert_eq!(opener.open_chunk(index, false, &mut chunk).is_ok(), opens);
        }
    }

    #[test]
    fn a_stream_over_the_limit_cannot_be_finished() {
        let mut sealer = ChunkSealer::new(cipher(), Vec::new());
        sealer.push(b"a").unwrap();
        sealer.pretend_pushed(MAX_STREAM_LEN - 1);
        sealer.push(b"b").unwrap();
        for _ in 0..2 {
            let error = sealer.push(b"c").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
        assert!(sealer.finish().is_err());
        assert!(sealer.output().is_empty());
    }
}
