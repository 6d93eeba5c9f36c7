//! The sealed format: any bytes get an answer, and what is inspected obeys the bounds.
//! (`sealed_round_trip` begins with messages that are valid.)
#![no_main]

use std::sync::{Arc, LazyLock};

use kms_core::{EncryptionContext, SecretBytes, WrappedKey};
use kms_envelope::crypto::RingBackend;
use kms_envelope::sealed::limits::MAX_RECIPIENTS;
use kms_envelope::sealed::{
    ContextDigest, Dek, DekMaterial, Form, Recipient, inspect, preamble_len,
};
use libfuzzer_sys::fuzz_target;

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

fuzz_target!(|input: &[u8]| {
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
});
