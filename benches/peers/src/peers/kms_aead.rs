use async_trait::async_trait;
use kms_aead::ring_encryption::RingAeadEncryption;
use kms_aead::{
    CipherText, CipherTextWithEncryptedKey, DataEncryptionKey, EncryptedDataEncryptionKey,
    KmsAeadEnvelopeEncryption, KmsAeadResult, KmsAeadRingEncryptionProvider,
    KmsAeadRingEnvelopeEncryption,
};
use secret_vault_value::SecretValue;

use crate::kek::StaticKek;
use crate::{AAD, Dek, Sealer, Side, now};

pub(super) fn sides() -> [Side; 2] {
    [
        Side::new("kms-aead", Dek::Each, || KmsAead::new(false)),
        Side::new("kms-aead, the program keeps the DEK", Dek::Kept, || {
            KmsAead::new(true)
        }),
    ]
}

struct Kek(StaticKek);

#[async_trait]
impl KmsAeadRingEncryptionProvider for Kek {
    async fn encrypt_data_encryption_key(
        &self,
        dek: &DataEncryptionKey,
    ) -> KmsAeadResult<EncryptedDataEncryptionKey> {
        let wrapped = self.0.wrap(dek.0.as_sensitive_bytes());
        Ok(EncryptedDataEncryptionKey::new(wrapped, None))
    }

    async fn decrypt_data_encryption_key(
        &self,
        wrapped: &EncryptedDataEncryptionKey,
    ) -> KmsAeadResult<DataEncryptionKey> {
        let dek = self.0.unwrap(wrapped.wrapped());
        Ok(DataEncryptionKey(SecretValue::from(dek)))
    }

    async fn generate_encryption_key(
        &self,
        aead: &RingAeadEncryption,
    ) -> KmsAeadResult<DataEncryptionKey> {
        aead.generate_data_encryption_key()
    }
}

struct KmsAead {
    envelope: KmsAeadRingEnvelopeEncryption<Kek>,
    dek: Option<DataEncryptionKey>,
    aad: String,
    plaintext: SecretValue,
    message: Vec<u8>,
}

impl KmsAead {
    fn new(keeps_dek: bool) -> Self {
        let aes = &ring::aead::AES_256_GCM;
        let provider = Kek(StaticKek::new());
        let making = KmsAeadRingEnvelopeEncryption::with_algorithm(provider, aes);
        let envelope = now(making).expect("an envelope");
        let dek = keeps_dek.then(|| {
            let making = KmsAeadEnvelopeEncryption::<String>::generate_new_dek(&envelope);
            now(making).expect("a DEK").0
        });
        Self {
            envelope,
            dek,
            aad: AAD.to_owned(),
            plaintext: SecretValue::from(Vec::new()),
            message: Vec::new(),
        }
    }
}

impl Sealer for KmsAead {
    fn take_plaintext(&mut self, plaintext: &[u8]) {
        self.plaintext = SecretValue::from(plaintext.to_vec());
    }

    fn seal(&mut self) -> Vec<u8> {
        match &self.dek {
            Some(dek) => {
                let sealing = self
                    .envelope
                    .encrypt_value_with_dek(&self.aad, &self.plaintext, dek);
                now(sealing).expect("seals").0
            }
            None => {
                let sealing = self.envelope.encrypt_value(&self.aad, &self.plaintext);
                now(sealing).expect("seals").0
            }
        }
    }

    fn take_message(&mut self, message: &[u8]) {
        self.message = message.to_vec();
    }

    fn open(&mut self) -> usize {
        let message = self.message.clone();
        let opened = match &self.dek {
            Some(dek) => {
                let message = CipherText(message);
                now(self
                    .envelope
                    .decrypt_value_with_dek(&self.aad, &message, dek))
            }
            None => {
                let message = CipherTextWithEncryptedKey(message);
                now(self.envelope.decrypt_value(&self.aad, &message))
            }
        };
        opened.expect("opens").as_sensitive_bytes().len()
    }
}
