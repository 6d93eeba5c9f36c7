//! Opening the objects of a whole cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

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
///
/// Clones share plugins, and what was learnt of DEKs: each thread that opens objects takes one.
#[derive(Clone, Debug)]
pub struct ObjectOpener {
    shared: Arc<Shared>,
    /// The resource before and its transformer: objects come in runs.
    last: Option<(Resource, Arc<Transformer>)>,
}

/// Group and plural name; `None` for keys of which that cannot be told.
type Resource = Option<(String, String)>;

#[derive(Debug)]
struct Shared {
    config: EncryptionConfiguration,
    plugins: BTreeMap<String, Arc<dyn KeyProvider>>,
    options: OpenerOptions,
    transformers: Mutex<BTreeMap<Resource, Arc<Transformer>>>,
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
            shared: Arc::new(Shared {
                config,
                plugins,
                options,
                transformers: Mutex::default(),
                clock,
            }),
            last: None,
        })
    }

    /// The names of the configuration, to split prefixes with.
    #[must_use]
    pub fn names(&self) -> ConfiguredNames {
        ConfiguredNames::new(
            self.shared
                .config
                .resources
                .iter()
                .flat_map(|entry| &entry.providers),
        )
    }

    /// Every KMS of the configuration, once, with the provider behind it.
    pub fn plugins(&self) -> impl Iterator<Item = (&KmsConfiguration, &Arc<dyn KeyProvider>)> {
        let mut met = BTreeSet::new();
        kms_entries(&self.shared.config)
            .filter(move |kms| met.insert(&kms.name))
            .filter_map(|kms| Some((kms, self.shared.plugins.get(&kms.name)?)))
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
        let prefix = self.shared.options.etcd_prefix.as_bytes();
        let resource = resource_of_etcd_key_under(prefix, etcd_key);
        let is_same = |last: &Resource| match (last, &resource) {
            (Some((group, name)), Some(now)) => group == now.group && name == now.resource,
            (last, now) => last.is_none() && now.is_none(),
        };
        let bound_to = self.shared.bound_to(etcd_key);
        match &self.last {
            Some((last, transformer)) if is_same(last) => transformer.read(&bound_to, value).await,
            _ => {
                let resource = resource
                    .map(|resource| (resource.group.to_owned(), resource.resource.to_owned()));
                let transformer = self.shared.transformer(&resource, etcd_key).await?;
                let (_, transformer) = self.last.insert((resource, transformer));
                transformer.read(&bound_to, value).await
            }
        }
    }
}

impl Shared {
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

    /// The transformer of a resource, which is made if there is none.
    async fn transformer(
        &self,
        resource: &Resource,
        etcd_key: &[u8],
    ) -> Result<Arc<Transformer>, kms_envelope::Error> {
        let known = || {
            self.transformers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(transformer) = known().get(resource) {
            return Ok(Arc::clone(transformer));
        }
        let transformer = self.new_transformer(etcd_key)?;
        // Without a Status values still open, and only their staleness is not known.
        let _ = transformer.refresh().await;
        let mut known = known();
        let transformer = known
            .entry(resource.clone())
            .or_insert_with(|| Arc::new(transformer));
        Ok(Arc::clone(transformer))
    }

    fn new_transformer(&self, etcd_key: &[u8]) -> Result<Transformer, kms_envelope::Error> {
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
