use tink_core::Aead as _;

use crate::{AAD, Dek, Sealer, Side};

pub(super) fn side() -> Side {
    Side::new("tink-rust", Dek::Each, Tink::new)
}

struct Tink {
    envelope: tink_aead::KmsEnvelopeAead,
    plaintext: Vec<u8>,
    message: Vec<u8>,
}

impl Tink {
    fn new() -> Self {
        tink_aead::init();
        let template = tink_aead::aes256_gcm_key_template();
        let keys = tink_core::keyset::Handle::new(&template).expect("a keyset");
        let kek = tink_aead::new(&keys).expect("an AEAD");
        Self {
            envelope: tink_aead::KmsEnvelopeAead::new(template, kek),
            plaintext: Vec::new(),
            message: Vec::new(),
        }
    }
}

impl Sealer for Tink {
    fn take_plaintext(&mut self, plaintext: &[u8]) {
        self.plaintext = plaintext.to_vec();
    }

    fn seal(&mut self) -> Vec<u8> {
        self.envelope
            .encrypt(&self.plaintext, AAD.as_bytes())
            .expect("seals")
    }

    fn take_message(&mut self, message: &[u8]) {
        self.message = message.to_vec();
    }

    fn open(&mut self) -> usize {
        self.envelope
            .decrypt(&self.message, AAD.as_bytes())
            .expect("opens")
            .len()
    }
}
