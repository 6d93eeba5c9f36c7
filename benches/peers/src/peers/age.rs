//! Not an envelope under a KMS, but a well-known format with the same parts. It knows no AAD and
//! wraps for a public key: what it takes at small sizes is X25519.

use crate::{Dek, Sealer, Side};

pub(super) fn side() -> Side {
    Side::new("age, X25519", Dek::Each, || Age {
        identity: age::x25519::Identity::generate(),
        plaintext: Vec::new(),
        message: Vec::new(),
    })
}

struct Age {
    identity: age::x25519::Identity,
    plaintext: Vec<u8>,
    message: Vec<u8>,
}

impl Sealer for Age {
    fn take_plaintext(&mut self, plaintext: &[u8]) {
        self.plaintext = plaintext.to_vec();
    }

    fn seal(&mut self) -> Vec<u8> {
        age::encrypt(&self.identity.to_public(), &self.plaintext).expect("seals")
    }

    fn take_message(&mut self, message: &[u8]) {
        self.message = message.to_vec();
    }

    fn open(&mut self) -> usize {
        age::decrypt(&self.identity, &self.message)
            .expect("opens")
            .len()
    }
}
