//! Opening one stored value without an API server.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Error, KeyId, KeyInfo, KeyProvider, KeyState, OsRandom, SecretBytes,
    UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_envelope::ErrorKind;
use kms_envelope::kubernetes::{
    DekSourceType, EncryptionConfiguration, GroupResource, KmsApiVersion, NamedKey, Opened,
    ProviderConfiguration, Transformer, inspect, resource_of_etcd_key_under,
};

use crate::Failure;
use crate::provider::{Environment, ProviderUri, open_endpoint};

/// What to open, and with what.
#[derive(Debug)]
pub struct DecryptRequest<'a> {
    /// The configuration that kube-apiserver uses.
    pub config: &'a EncryptionConfiguration,
    /// Providers that stand in for the plugins of the configuration, by KMS name.
    pub keks: BTreeMap<String, ProviderUri>,
    /// The etcd key of the value.
    pub etcd_key: &'a [u8],
    /// The API server's `--etcd-prefix`, such as `/registry`.
    pub etcd_prefix: &'a str,
    /// The resource, if the caller knows better than the etcd key tells.
    pub resource: Option<&'a str>,
    /// The stored value.
    pub value: &'a [u8],
    /// The source type that the API server writes KMS v2 values with. If it is given, a value of
    /// another one counts as stale; API servers since 1.29 write
    /// [`HkdfSha256XnonceAesGcmSeed`](DekSourceType::HkdfSha256XnonceAesGcmSeed).
    pub source_type: Option<DekSourceType>,
}

/// A value that was opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Decrypted {
    /// The value. If `status_error` is there, whether it is stale is not known.
    pub opened: Opened,
    /// Why the KMS did not say its current key.
    pub status_error: Option<kms_envelope::Error>,
}

/// Opens a stored value as the API server with this configuration would.
///
/// Only those plugins are asked whose prefix the value has; their Status tells whether the value
/// is stale.
///
/// # Errors
///
/// A [`Failure`]: the configuration has no providers for the resource, a `keks` name that no KMS
/// has, a provider that cannot be opened or fails, or a value that does not open.
pub async fn decrypt(
    request: DecryptRequest<'_>,
    environment: &mut Environment,
) -> Result<Decrypted, Failure> {
    let DecryptRequest {
        config,
        keks,
        etcd_key,
        etcd_prefix,
        resource,
        value,
        source_type,
    } = request;
    check_names(config, &keks)?;
    let providers = select(config, etcd_key, etcd_prefix, resource)?;
    let mut builder = Transformer::builder(
        providers.iter().copied(),
        environment.clock(),
        Arc::new(OsRandom),
    );
    builder = builder.read_only().judge_source_type(source_type.is_some());
    if let Some(source_type) = source_type {
        builder = builder.kms_v2_source_type(source_type);
    }
    for (name, provider) in open_all(&providers, keks, value, environment)? {
        builder = builder.kms(name, provider);
    }
    let transformer = builder.build()?;
    let status_error = transformer.refresh().await.err();
    match transformer.read(etcd_key, value).await {
        Ok(opened) => Ok(Decrypted {
            opened,
            status_error,
        }),
        Err(error) if error.kind() == ErrorKind::NoMatchingProvider => Err(Failure::new(
            error.kind().as_str(),
            mismatch(value, &providers),
            error.remedy(),
        )),
        Err(error) => Err(error.into()),
    }
}

/// What the value needs and what the configuration has. None of it is secret.
fn mismatch(value: &[u8], providers: &[&ProviderConfiguration]) -> String {
    let named = |kind: &str, name: Option<&str>| match name {
        Some(name) => format!("{kind} {name:?}"),
        None => kind.to_owned(),
    };
    let needs = match inspect(value) {
        Ok(seen) => named(seen.provider.as_str(), seen.name),
        Err(damaged) => match damaged.provider() {
            Some(provider) => named(provider.as_str(), damaged.name()),
            None => "of an unknown kind".to_owned(),
        },
    };
    let has = providers.iter().flat_map(|provider| match provider {
        ProviderConfiguration::Identity => vec![named("identity", None)],
        ProviderConfiguration::AesCbc(keys) => names("aescbc", keys),
        ProviderConfiguration::AesGcm(keys) => names("aesgcm", keys),
        ProviderConfiguration::Secretbox(keys) => names("secretbox", keys),
        ProviderConfiguration::Kms(kms) => {
            let kind = match kms.api_version {
                KmsApiVersion::V1 => "kms-v1",
                KmsApiVersion::V2 => "kms-v2",
            };
            vec![named(kind, Some(&kms.name))]
        }
        _ => Vec::new(),
    });
    let has = has.collect::<Vec<_>>().join(", ");
    format!("the value is {needs}, and for its resource the configuration has {has}")
}

