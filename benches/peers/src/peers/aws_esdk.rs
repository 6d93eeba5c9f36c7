use std::collections::HashMap;

use aws_esdk::material_providers::client::Client as MaterialProviders;
use aws_esdk::material_providers::types::AesWrappingAlg;
use aws_esdk::material_providers::types::keyring::KeyringRef;
use aws_esdk::material_providers::types::material_providers_config::MaterialProvidersConfig;

use crate::{AAD, Dek, KEK, Sealer, Side, now};

/// The default suite of the AWS Encryption SDK but for the signature, which we have not: committing
/// AES-256-GCM with HKDF-SHA-512.
pub(super) fn side() -> Side {
    Side::new("aws-esdk, raw AES keyring", Dek::Each, Esdk::new)
}

struct Esdk {
    client: aws_esdk::Client,
    keyring: KeyringRef,
    plaintext: Vec<u8>,
    message: Vec<u8>,
}

fn context() -> HashMap<String, String> {
    HashMap::from([("table".to_owned(), AAD.to_owned())])
}

impl Esdk {
    fn new() -> Self {
        let config = aws_esdk::AwsEncryptionSdkConfig::builder().build();
        let client = aws_esdk::Client::from_conf(config.expect("valid")).expect("a client");
        let config = MaterialProvidersConfig::builder().build().expect("valid");
        let keyring = MaterialProviders::from_conf(config)
            .expect("a client")
            .create_raw_aes_keyring()
            .key_name("static")
            .key_namespace("bench")
            .wrapping_key(KEK.to_vec())
            .wrapping_alg(AesWrappingAlg::AlgAes256GcmIv12Tag16);
        Self {
            client,
            keyring: now(keyring.send()).expect("a keyring"),
            plaintext: Vec::new(),
            message: Vec::new(),
        }
    }
}

impl Sealer for Esdk {
    fn take_plaintext(&mut self, plaintext: &[u8]) {
        self.plaintext = plaintext.to_vec();
    }

    fn seal(&mut self) -> Vec<u8> {
        let sealing = self
            .client
            .encrypt()
            .plaintext(self.plaintext.as_slice())
            .keyring(self.keyring.clone())
            .algorithm_suite_id(
                aws_esdk::material_providers::types::EsdkAlgorithmSuiteId::AlgAes256GcmHkdfSha512CommitKey,
            )
            .encryption_context(context());
        let sealed = now(sealing.send()).expect("seals");
        sealed.ciphertext.expect("a message").into_inner()
    }

    fn take_message(&mut self, message: &[u8]) {
        self.message = message.to_vec();
    }

    fn open(&mut self) -> usize {
        let opening = self
            .client
            .decrypt()
            .ciphertext(self.message.as_slice())
            .keyring(self.keyring.clone())
            .encryption_context(context());
        let opened = now(opening.send()).expect("opens");
        opened.plaintext.expect("a plaintext").into_inner().len()
    }
}
