//! Opening the objects of a whole cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use kms_core::{Clock, KeyProvider, OsRandom};
use kms_envelope::kubernetes::{
    ConfiguredNames, EncryptionConfiguration, KmsConfiguration, Opened, ProviderConfiguration,
    Transformer, resource_of_etcd_key_under,
};

use super::plugins::{kms_entries, open_plugins};
use crate::Failure;
use crate::provider::{Environment, ProviderUri};

/// `NAME=PROVIDER`: who stands in for the plugin that the configuration calls by this name.
///
/// ```
/// use kms::cluster::KekArgument;
///
/// let kek: KekArgument = "my-kms=local:/var/lib/kms/keyring.json".parse()?;
/// assert_eq!(kek.name, "my-kms");
/// # Ok::<(), kms::Failure>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct KekArgument {
    /// The name in the configuration.
    pub name: String,
    /// The provider.
    pub provider: ProviderUri,
}

impl FromStr for KekArgument {
    type Err = Failure;

    /// A KMS v1 name may hold a colon, but none holds an equals sign here.
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text.split_once('=') {
            Some((name, uri)) if !name.is_empty() => {
                let provider = uri
                    .parse()
                    .map_err(|failure: Failure| failure.at(format!("--kek {name}")))?;
                let name = name.to_owned();
                Ok(Self { name, provider })
            }
            _ => Err(Failure::usage(
                "--kek is not NAME=PROVIDER",
                "give for example my-kms=local:PATH",
            )),
        }
    }
}

/// Under which names objects lie, and under which they were encrypted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenerOptions {
    /// The API server's `--etcd-prefix`: what the keys begin with. `/registry` by default.
    pub etcd_prefix: String,
    /// The prefix that the keys began with when their values were written, if it was another:
    /// AES-GCM and KMS values are bound to the whole key.
    pub rebind_prefix: Option<String>,
}

impl Default for OpenerOptions {
    fn default() -> Self {
        Self {
            etcd_prefix: "/registry".to_owned(),
            rebind_prefix: None,
        }
    }
}

impl OpenerOptions {
    /// Sets what the keys begin with.
    #[must_use]
    pub fn with_etcd_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.etcd_prefix = prefix.into();
        self
    }

    /// Sets what the keys began with when their values were written.
    #[must_use]
    pub fn with_rebind_prefix(mut self, prefix: impl Into<Option<String>>) -> Self {
        self.rebind_prefix = prefix.into();
        self
    }
}

/// Opens stored values of any resource, as the API servers with this configuration would.
///
/// Plugins are dialled when the first value needs them. A resource that the configuration does
/// not name is read as it is stored; of one that cannot be told from the key, any entry's
/// provider may open the value.
#[derive(Debug)]
pub struct ObjectOpener {
    config: EncryptionConfiguration,
    plugins: BTreeMap<String, Arc<dyn KeyProvider>>,
    options: OpenerOptions,
    transformers: BTreeMap<String, Transformer>,
    clock: Arc<dyn Clock>,
}

impl ObjectOpener {
    /// An opener for this configuration; `keks` stand in for its plugins.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: a name that no KMS of the configuration has, or is given twice; a provider
    /// that cannot be opened.
    pub fn new(
        config: EncryptionConfiguration,
        keks: Vec<KekArgument>,
        options: OpenerOptions,
        environment: &mut Environment,
    ) -> Result<Self, Failure> {
        let clock = environment.clock();
        let plugins = open_plugins(&config, keks, environment)?;
        Ok(Self {
            config,
            plugins,
            options,
            transformers: BTreeMap::new(),
            clock,
        })
    }

    /// The names of the configuration, to split prefixes with.
    #[must_use]
    pub fn names(&self) -> ConfiguredNames {
        ConfiguredNames::new(
            self.config
                .resources
                .iter()
                .flat_map(|entry| &entry.providers),
        )
    }

    /// Every KMS of the configuration, once, with the provider behind it.
    pub fn plugins(&self) -> impl Iterator<Item = (&KmsConfiguration, &Arc<dyn KeyProvider>)> {
        let mut met = BTreeSet::new();
        kms_entries(&self.config)
            .filter(move |kms| met.insert(&kms.name))
            .filter_map(|kms| Some((kms, self.plugins.get(&kms.name)?)))
    }

    /// Opens one value.
    ///
    /// # Errors
    ///
    /// As [`Transformer::read`].
    pub async fn open(
        &mut self,
        etcd_key: &[u8],
        value: &[u8],
    ) -> Result<Opened, kms_envelope::Error> {
        let resource = resource_of_etcd_key_under(self.options.etcd_prefix.as_bytes(), etcd_key)
            .map_or_else(String::new, |resource| resource.to_string());
        let bound_to = self.bound_to(etcd_key);
        if !self.transformers.contains_key(&resource) {
            let transformer = self.transformer(etcd_key)?;
            // Without a Status values still open, and only their staleness is not known.
            let _ = transformer.refresh().await;
            self.transformers.insert(resource.clone(), transformer);
        }
        match self.transformers.get(&resource) {
            Some(transformer) => transformer.read(&bound_to, value).await,
            None => Err(kms_envelope::Error::new(
                kms_envelope::ErrorKind::Internal,
                "a transformer was made and is not there",
            )),
        }
    }

    /// The key that the value was encrypted under.
    fn bound_to<'k>(&self, etcd_key: &'k [u8]) -> std::borrow::Cow<'k, [u8]> {
        let trimmed = |prefix: &str| prefix.trim_end_matches('/').as_bytes().to_vec();
        let rebound = self.options.rebind_prefix.as_deref().and_then(|from| {
            let rest = etcd_key.strip_prefix(trimmed(&self.options.etcd_prefix).as_slice())?;
            rest.starts_with(b"/")
                .then(|| [trimmed(from).as_slice(), rest].concat())
        });
        rebound.map_or_else(|| etcd_key.into(), Into::into)
    }

    fn transformer(&self, etcd_key: &[u8]) -> Result<Transformer, kms_envelope::Error> {
        let prefix = self.options.etcd_prefix.as_bytes();
        let identity = ProviderConfiguration::Identity;
        let mut providers = match resource_of_etcd_key_under(prefix, etcd_key) {
            Some(resource) => self.config.providers_for(resource.group, resource.resource),
            None => {
                let entries = self.config.resources.iter();
                entries.flat_map(|entry| &entry.providers).collect()
            }
        };
        if providers.is_empty() {
            providers.push(&identity);
        }
        let mut builder = Transformer::builder(
            providers.iter().copied(),
            Arc::clone(&self.clock),
            Arc::new(OsRandom),
        )
        .read_only()
        .judge_source_type(false);
        let mut met = BTreeSet::new();
        for provider in providers {
            let ProviderConfiguration::Kms(kms) = provider else {
                continue;
            };
            if let (true, Some(plugin)) = (met.insert(&kms.name), self.plugins.get(&kms.name)) {
                builder = builder.kms(kms.name.clone(), Arc::clone(plugin));
            }
        }
        builder.build()
    }
}
