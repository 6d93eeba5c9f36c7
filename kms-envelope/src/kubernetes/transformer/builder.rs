//! Putting a transformer together.

use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use kms_core::{Clock, KeyProvider, SecretBytes, SecureRandom};

use super::state::StateCell;
use super::{Entry, EntryCipher, Kms, KmsV1, KmsV2, LocalKey, LocalKeys, Transformer};
use crate::kubernetes::dek_cache::DekCache;
use crate::kubernetes::value::{aes_cbc, aes_gcm, prefix, secretbox};
use crate::kubernetes::{
    DekSourceType, KmsApiVersion, KmsConfiguration, NamedKey, ProviderConfiguration, ProviderKind,
};
use crate::{Error, ErrorKind};

/// Puts a [`Transformer`] together.
pub struct TransformerBuilder<'a> {
    providers: Vec<&'a ProviderConfiguration>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    kms: HashMap<String, Arc<dyn KeyProvider>>,
    cache_capacity: usize,
    cache_ttl: Duration,
    written: DekSourceType,
    judges_source_type: bool,
    read_only: bool,
}

impl<'a> TransformerBuilder<'a> {
    /// How many unwrapped DEK sources are kept for each KMS v2 provider, unless set otherwise.
    ///
    /// A cluster gets a new one with each start of an API server and each rotation of the KEK,
    /// and keeps an old one in use until every object under it has been rewritten: dozens after
    /// years.
    pub const DEFAULT_DEK_CACHE_CAPACITY: usize = 1000;
    /// How long an unwrapped DEK source is kept, unless set otherwise: as long as kube-apiserver
    /// keeps it.
    pub const DEFAULT_DEK_CACHE_TTL: Duration = Duration::from_secs(24 * 60 * 60);
    /// How many DEKs are kept for a KMS v1 provider whose configuration has no `cachesize`.
    const DEFAULT_V1_CACHE_CAPACITY: usize = 1000;

    pub(super) fn new(
        providers: Vec<&'a ProviderConfiguration>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
    ) -> Self {
        Self {
            providers,
            clock,
            random,
            kms: HashMap::new(),
            cache_capacity: Self::DEFAULT_DEK_CACHE_CAPACITY,
            cache_ttl: Self::DEFAULT_DEK_CACHE_TTL,
            written: DekSourceType::default(),
            judges_source_type: true,
            read_only: false,
        }
    }

    /// The key provider that stands behind the KMS of this name, v1 or v2. A name that the list
    /// does not have is ignored, so that all entries of a configuration can be given the same.
    #[must_use]
    pub fn kms(mut self, name: impl Into<String>, provider: Arc<dyn KeyProvider>) -> Self {
        self.kms.insert(name.into(), provider);
        self
    }

    /// How many unwrapped DEK sources are kept for each KMS v2 provider; the least recently used
    /// one is wiped first. Zero keeps none but the one that is written with. For KMS v1 the
    /// configuration's `cachesize` decides.
    #[must_use]
    pub const fn dek_cache_capacity(mut self, sources: usize) -> Self {
        self.cache_capacity = sources;
        self
    }

    /// How long an unwrapped DEK source is kept after it was unwrapped. This is also how long old
    /// data stays readable when the KMS is down.
    #[must_use]
    pub const fn dek_cache_ttl(mut self, ttl: Duration) -> Self {
        self.cache_ttl = ttl;
        self
    }

    /// The source type that KMS v2 values are written with, and judged by when they are read.
    ///
    /// The default is what Kubernetes has written since 1.29. API servers of 1.27 can only read
    /// [`DekSourceType::AesGcmKey`].
    #[must_use]
    pub const fn kms_v2_source_type(mut self, written: DekSourceType) -> Self {
        self.written = written;
        self
    }

    /// Whether a KMS v2 value of another source type than is written counts as stale, as
    /// kube-apiserver has it. Yes, unless set otherwise; say no where it is not known which source
    /// type the API server writes.
    #[must_use]
    pub const fn judge_source_type(mut self, yes: bool) -> Self {
        self.judges_source_type = yes;
        self
    }

