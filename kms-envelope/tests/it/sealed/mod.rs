//! The sealed format.

mod crafted;
mod faults;
mod interop;
mod laws;
mod stream;
mod vectors;
mod whole;

use std::sync::Arc;

use kms_core::{EncryptionContext, Error as CoreError, SecretBytes, SecureRandom, WrappedKey};
#[cfg(feature = "aws-lc-rs")]
use kms_envelope::crypto::AwsLcBackend;
use kms_envelope::crypto::{CryptoBackend, RingBackend};
use kms_envelope::sealed::{
    ChunkSize, ContextDigest, Dek, DekMaterial, Form, Recipient, Suite, inspect,
};
use kms_envelope::{Error, ErrorKind};

const SUITES: [Suite; 2] = [Suite::Aes256Gcm, Suite::ChaCha20Poly1305];
const AAD: &[u8] = b"row 7";
const DEK: [u8; 32] = [0x42; 32];

/// Every backend that was built.
fn backends() -> Vec<Arc<dyn CryptoBackend>> {
    vec![
        Arc::new(RingBackend),
        #[cfg(feature = "aws-lc-rs")]
        Arc::new(AwsLcBackend),
    ]
}

/// Counts up from a number.
#[derive(Debug)]
struct Counting(u8);

impl SecureRandom for Counting {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), CoreError> {
        let mut next = self.0;
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(1);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct NoRandom;

impl SecureRandom for NoRandom {
    fn fill(&self, _: &mut [u8]) -> Result<(), CoreError> {
        Err(CoreError::new(kms_core::ErrorKind::Internal, "none"))
    }
}

fn dek(backend: &Arc<dyn CryptoBackend>, bytes: [u8; 32]) -> Dek {
    Dek::new(Arc::clone(backend), SecretBytes::copy_from_slice(&bytes)).unwrap()
}

fn encryption_context() -> EncryptionContext {
    let context = EncryptionContext::new().with("tenant", "acme").unwrap();
    context.with("table", "käse").unwrap()
}

fn context() -> ContextDigest {
    ContextDigest::new(&RingBackend, &encryption_context())
}

fn recipient(provider_id: &str, key_id: &str, wrapped: Vec<u8>) -> Recipient {
    let wrapped = WrappedKey::new(key_id.parse().unwrap(), wrapped).unwrap();
    Recipient::new(provider_id, wrapped).unwrap()
}

fn recipients() -> Vec<Recipient> {
    let key_id = "https://vault-eu.example/keys/kek/7".parse().unwrap();
    let wrapped = WrappedKey::new(key_id, (0..48).collect()).unwrap();
    let wrapped = wrapped
        .with_annotation("wrap.example.com", vec![1, 2, 3])
        .unwrap()
        .with_annotation("empty", vec![])
        .unwrap();
    let eu = Recipient::new("vault-eu", wrapped).unwrap();
    vec![
        eu.with_key_version("7").unwrap(),
        recipient("local_1.b", "ключ", vec![9]),
    ]
}

fn material(backend: &Arc<dyn CryptoBackend>) -> DekMaterial {
    DekMaterial::new(dek(backend, DEK), context(), &recipients()).unwrap()
}

/// Not random, and no two chunks alike.
fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn seal_stream(material: &DekMaterial, suite: Suite, plaintext: &[u8]) -> Vec<u8> {
    let sealer = material
        .seal_stream(suite, ChunkSize::MIN, &Counting(1), AAD)
        .unwrap();
    let pieces: Result<Vec<_>, _> = sealer.seal_all([plaintext]).collect();
    pieces.unwrap().concat()
}

/// Opens either form.
fn open(dek: &Dek, message: &[u8], context: &ContextDigest, aad: &[u8]) -> Result<Vec<u8>, Error> {
    let info = inspect(message)?;
    match info.form() {
        Form::Stream(_) => {
            let opener = dek.open_stream(message, context, aad)?;
            let body = message.get(info.preamble_len()..).unwrap_or_default();
            let pieces: Result<Vec<_>, _> = opener.open_all([body]).collect();
            Ok(pieces?.concat())
        }
        _ => {
            let opened = dek.open(message, context, aad);
            let mut copy = message.to_vec();
            let in_place = dek.open_in_place(&mut copy, context, aad);
            assert_eq!(
                opened.as_deref().map_err(Error::kind),
                in_place.as_deref().map_err(Error::kind)
            );
            opened
        }
    }
}

/// At which step of reading a message was refused; 3 stands for 3 to 5, which look alike.
fn step(error: &Error) -> u8 {
    match (error.kind(), error.message()) {
        (ErrorKind::Malformed | ErrorKind::Unsupported, _) => 1,
        (ErrorKind::Crypto, "the message was sealed under another encryption context") => 2,
        (ErrorKind::Crypto, "the message does not open under this DEK and aad") => 3,
        other => panic!("{other:?}"),
    }
}
