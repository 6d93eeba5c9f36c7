//! From etcd.

use std::sync::Arc;

use kms_core::{KeyId, UnwrapOptions, WrappedKey};

use super::{EntryCipher, Kms, KmsV1, KmsV2, LocalKeys, Opened, Transformer};
use crate::kubernetes::ProviderKind;
use crate::kubernetes::dek_cache::{DekSource, DekSourceRef};
use crate::kubernetes::value::plaintext::Plaintext;
use crate::kubernetes::value::{aes_cbc, aes_gcm, kms_v1, kms_v2, prefix, secretbox};
use crate::{Error, ErrorKind};

impl Transformer {
    /// Reads a stored value.
    ///
    /// `etcd_key` is the whole key that it is stored under, such as
    /// `/registry/secrets/default/token`: most formats are bound to it.
    ///
    /// Calls a KMS provider if the value's DEK source is not known, with the time-out of the
    /// configuration.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoMatchingProvider`] if no provider and key has the value's prefix,
    /// [`ErrorKind::Crypto`] if it does not open, [`ErrorKind::Malformed`] if it is not of its
    /// format, [`ErrorKind::Provider`] if the KMS fails, [`ErrorKind::NotReady`] if KMS v2 has no
    /// state. If several providers were tried, the first of their failures.
    ///
    /// The verdict is kube-apiserver's, with two exceptions: an `aescbc` value without a block,
    /// which makes it panic, does not open; and a KMS v2 key id with a control character is
    /// refused.
    pub async fn read(&self, etcd_key: &[u8], value: &[u8]) -> Result<Opened, Error> {
        let mut failure = None;
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(payload) = value.strip_prefix(&*entry.prefix) else {
                continue;
            };
            let result = match &entry.cipher {
                // That `identity` cannot read an encrypted value is no failure worth a word.
                EntryCipher::Identity if value.starts_with(prefix::ENCRYPTED) => continue,
                EntryCipher::Identity => Ok(Opened {
                    plaintext: Plaintext::copy_of(value),
                    stale: false,
                    is_old_form: false,
                    is_authenticated: false,
                    provider: ProviderKind::Identity,
                    name: None,
                    key_id: None,
                }),
                EntryCipher::Local(keys) => keys.read(etcd_key, payload),
                EntryCipher::KmsV1(kms) => self.read_kms_v1(kms, etcd_key, payload).await,
                EntryCipher::KmsV2(kms) => self.read_kms_v2(kms, etcd_key, payload).await,
            };
            match result {
                Ok(mut opened) => {
                    opened.stale |= index != 0;
                    opened.is_old_form |= index != 0;
                    return Ok(opened);
                }
                Err(error) => keep_first(&mut failure, error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            Error::new(
                ErrorKind::NoMatchingProvider,
                "no provider of the configuration has the prefix of this value",
            )
        }))
    }

    async fn read_kms_v1(
        &self,
        KmsV1 { kms }: &KmsV1,
        aad: &[u8],
        payload: &[u8],
    ) -> Result<Opened, Error> {
        let parts = kms_v1::parse(payload)?;
        let named = DekSourceRef {
            kind: None,
            key_id: None,
            ciphertext: parts.encrypted_dek,
            annotations: &[],
        };
        let source = match kms.cache.get(&named, self.clock.now()) {
            Some(source) => source,
            None => self.unwrap(kms, &named).await?,
        };
        let (plaintext, is_cbc) = kms_v1::open(source.secret.expose(), aad, parts.body)?;
        Ok(Opened {
            plaintext,
            stale: is_cbc,
            is_old_form: is_cbc,
            is_authenticated: !is_cbc,
            provider: ProviderKind::KmsV1,
            name: Some(Arc::clone(&kms.name)),
            key_id: None,
        })
    }

    async fn read_kms_v2(&self, v2: &KmsV2, aad: &[u8], payload: &[u8]) -> Result<Opened, Error> {
        let kms = &v2.kms;
        let object = kms_v2::EncryptedObject::parse(payload)?;
        let known = v2.state.known();
        if known.state.is_none() && !self.read_only {
            return Err(kms.no_state());
        }
        let is_old_form = v2.judges_source_type && object.dek_source_type != v2.written;
        let stale = is_old_form || known.key_id.is_none_or(|id| id.as_str() != object.key_id);
        let named = DekSourceRef {
            kind: Some(object.dek_source_type),
            key_id: Some(object.key_id),
            ciphertext: object.dek_source,
            annotations: &object.annotations,
        };
        let current = known.state.filter(|state| state.source.is(&named));
        let source = match current {
            Some(state) => Arc::clone(&state.source),
            None => match kms.cache.get(&named, self.clock.now()) {
                Some(source) => source,
                None => self.unwrap(kms, &named).await?,
            },
        };
        let plaintext = kms_v2::open(
            object.dek_source_type,
            source.secret.expose(),
            aad,
            object.encrypted_data,
        )?;
        Ok(Opened {
            plaintext,
            stale,
            is_old_form,
            is_authenticated: true,
            provider: ProviderKind::KmsV2,
            name: Some(Arc::clone(&kms.name)),
            key_id: source.wrapped.key_id().cloned(),
        })
    }

    /// Has a DEK source unwrapped, and keeps it.
    async fn unwrap(&self, kms: &Kms, named: &DekSourceRef<'_>) -> Result<Arc<DekSource>, Error> {
        let malformed =
            |error: kms_core::Error| Error::new(ErrorKind::Malformed, error.message().to_owned());
        let annotations = named.annotations.iter();
        let wrapped = match named.key_id {
            Some(id) => WrappedKey::new(
                KeyId::new(id).map_err(malformed)?,
                named.ciphertext.to_vec(),
            ),
            None => WrappedKey::without_key_id(named.ciphertext.to_vec()),
        }
        .and_then(|wrapped| {
            wrapped.with_annotations(
                annotations
                    .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
                    .collect(),
            )
        })
        .map_err(malformed)?;
        let options = UnwrapOptions::default().with_call(kms.call_options(self.clock.as_ref()));
        let secret = kms
            .provider
            .unwrap(&wrapped, &options)
            .await
            .map_err(|error| kms.failed("unwrapping a DEK source", error))?;
        match named.kind {
            Some(kind) => kms_v2::check_dek_source(kind, secret.expose()),
            None => aes_gcm::check_key(secret.expose()),
        }?;
        let source = Arc::new(DekSource {
            kind: named.kind,
            wrapped,
            secret,
        });
        kms.cache.insert(Arc::clone(&source), self.clock.now());
        Ok(source)
    }
}

