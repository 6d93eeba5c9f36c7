//! The sealed format, from the writer's side: what is sealed for any recipients, under any context,
//! in any pieces, names these recipients and opens; with any byte changed it does not.
#![no_main]

use std::sync::{Arc, LazyLock};

use kms_core::{EncryptionContext, SecretBytes};
use kms_envelope::crypto::RingBackend;
use kms_envelope::sealed::{ChunkSize, ContextDigest, Dek, DekMaterial, Recipient, Suite, inspect};
use kms_testkit::deterministic::Deterministic;
use libfuzzer_sys::fuzz_target;

static BACKEND: LazyLock<Arc<RingBackend>> = LazyLock::new(|| Arc::new(RingBackend));

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    seed: u64,
    recipients: Vec<Recipient>,
    context: EncryptionContext,
    suite: Suite,
    stream: Option<ChunkSize>,
    aad: &'a [u8],
    piece: u16,
    change: (u32, u8),
    text: &'a [u8],
}

impl Input<'_> {
    fn seal(&self, material: &DekMaterial) -> Vec<u8> {
        let random = Deterministic::new(self.seed).random();
        let Some(size) = self.stream else {
            let sealed = material.seal(self.suite, &*random, self.aad, self.text);
            return sealed.expect("nothing fails");
        };
        let pieces = self.text.chunks(usize::from(self.piece) + 1);
        let sealer = material
            .seal_stream(self.suite, size, &*random, self.aad)
            .expect("nothing fails");
        let message: Result<Vec<_>, _> = sealer.seal_all(pieces).collect();
        message.expect("nothing fails").concat()
    }

    fn open(&self, material: &DekMaterial, message: &[u8]) -> Option<Vec<u8>> {
        let (dek, context) = (material.dek(), material.context());
        if self.stream.is_none() {
            return dek.open(message, context, self.aad).ok();
        }
        let body = inspect(message).ok()?.preamble_len();
        let opener = dek.open_stream(message, context, self.aad).ok()?;
        let pieces = message.get(body..)?.chunks(usize::from(self.piece) + 1);
        let pieces: Result<Vec<_>, _> = opener.open_all(pieces).collect();
        Some(pieces.ok()?.concat())
    }
}

fuzz_target!(|input: Input<'_>| {
    let secret = SecretBytes::copy_from_slice(&[7; 32]);
    let dek = Dek::new(BACKEND.clone(), secret).expect("it has 32 bytes");
    let context = ContextDigest::new(&**BACKEND, &input.context);
    // None, too many, two of one name, or too long together.
    let Ok(material) = DekMaterial::new(dek, context, &input.recipients) else {
        return;
    };
    let mut message = input.seal(&material);
    assert_eq!(message, input.seal(&material), "one seed, one message");
    let info = inspect(&message).expect("it is ours");
    assert_eq!(info.recipients().count(), input.recipients.len());
    for (read, written) in info.recipients().zip(&input.recipients) {
        assert_eq!(read.provider_id(), written.provider_id());
        assert_eq!(
            read.to_wrapped_key().ok().as_ref(),
            Some(written.wrapped_key())
        );
    }
    assert_eq!(input.open(&material, &message).as_deref(), Some(input.text));
    let (place, change) = input.change;
    let place = place as usize % message.len();
    message[place] ^= change;
    assert!(change == 0 || input.open(&material, &message).is_none());
});