    /// For reading backups: writing is refused, and KMS v2 values are read without a write state,
    /// so that the KMS needs to unwrap and nothing else.
    ///
    /// [`Transformer::refresh`] is optional then, and asks for the current key only. Until it has
    /// succeeded no KMS v2 value is known to be current, and each is reported as stale.
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Builds the transformer. Calls no provider.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the list or a provider's list of keys is empty, a KMS has no key
    /// provider, a key has a length that its cipher does not have, or two KMS providers share a name that is to be unique.
    /// [`ErrorKind::Unsupported`] if this build lacks the cipher, or if KMS v1 is to write through
    /// a key provider that does not unwrap without a key id, which the format does not store.
    pub fn build(self) -> Result<Transformer, Error> {
        let entries = self
            .providers
            .iter()
            .map(|provider| self.entry(provider))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(first) = entries.first() else {
            return Err(Error::new(ErrorKind::Config, "the provider list is empty"));
        };
        if let EntryCipher::KmsV1(KmsV1 { kms }) = &first.cipher
            && !self.read_only
            && !kms.provider.capabilities().unwraps_without_key_id
        {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "KMS `{}`: v1 stores no key id, and the key provider does not unwrap without one",
                    kms.name
                ),
            ));
        }
        self.check_kms_names()?;
        Ok(Transformer {
            entries,
            clock: self.clock,
            random: self.random,
            read_only: self.read_only,
        })
    }

    fn entry(&self, provider: &ProviderConfiguration) -> Result<Entry, Error> {
        let (kind, keys) = match provider {
            ProviderConfiguration::Identity => {
                return Ok(Entry {
                    prefix: Box::default(),
                    cipher: EntryCipher::Identity,
                });
            }
            ProviderConfiguration::Kms(kms) => return self.kms_entry(kms),
            ProviderConfiguration::AesCbc(keys) => (ProviderKind::AesCbc, keys),
            ProviderConfiguration::AesGcm(keys) => (ProviderKind::AesGcm, keys),
            ProviderConfiguration::Secretbox(keys) => (ProviderKind::Secretbox, keys),
        };
        if keys.is_empty() {
            return Err(Error::new(ErrorKind::Config, format!("{kind} has no keys")));
        }
        let keys = keys
            .iter()
            .map(|key| local_key(kind, key))
            .collect::<Result<_, _>>()?;
        Ok(Entry {
            prefix: prefix::of(kind).as_bytes().into(),
            cipher: EntryCipher::Local(LocalKeys { kind, keys }),
        })
    }

    fn kms_entry(&self, config: &KmsConfiguration) -> Result<Entry, Error> {
        let name = config.name.as_str();
        let provider = self.kms.get(name).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("KMS `{name}` has no key provider"),
            )
        })?;
        let capacity = match (config.api_version, config.cache_size) {
            (KmsApiVersion::V2, _) => self.cache_capacity,
            (KmsApiVersion::V1, None) => Self::DEFAULT_V1_CACHE_CAPACITY,
            // Negative switches it off.
            (KmsApiVersion::V1, Some(size)) => usize::try_from(size).unwrap_or(0),
        };
        let kms = Kms {
            name: name.into(),
            provider: Arc::clone(provider),
            timeout: config.timeout,
            cache: DekCache::new(capacity, self.cache_ttl),
        };
        let (kind, cipher) = match config.api_version {
            KmsApiVersion::V1 => (ProviderKind::KmsV1, EntryCipher::KmsV1(KmsV1 { kms })),
            KmsApiVersion::V2 => (
                ProviderKind::KmsV2,
                EntryCipher::KmsV2(KmsV2 {
                    kms,
                    written: self.written,
                    judges_source_type: self.judges_source_type,
                    state: StateCell::default(),
                }),
            ),
        };
        Ok(Entry {
            prefix: format!("{}{name}:", prefix::of(kind)).into_bytes().into(),
            cipher,
        })
    }

    /// A v2 name belongs to one provider, of whatever version.
    fn check_kms_names(&self) -> Result<(), Error> {
        let kms = || {
            self.providers
                .iter()
                .filter_map(|provider| match *provider {
                    ProviderConfiguration::Kms(kms) => Some(kms),
                    _ => None,
                })
        };
        for v2 in kms().filter(|kms| kms.api_version == KmsApiVersion::V2) {
            if kms().filter(|other| other.name == v2.name).count() > 1 {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("there are two KMS providers of the name `{}`", v2.name),
                ));
            }
        }
        Ok(())
    }
}

fn local_key(kind: ProviderKind, key: &NamedKey) -> Result<LocalKey, Error> {
    let secret = key.secret.expose();
    let checked = match kind {
        ProviderKind::AesCbc => aes_cbc::check_key(secret),
        ProviderKind::AesGcm => aes_gcm::check_key(secret),
        _ => secretbox::check_key(secret),
    };
    checked.map_err(|error| {
        let kind_of_error = match error.kind() {
            ErrorKind::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Config,
        };
        Error::new(
            kind_of_error,
            format!("{kind} key `{}`: {}", key.name, error.message()),
        )
    })?;
    Ok(LocalKey {
        name: key.name.as_str().into(),
        secret: SecretBytes::copy_from_slice(secret),
    })
}

impl fmt::Debug for TransformerBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransformerBuilder")
            .field("providers", &self.providers)
            .field("kms", &self.kms)
            .field("cache_capacity", &self.cache_capacity)
            .field("cache_ttl", &self.cache_ttl)
            .field("written", &self.written)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}
