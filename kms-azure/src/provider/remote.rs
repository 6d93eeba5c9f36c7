//! What is asked of the vault, one attempt at a time: a provider for `kms_core`'s layers.
//!
//! The key ids it is given are those of the watched key, and contexts have been refused if they
//! cannot be bound: [`KeyVaultProvider`](super::KeyVaultProvider) sees to that before any call.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, EncryptionContext, Error, ErrorKind, KeyId, KeyInfo, KeyProvider,
    KeyState, SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};

use super::algorithm::Algorithm;
use super::local::rsa_bits;
use super::watch::Watch;
use super::{capabilities, key_of};
use crate::error::{Fault, VaultError};
use crate::key_url::{KeyUrl, KeyVersion, Service};
use crate::vault::{KeyKind, Operand};

/// More versions than a key of a Managed HSM may have.
const MAX_KINDS: usize = 256;

#[derive(Debug)]
pub(super) struct Remote {
    watch: Arc<Watch>,
    /// What older versions of a Managed HSM's key are made of, which never changes.
    kinds: Mutex<BTreeMap<KeyVersion, Usage>>,
}

/// How a version is used, and what that weighs.
#[derive(Clone, Copy, Debug)]
struct Usage {
    algorithm: Algorithm,
    units: u32,
}

impl Remote {
    pub(super) fn new(watch: Arc<Watch>) -> Self {
        Self {
            watch,
            kinds: Mutex::default(),
        }
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<KeyVersion, Usage>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn crypto(&self) -> Error {
        Error::crypto().with_provider(self.to_string())
    }

    /// How this version unwraps. A vault holds RSA keys alone; of a Managed HSM's key one has to
    /// ask, once for each version.
    async fn usage(&self, key: &KeyUrl, length: usize, call: &CallOptions) -> Result<Usage, Error> {
        let Some(version) = key.version() else {
            return Err(self.crypto());
        };
        if let Some(known) = self.watch.board().known(version) {
            return Ok(Usage {
                algorithm: known.algorithm,
                units: known.bundle.kind.units(),
            });
        }
        if key.host().service() == Service::KeyVault {
            let bits = rsa_bits(length).ok_or_else(|| self.crypto())?;
            return Ok(Usage {
                algorithm: Algorithm::RsaOaep256,
                units: KeyKind::Rsa { bits, hsm: false }.units(),
            });
        }
        if let Some(usage) = self.kinds().get(version) {
            return Ok(*usage);
        }
        let bundle = self.watch.bundle(key, call).await?;
        let usage = Usage {
            algorithm: Algorithm::of(&bundle.kind, self.watch.options.aes)?,
            units: bundle.kind.units(),
        };
        let mut kinds = self.kinds();
        if kinds.len() >= MAX_KINDS {
            kinds.pop_first();
        }
        kinds.insert(version.clone(), usage);
        Ok(usage)
    }

    fn aad(algorithm: Algorithm, context: &EncryptionContext) -> Option<Vec<u8>> {
        matches!(algorithm, Algorithm::Gcm(_)).then(|| context.to_canonical_bytes())
    }
}

/// The watched key, without its version.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.watch.key.without_version().fmt(f)
    }
}

#[async_trait]
impl KeyProvider for Remote {
    fn capabilities(&self) -> Capabilities {
        capabilities(&self.watch.options)
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.watch.current_info(options.deadline).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        let active = self.watch.current(options.call.deadline).await?;
        let algorithm = active.algorithm;
        let operation = algorithm.wrap_operation(self.watch.options.operations);
        let key = &active.bundle.facts.url;
        let frame = algorithm.frame(dek, &*self.watch.random)?;
        let operand = Operand {
            algorithm: algorithm.for_sdk(),
            value: &frame,
            aad: Self::aad(algorithm, &options.context),
            iv: None,
            tag: None,
            units: active.bundle.kind.units(),
        };
        let product = self
            .watch
            .vault
            .perform(operation, key, operand, &options.call)
            .await;
        let product = product.inspect_err(|error| self.watch.hint(error))?;
        let (nonce, tag) = (product.iv.as_deref(), product.tag.as_deref());
        let ciphertext = algorithm.assemble(product.value.expose(), nonce, tag);
        let ciphertext = ciphertext.ok_or_else(|| {
            VaultError::found(Fault::UnexpectedAnswer, operation)
                .with_message("the answer lacks its nonce or tag")
                .about(key, None)
        })?;
        WrappedKey::new(key.key_id()?, ciphertext)
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let key = key_of(&self.watch.key, wrapped.key_id())?;
        let ciphertext = wrapped.ciphertext();
        let usage = self.usage(&key, ciphertext.len(), &options.call).await?;
        let algorithm = usage.algorithm;
        let parts = algorithm
            .take_apart(ciphertext)
            .ok_or_else(|| self.crypto())?;
        let operand = Operand {
            algorithm: algorithm.for_sdk(),
            value: parts.value,
            aad: Self::aad(algorithm, &options.context),
            iv: parts.nonce.map(<[u8]>::to_vec),
            tag: parts.tag.map(<[u8]>::to_vec),
            units: usage.units,
        };
        let operation = algorithm.unwrap_operation(self.watch.options.operations);
        let product = self
            .watch
            .vault
            .perform(operation, &key, operand, &options.call)
            .await;
        let frame = match product {
            Ok(product) => product.value,
            Err(error) if error.kind() == ErrorKind::KeyNotFound => {
                return Err(self.watch.why_not_found(error, &key, &options.call).await);
            }
            Err(error) => {
                self.watch.hint(&error);
                return Err(error);
            }
        };
        algorithm.unframe(frame).ok_or_else(|| self.crypto())
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        let key = key_of(&self.watch.key, Some(id))?;
        let wall = self.watch.clock.wall_time();
        let bundle = match self.watch.bundle(&key, options).await {
            Err(error)
                if VaultError::of(&error).is_some_and(|e| e.fault() == Fault::KeyDeleted) =>
            {
                let mut info = KeyInfo::new(id.clone(), KeyState::PendingDestruction);
                info.version = key.version().map(ToString::to_string);
                return Ok(info);
            }
            other => other?,
        };
        let now = self.watch.clock.now();
        self.watch.board().note_facts([bundle.facts.clone()], now);
        let algorithm = Algorithm::of(&bundle.kind, self.watch.options.aes).ok();
        bundle.facts.info(wall, algorithm.map(Algorithm::as_str))
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        let key = self.watch.key.without_version();
        let listed = self.watch.vault.versions(&key, options).await;
        let mut versions = match listed {
            Err(error) if error.kind() == ErrorKind::KeyNotFound => {
                return Err(self.watch.why_not_found(error, &key, options).await);
            }
            other => other?,
        };
        versions.sort_by(|one, two| {
            let order =
                |facts: &crate::vault::VersionFacts| (facts.created, facts.url.version().cloned());
            order(one).cmp(&order(two))
        });
        let wall = self.watch.clock.wall_time();
        versions
            .iter()
            .map(|facts| facts.info(wall, None))
            .collect()
    }
}
