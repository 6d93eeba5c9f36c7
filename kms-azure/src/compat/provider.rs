//! A provider that also reads, and if told so writes, upstream's data.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::layer::{Coalesce, Retry, RetryPolicy, Timeout};
use kms_core::{
    CallOptions, Capabilities, ContextSupport, EncryptionContext, Error, ErrorKind, KeyId, KeyInfo,
    KeyProvider, SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};

use super::form::{StoredForm, annotations_fit, to_upstream};
use super::key_id::is_upstream_key_id;
use super::options::UpstreamOptions;
use super::v1beta1::V1Beta1;
use super::versions::Versions;
use crate::key_url::KeyUrl;
use crate::vault::Vault;

/// Keeps a wrapped key out of KMS v1, which stores no annotations and so refuses those that have one.
const NEEDS_KEY_ID: (&str, &str) = ("needs-key-id.azure.akv.io", "1");

/// Puts upstream's forms around a provider of one key, such as a
/// [`KeyVaultProvider`](crate::provider::KeyVaultProvider).
///
/// - **KMS v2 data of upstream or of OpenShift's fork**, told by its key id, is checked as upstream
///   checks it, brought into the provider's own form and opened by the provider: any version that
///   still exists, where upstream opens one. A hash that no version has is
///   [`ErrorKind::KeyNotFound`].
/// - **KMS v1 data** opens if versions were given
///   ([`with_v1_version`](UpstreamOptions::with_v1_version)).
/// - **Everything else** is the provider's own and goes to it unchanged.
/// - **Wrapping** is the provider's, in its own form; or in upstream's, by option
///   ([`writing`](UpstreamOptions::writing)). With versions for KMS v1 everything that is wrapped
///   has an annotation, so that the plugin never stores it as KMS v1 data: without its key id it
///   would be lost with the next rotation.
/// - **Listing** shows each version under both of its ids, the one that is not written now first:
///   data may stand under either.
///
/// The key must be spelt as the vault spells it: upstream's hash is of that.
pub struct UpstreamProvider {
    inner: Arc<dyn KeyProvider>,
    versions: Versions,
    v1beta1: Option<Timeout<Coalesce<Retry<V1Beta1>>>>,
    writes: bool,
}

impl UpstreamProvider {
    /// Wraps `inner`, a provider of this key, which must be able to list its versions. The vault is
    /// asked itself for nothing but data of KMS v1.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the key is of another vault, `inner` cannot list, or for
    /// options that make no sense.
    pub fn new(
        inner: impl KeyProvider,
        vault: Vault,
        key: &KeyUrl,
        options: UpstreamOptions,
    ) -> Result<Self, Error> {
        options.check()?;
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
        if key.host() != vault.host() {
            return invalid(format!("the key {key} is not of vault {vault}"));
        }
        if !inner.capabilities().lists_keys {
            return invalid(format!("{inner} cannot list its key versions"));
        }
        let inner: Arc<dyn KeyProvider> = Arc::new(inner);
        let key = key.without_version();
        let (clock, random, budget) = (vault.clock(), vault.random(), options.budget());
        let versions = Versions::new(key.clone(), Arc::clone(&inner), clock.clone(), budget);
        let v1beta1 = (!options.v1_versions.is_empty()).then(|| {
            let attempt = V1Beta1 {
                vault,
                key,
                versions: options.v1_versions,
                operations: options.operations,
            };
            let policy = RetryPolicy::default().with_budget(budget);
            let retry = Retry::new(attempt, clock.clone(), random).with_policy(policy);
            Timeout::new(Coalesce::new(retry), clock, budget)
        });
        Ok(Self {
            inner,
            versions,
            v1beta1,
            writes: options.writes,
        })
    }

    /// Brings a v2 value of upstream's into the provider's own form and opens it.
    async fn open_v2(
        &self,
        id: &KeyId,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.refuse_context(&options.context)?;
        // First of all: a provider that does not know the key has nothing to say of the rest.
        let ours = self.versions.ours_of(id, &options.call).await?;
        let does_not_open = || self.crypto().with_key_id(id.clone());
        if !annotations_fit(wrapped) {
            return Err(does_not_open());
        }
        let stored = wrapped.ciphertext();
        let form = StoredForm::of(stored).ok_or_else(does_not_open)?;
        let ciphertext = form.ciphertext(stored).ok_or_else(does_not_open)?;
        let translated = WrappedKey::new(ours, ciphertext)?;
        let plaintext = self.inner.unwrap(&translated, options).await?;
        form.dek(plaintext).ok_or_else(does_not_open)
    }

