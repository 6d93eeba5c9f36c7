//! Data of KMS v1: RSA1_5, and no word about its key. One attempt at a time, for `kms_core`'s layers.

use core::fmt;

use async_trait::async_trait;
use azure_security_keyvault_keys::models::EncryptionAlgorithm;
use kms_core::{
    CallOptions, Capabilities, Error, ErrorKind, KeyInfo, KeyProvider, SecretBytes, UnwrapOptions,
    WrapOptions, WrappedKey,
};

use super::form::StoredForm;
use crate::error::Operation;
use crate::key_url::{KeyUrl, KeyVersion};
use crate::provider::Operations;
use crate::vault::{Operand, Vault};

/// What kube-apiserver has KMS v1 wrap.
const DEK_LEN: usize = 32;

#[derive(Debug)]
pub(super) struct V1Beta1 {
    pub(super) vault: Vault,
    pub(super) key: KeyUrl,
    pub(super) versions: Vec<KeyVersion>,
    pub(super) operations: Operations,
}

impl V1Beta1 {
    async fn open(
        &self,
        version: &KeyVersion,
        form: StoredForm,
        ciphertext: &[u8],
        call: &CallOptions,
    ) -> Result<SecretBytes, Error> {
        let operation = match self.operations {
            Operations::WrapUnwrap => Operation::UnwrapKey,
            Operations::EncryptDecrypt => Operation::Decrypt,
        };
        let operand = Operand {
            algorithm: EncryptionAlgorithm::Rsa1_5,
            value: ciphertext,
            aad: None,
            iv: None,
            tag: None,
            units: form.units(),
        };
        let key = self.key.with_version(version.clone());
        let product = self.vault.perform(operation, &key, operand, call).await?;
        form.dek(product.value)
            .filter(|dek| dek.len() == DEK_LEN)
            .ok_or_else(Error::crypto)
    }

    fn only_unwraps(&self) -> Error {
        Error::new(ErrorKind::Unsupported, "data of KMS v1 is only read")
            .with_provider(self.to_string())
    }
}

impl fmt::Display for V1Beta1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.without_version().fmt(f)
    }
}

#[async_trait]
impl KeyProvider for V1Beta1 {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
            .with_wraps(false)
            .with_unwraps_without_key_id(true)
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Err(self.only_unwraps())
    }

    async fn wrap(&self, _: &SecretBytes, _: &WrapOptions) -> Result<WrappedKey, Error> {
        Err(self.only_unwraps())
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let does_not_open = || Error::crypto().with_provider(self.to_string());
        let stored = wrapped.ciphertext();
        let form = StoredForm::of(stored).ok_or_else(does_not_open)?;
        let ciphertext = form.ciphertext(stored).ok_or_else(does_not_open)?;
        let mut kept = None;
        for version in &self.versions {
            match self.open(version, form, &ciphertext, &options.call).await {
                Ok(dek) => return Ok(dek),
                Err(error) if error.kind() == ErrorKind::Crypto => {}
                // It may be this one's: not "does not open", as long as it could not be asked.
                Err(error) => kept = kept.or(Some(error)),
            }
        }
        Err(kept.unwrap_or_else(does_not_open))
    }
}
