//! Wrapping and unwrapping, to see whether and how fast.

use core::time::Duration;

use azure_security_keyvault_keys::models::EncryptionAlgorithm;
use kms_core::{CallOptions, Clock, Error, SecretBytes, SecureRandom};

use super::key::pair;
use crate::error::Operation;
use crate::provider::local::LocalKey;
use crate::provider::{AesMode, AesSize, Operations};
use crate::vault::{KeyBundle, KeyKind, Operand, Product, Vault};

/// As long as a DEK of kube-apiserver's.
const PROBE_LEN: usize = 32;

/// How a key is used, and with what.
#[derive(Debug)]
pub(super) struct Usage<'a> {
    pub(super) vault: &'a Vault,
    pub(super) bundle: &'a KeyBundle,
    pub(super) clock: &'a dyn Clock,
    pub(super) random: &'a dyn SecureRandom,
    pub(super) operations: Operations,
    pub(super) aes: AesMode,
}

/// A ciphertext to unwrap, and what must come out.
#[derive(Debug)]
pub(super) struct Wrapped {
    probe: SecretBytes,
    value: Vec<u8>,
    iv: Option<Vec<u8>>,
    tag: Option<Vec<u8>>,
}

/// How a call ended, and how long it took.
pub(super) type Timed<T> = (Result<T, Error>, Duration);

impl Usage<'_> {
    /// Fresh bytes, wrapped by the vault.
    pub(super) async fn wrap(&self) -> Timed<Wrapped> {
        let probe = match SecretBytes::random(self.random, PROBE_LEN) {
            Ok(probe) => probe,
            Err(error) => return (Err(error), Duration::ZERO),
        };
        let [wrap, _] = pair(self.operations);
        let operand = self.operand(probe.expose(), None, None);
        let (product, time) = self.perform(wrap, operand).await;
        let wrapped = product.map(|product| Wrapped {
            probe,
            value: product.value.expose().to_vec(),
            iv: product.iv,
            tag: product.tag,
        });
        (wrapped, time)
    }

    /// Fresh bytes, wrapped here with the public key; `None` if it has none, or this is built
    /// without `local-wrap`.
    pub(super) fn wrap_here(&self) -> Option<Wrapped> {
        let key = LocalKey::new(self.bundle.public_key.as_ref()?)?;
        let probe = SecretBytes::random(self.random, PROBE_LEN).ok()?;
        let value = key.wrap(&probe).ok()?;
        Some(Wrapped {
            probe,
            value,
            iv: None,
            tag: None,
        })
    }

    /// Whether the same bytes come out.
    pub(super) async fn unwrap(&self, wrapped: Wrapped) -> Timed<bool> {
        let [_, unwrap] = pair(self.operations);
        let operand = self.operand(&wrapped.value, wrapped.iv, wrapped.tag);
        let (product, time) = self.perform(unwrap, operand).await;
        (product.map(|product| product.value == wrapped.probe), time)
    }

    fn operand<'a>(
        &self,
        value: &'a [u8],
        iv: Option<Vec<u8>>,
        tag: Option<Vec<u8>>,
    ) -> Operand<'a> {
        Operand {
            algorithm: self.algorithm(),
            value,
            aad: None,
            iv,
            tag,
            units: self.bundle.kind.units(),
        }
    }

    const fn algorithm(&self) -> EncryptionAlgorithm {
        match (&self.bundle.kind, self.aes) {
            (KeyKind::Aes, AesMode::KeyWrap(AesSize::Aes128)) => EncryptionAlgorithm::A128Kw,
            (KeyKind::Aes, AesMode::KeyWrap(AesSize::Aes192)) => EncryptionAlgorithm::A192Kw,
            (KeyKind::Aes, AesMode::KeyWrap(AesSize::Aes256)) => EncryptionAlgorithm::A256Kw,
            (KeyKind::Aes, AesMode::Gcm(AesSize::Aes128)) => EncryptionAlgorithm::A128Gcm,
            (KeyKind::Aes, AesMode::Gcm(AesSize::Aes192)) => EncryptionAlgorithm::A192Gcm,
            (KeyKind::Aes, AesMode::Gcm(AesSize::Aes256)) => EncryptionAlgorithm::A256Gcm,
            _ => EncryptionAlgorithm::RsaOaep256,
        }
    }

    async fn perform(&self, operation: Operation, operand: Operand<'_>) -> Timed<Product> {
        let start = self.clock.now();
        let call = CallOptions::default();
        let key = &self.bundle.facts.url;
        let product = self.vault.perform(operation, key, operand, &call).await;
        (product, self.clock.now().since(start))
    }
}