    /// Opens a value that says nothing of its key.
    async fn open_v1(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let Some(v1beta1) = &self.v1beta1 else {
            return Err(self
                .error(
                    ErrorKind::Unsupported,
                    "data of KMS v1 does not name its key",
                )
                .with_remedy(
                    "give the key version that it was written with: --key-version of the old plugin",
                ));
        };
        self.refuse_context(&options.context)?;
        if !wrapped.annotations().is_empty() {
            return Err(self.crypto());
        }
        let error = match v1beta1.unwrap(wrapped, options).await {
            Err(error) if error.kind() == ErrorKind::Crypto => error,
            other => return other,
        };
        // What this provider wraps itself opens too, as long as its key is the current one. No
        // caller keeps it: it has annotations.
        let stored = wrapped.ciphertext();
        let Some(form) = StoredForm::of(stored) else {
            return Err(error);
        };
        let Some(ciphertext) = form.ciphertext(stored) else {
            return Err(error);
        };
        let current = self.inner.current_key(&options.call).await?;
        let translated = WrappedKey::new(current.id, ciphertext)?;
        self.inner.unwrap(&translated, options).await
    }

    /// What is described under our id, under upstream's.
    fn as_upstream(&self, mut info: KeyInfo) -> Result<KeyInfo, Error> {
        info.id = self.upstream_id(&info.id)?;
        Ok(info)
    }

    fn upstream_id(&self, ours: &KeyId) -> Result<KeyId, Error> {
        self.versions.upstream_of(ours).ok_or_else(|| {
            self.error(
                ErrorKind::Protocol,
                "the provider inside has another key than the one given",
            )
            .with_key_id(ours.clone())
        })
    }

    fn refuse_context(&self, context: &EncryptionContext) -> Result<(), Error> {
        if context.is_empty() {
            return Ok(());
        }
        Err(self.error(
            ErrorKind::Unsupported,
            "data in upstream's form binds no context",
        ))
    }

    fn crypto(&self) -> Error {
        Error::crypto().with_provider(self.to_string())
    }

    fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).with_provider(self.to_string())
    }
}

/// The inner provider's name.
impl fmt::Display for UpstreamProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for UpstreamProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamProvider")
            .field("inner", &self.inner)
            .field("reads_v1", &self.v1beta1.is_some())
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyProvider for UpstreamProvider {
    fn capabilities(&self) -> Capabilities {
        let inner = self.inner.capabilities();
        let inner = if self.writes {
            inner.with_context(ContextSupport::None)
        } else {
            inner
        };
        inner.with_unwraps_without_key_id(self.v1beta1.is_some())
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        let info = self.inner.current_key(options).await?;
        if self.writes {
            self.as_upstream(info)
        } else {
            Ok(info)
        }
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        if self.writes {
            self.refuse_context(&options.context)?;
        }
        let wrapped = self.inner.wrap(dek, options).await?;
        let Some(ours) = wrapped.key_id().filter(|_| self.writes) else {
            let (name, value) = NEEDS_KEY_ID;
            return if self.v1beta1.is_some() {
                wrapped.with_annotation(name, value.as_bytes().to_vec())
            } else {
                Ok(wrapped)
            };
        };
        let ciphertext = wrapped.ciphertext();
        if !matches!(ciphertext.len(), 256 | 384 | 512) {
            return Err(self
                .error(
                    ErrorKind::Unsupported,
                    "upstream's form is for RSA keys of 2048, 3072 or 4096 bits alone",
                )
                .with_key_id(ours.clone()));
        }
        to_upstream(self.upstream_id(ours)?, ciphertext)
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        match wrapped.key_id() {
            Some(id) if is_upstream_key_id(id) => self.open_v2(id, wrapped, options).await,
            Some(_) => self.inner.unwrap(wrapped, options).await,
            None => self.open_v1(wrapped, options).await,
        }
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        if !is_upstream_key_id(id) {
            return self.inner.describe_key(id, options).await;
        }
        let ours = self.versions.ours_of(id, options).await?;
        self.as_upstream(self.inner.describe_key(&ours, options).await?)
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        let keys = self.inner.list_keys(options).await?;
        let mut all = Vec::with_capacity(keys.len().saturating_mul(2));
        for ours in keys {
            let upstreams = self.as_upstream(ours.clone())?;
            all.extend(if self.writes {
                [ours, upstreams]
            } else {
                [upstreams, ours]
            });
        }
        Ok(all)
    }
}