impl LocalKeys {
    /// Tries every key of the value's key name.
    fn read(&self, aad: &[u8], rest: &[u8]) -> Result<Opened, Error> {
        let mut failure = None;
        for (index, key) in self.keys.iter().enumerate() {
            let Some(body) = rest
                .strip_prefix(key.name.as_bytes())
                .and_then(|rest| rest.strip_prefix(b":"))
            else {
                continue;
            };
            let secret = key.secret.expose();
            let result = match self.kind {
                ProviderKind::AesCbc => aes_cbc::open(secret, body),
                ProviderKind::AesGcm => aes_gcm::open(secret, aad, body),
                _ => secretbox::open(secret, body),
            };
            match result {
                Ok(plaintext) => {
                    return Ok(Opened {
                        plaintext,
                        stale: index != 0,
                        is_old_form: index != 0,
                        is_authenticated: self.kind != ProviderKind::AesCbc,
                        provider: self.kind,
                        name: Some(Arc::clone(&key.name)),
                        key_id: None,
                    });
                }
                Err(error) => keep_first(&mut failure, error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            Error::new(
                ErrorKind::NoMatchingProvider,
                format!("no key of {} has the name in the prefix", self.kind),
            )
        }))
    }
}

/// That a key failed says more than that another one was not meant.
fn keep_first(failure: &mut Option<Error>, error: Error) {
    let replace = failure
        .as_ref()
        .is_none_or(|first| first.kind() == ErrorKind::NoMatchingProvider);
    if replace {
        *failure = Some(error);
    }
}
