//! The sealed format: data under a DEK, with everything in front that a reader needs to find the
//! key and to tell whether it is the right one.
//!
//! `FORMAT.md` specifies it byte by byte. This module is the format and nothing else: a DEK comes
//! in unwrapped, and no provider is called. [`Dek`] opens; [`DekMaterial`], a DEK with those it was
//! wrapped for, seals; [`inspect`] reads what can be read without a key; [`stream`] is for what
//! does not fit into memory.
//!
//! ```
//! use std::sync::Arc;
//!
//! use kms_core::{EncryptionContext, OsRandom, SecretBytes, WrappedKey};
//! use kms_envelope::crypto::RingBackend;
//! use kms_envelope::sealed::{ContextDigest, Dek, DekMaterial, Recipient, Suite, inspect};
//!
//! # let wrapped_by_the_provider = vec![1; 60];
//! let context = EncryptionContext::new().with("tenant", "acme")?;
//! let context = ContextDigest::new(&RingBackend, &context);
//! let dek = Dek::new(Arc::new(RingBackend), SecretBytes::random(&OsRandom, 32)?)?;
//! let wrapped = WrappedKey::new("vault/kek/3".parse()?, wrapped_by_the_provider)?;
//! let material = DekMaterial::new(dek, context, &[Recipient::new("vault", wrapped)?])?;
//!
//! let message = material.seal(Suite::Aes256Gcm, &OsRandom, b"row 7", b"plaintext")?;
//! let recipient = inspect(&message)?.recipients().next();
//! assert_eq!(recipient.map(|recipient| recipient.key_id()), Some("vault/kek/3"));
//! assert_eq!(material.dek().open(&message, &context, b"row 7")?, b"plaintext");
//! assert!(material.dek().open(&message, &context, b"row 8").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cursor;
mod dek;
mod header;
mod info;
mod keys;
pub mod limits;
mod material;
mod recipients;
pub mod stream;

use crate::crypto::NONCE_LEN;
use crate::{Error, ErrorKind};

pub use dek::{Dek, RecipientsBlock};
pub use header::{ChunkSize, Form, Suite};
pub use info::{SealedInfo, inspect, preamble_len};
pub use keys::ContextDigest;
pub use material::DekMaterial;
pub(crate) use recipients::is_provider_id;
pub use recipients::{Recipient, RecipientInfo, Recipients};

fn malformed(field: &str, problem: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("{field} {problem}"))
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

fn internal(message: &str) -> Error {
    Error::new(ErrorKind::Internal, message)
}

/// The one answer to steps 3 to 5 of reading.
fn does_not_open() -> Error {
    Error::new(
        ErrorKind::Crypto,
        "the message does not open under this DEK and aad",
    )
}

fn other_context() -> Error {
    Error::new(
        ErrorKind::Crypto,
        "the message was sealed under another encryption context",
    )
}

/// The nonce of a chunk. A whole message is the first and last one.
fn nonce(index: u64, last: bool) -> [u8; NONCE_LEN] {
    let [a, b, c, d, e, f, g, h] = index.to_be_bytes();
    [0, 0, 0, a, b, c, d, e, f, g, h, u8::from(last)]
}