fn names(kind: &str, keys: &[NamedKey]) -> Vec<String> {
    keys.iter()
        .map(|key| format!("{kind} {:?}", key.name))
        .collect()
}

/// A name that nobody uses is a mistake worth an error: the plugin would be asked instead.
fn check_names(
    config: &EncryptionConfiguration,
    keks: &BTreeMap<String, ProviderUri>,
) -> Result<(), Failure> {
    let known: BTreeSet<&str> = config
        .resources
        .iter()
        .flat_map(|entry| &entry.providers)
        .filter_map(|provider| match provider {
            ProviderConfiguration::Kms(kms) => Some(kms.name.as_str()),
            _ => None,
        })
        .collect();
    let Some(unknown) = keks.keys().find(|name| !known.contains(name.as_str())) else {
        return Ok(());
    };
    let known = known.into_iter().collect::<Vec<_>>().join("`, `");
    Err(Failure::usage(
        format!("--kek names the KMS `{unknown}`, which the configuration does not have"),
        if known.is_empty() {
            "leave --kek away: the configuration has no KMS".to_owned()
        } else {
            format!("give one of `{known}`")
        },
    ))
}

/// The providers that are responsible for the value's resource.
fn select<'a>(
    config: &'a EncryptionConfiguration,
    etcd_key: &[u8],
    etcd_prefix: &str,
    resource: Option<&str>,
) -> Result<Vec<&'a ProviderConfiguration>, Failure> {
    let named = match resource {
        Some(text) => Some(GroupResource::parse(text)),
        None => resource_of_etcd_key_under(etcd_prefix.as_bytes(), etcd_key),
    };
    if let Some(named) = named {
        let providers = config.providers_for(named.group, named.resource);
        if !providers.is_empty() {
            return Ok(providers);
        }
        return Err(Failure::new(
            "config",
            format!("the configuration has no providers for the resource `{named}`"),
            "give the configuration that was in force, or name the resource with --resource",
        ));
    }
    // With one entry there is nothing to choose between.
    if let [only] = config.resources.as_slice() {
        return Ok(only.providers.iter().collect());
    }
    Err(Failure::new(
        "config",
        "the etcd key does not tell which resource the value is of, and the configuration has several entries",
        "name the resource with --resource, or the API server's prefix with --etcd-prefix",
    ))
}

/// A provider for each KMS of the list. Those that the value is not of are not even dialled.
fn open_all(
    providers: &[&ProviderConfiguration],
    mut keks: BTreeMap<String, ProviderUri>,
    value: &[u8],
    environment: &mut Environment,
) -> Result<BTreeMap<String, Arc<dyn KeyProvider>>, Failure> {
    let mut opened = BTreeMap::new();
    for provider in providers {
        let ProviderConfiguration::Kms(kms) = provider else {
            continue;
        };
        // Several v1 entries may have one name; then they are one KMS.
        if opened.contains_key(&kms.name) {
            continue;
        }
        let version = match kms.api_version {
            KmsApiVersion::V1 => "v1",
            KmsApiVersion::V2 => "v2",
        };
        let prefix = format!("k8s:enc:kms:{version}:{}:", kms.name);
        let provider: Arc<dyn KeyProvider> = if !value.starts_with(prefix.as_bytes()) {
            Arc::new(NotAsked)
        } else if let Some(uri) = keks.remove(&kms.name) {
            uri.open_for(kms, environment)?
        } else {
            open_endpoint(kms, environment.clock())?
        };
        opened.insert(kms.name.clone(), provider);
    }
    Ok(opened)
}

/// Stands where no value comes by.
#[derive(Debug)]
struct NotAsked;

impl fmt::Display for NotAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not asked")
    }
}

#[async_trait]
impl KeyProvider for NotAsked {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
            .with_wraps(false)
            .with_unwraps_without_key_id(true)
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Ok(KeyInfo::new(KeyId::new("not-asked")?, KeyState::Enabled))
    }

    async fn wrap(&self, _: &SecretBytes, _: &WrapOptions) -> Result<WrappedKey, Error> {
        Err(Error::new(
            kms_core::ErrorKind::Unsupported,
            "this provider is not asked",
        ))
    }

    async fn unwrap(&self, _: &WrappedKey, _: &UnwrapOptions) -> Result<SecretBytes, Error> {
        Err(Error::new(
            kms_core::ErrorKind::Unsupported,
            "this provider is not asked",
        ))
    }
}
