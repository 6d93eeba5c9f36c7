//! The sealed format: any bytes get an answer, what is inspected obeys the bounds, what opens was
//! sealed, and what is sealed opens whatever the pieces were.
#![no_main]

use std::sync::{Arc, LazyLock};

use kms_core::{EncryptionContext, Error, SecretBytes, SecureRandom, WrappedKey};
use kms_envelope::crypto::RingBackend;
use kms_envelope::sealed::limits::MAX_RECIPIENTS;
use kms_envelope::sealed::{
    ChunkSize, ContextDigest, Dek, DekMaterial, Form, Recipient, Suite, inspect, preamble_len,
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug)]
struct Zeros;

impl SecureRandom for Zeros {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        bytes.fill(0);
        Ok(())
    }
}

static CONTEXT: LazyLock<ContextDigest> =
    LazyLock::new(|| ContextDigest::new(&RingBackend, &EncryptionContext::new()));

static MATERIAL: LazyLock<DekMaterial> = LazyLock::new(|| {
    let secret = SecretBytes::copy_from_slice(&[0; 32]);
    let dek = Dek::new(Arc::new(RingBackend), secret).expect("it has 32 bytes");
    let wrapped = WrappedKey::new("k".parse().expect("valid"), vec![1]).expect("valid");
    let recipient = Recipient::new("p", wrapped).expect("valid");
    DekMaterial::new(dek, *CONTEXT, &[recipient]).expect("valid")
});

fn open(message: &[u8]) -> Option<Vec<u8>> {
    let info = inspect(message).ok()?;
    match info.form() {
        Form::Stream(_) => {
            let opener = MATERIAL.dek().open_stream(message, &CONTEXT, b"").ok()?;
            let pieces: Result<Vec<_>, _> = opener
                .open_all(message[info.preamble_len()..].chunks(1000))
                .collect();
            Some(pieces.ok()?.concat())
        }
        _ => MATERIAL.dek().open(message, &CONTEXT, b"").ok(),
    }
}

fn seal(stream: bool, pieces: &[&[u8]]) -> Vec<u8> {
    if stream {
        let sealer = MATERIAL
            .seal_stream(Suite::ChaCha20Poly1305, ChunkSize::MIN, &Zeros, b"")
            .expect("nothing fails");
        let message: Result<Vec<_>, _> = sealer.seal_all(pieces).collect();
        return message.expect("nothing fails").concat();
    }
    MATERIAL
        .seal(Suite::Aes256Gcm, &Zeros, b"", &pieces.concat())
        .expect("nothing fails")
}

fuzz_target!(|input: &[u8]| {
    // As a message.
    if let Ok(info) = inspect(input) {
        assert!((1..=MAX_RECIPIENTS).contains(&info.recipients().count()));
        assert_eq!(preamble_len(input).ok(), Some(info.preamble_len()));
        for recipient in info.recipients() {
            recipient
                .to_wrapped_key()
                .expect("what parses can be unwrapped");
        }
        let block = MATERIAL.recipients_block();
        assert!(open(input).is_none() || MATERIAL.dek().rewrap(input, block).is_ok());
    }
    let _ = preamble_len(input);

    // As plaintext and a change to what it was sealed to.
    let Some(([choice, at, change], text)) = input.split_first_chunk::<3>() else {
        return;
    };
    let pieces: Vec<&[u8]> = text.chunks(usize::from(*at) + 1).collect();
    let mut message = seal(choice & 1 == 1, &pieces);
    assert_eq!(open(&message).as_deref(), Some(text));
    let at = usize::from(*at) * (usize::from(*choice) + 1) % message.len();
    message[at] ^= change;
    assert!(*change == 0 || open(&message).is_none());
});
