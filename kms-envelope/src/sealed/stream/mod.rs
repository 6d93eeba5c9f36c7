//! Messages that do not fit into memory: chunks that are sealed and opened one by one.
//!
//! [`ChunkSealer`] and [`ChunkOpener`] do no I/O: bytes are pushed in and taken out, and each
//! holds two or three chunks. Around them are [`SealWriter`], [`OpenReader`] and [`SeekReader`] for
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
