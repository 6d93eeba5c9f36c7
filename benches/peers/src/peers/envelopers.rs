use std::time::Duration;

use envelopers::{
    Aes256Gcm, CacheOptions, CachingKeyWrapper, EncryptedRecord, EnvelopeCipher, KeyProvider,
    SimpleKeyProvider,
};

use crate::{AAD, Dek, KEK, Sealer, Side, now};

pub(super) fn sides() -> [Side; 2] {
    [
        Side::new("envelopers", Dek::Each, || Envelopers::new(kek())),
        Side::new("envelopers, its cache", Dek::Kept, || {
            let options = CacheOptions::default()
                .with_max_age(Duration::from_secs(3600))
                .with_max_bytes(usize::MAX)
                .with_max_messages(usize::MAX);
            Envelopers::new(CachingKeyWrapper::new(kek(), options))
        }),
    ]
}

/// Its local KEK is AES-128, whatever the DEK is.
fn kek() -> SimpleKeyProvider<Aes256Gcm> {
    SimpleKeyProvider::init(*KEK.first_chunk().expect("16 bytes"))
}

struct Envelopers<K> {
    cipher: EnvelopeCipher<K>,
    plaintext: Vec<u8>,
    message: Vec<u8>,
}

impl<K> Envelopers<K> {
    fn new(provider: K) -> Self {
        Self {
            cipher: EnvelopeCipher::init(provider),
            plaintext: Vec::new(),
            message: Vec::new(),
        }
    }
}

impl<K: KeyProvider<Cipher = Aes256Gcm>> Sealer for Envelopers<K> {
    fn take_plaintext(&mut self, plaintext: &[u8]) {
        self.plaintext = plaintext.to_vec();
    }

    fn seal(&mut self) -> Vec<u8> {
        let sealing = self.cipher.encrypt_with(&self.plaintext).aad(AAD);
        now(sealing.encrypt())
            .expect("seals")
            .to_vec()
            .expect("encodes")
    }

    fn take_message(&mut self, message: &[u8]) {
        self.message = message.to_vec();
    }

    fn open(&mut self) -> usize {
        let record = EncryptedRecord::try_from(self.message.as_slice()).expect("decodes");
        now(self.cipher.decrypt_with(&record).aad(AAD).decrypt())
            .expect("opens")
            .len()
    }
}
