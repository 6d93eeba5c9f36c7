//! What to rewrite through the API, and how.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use kms_core::object::{ApiResource, ScanOptions};
use kms_core::{Error as CoreError, ErrorKind as CoreErrorKind};

use crate::Error;
use crate::kubernetes::{
    EncryptionConfiguration, KmsApiVersion, ProviderConfiguration, ProviderKind,
};
use crate::reencrypt::Protection;

/// A resource to rewrite: all of it, or some namespaces.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApiScope {
    /// The resource.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
    /// Only these; none are all.
    pub namespaces: Vec<String>,
    /// What API servers write it with, if that is known: provider and name, without a key id.
    pub written_with: Option<Protection>,
}

impl ApiScope {
    /// All objects of a resource.
    #[must_use]
    pub const fn new(resource: ApiResource, is_namespaced: bool) -> Self {
        Self {
            resource,
            is_namespaced,
            namespaces: Vec::new(),
            written_with: None,
        }
    }

    /// Only these namespaces.
    #[must_use]
    pub fn with_namespaces(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.namespaces = names.into_iter().map(Into::into).collect();
        self.namespaces.sort();
        self.namespaces.dedup();
        self
    }

    /// Says what API servers write it with: the first provider that this configuration has for it,
    /// and of that the first key.
    #[must_use]
    pub fn with_configuration(mut self, config: &EncryptionConfiguration) -> Self {
        let providers = config.providers_for(self.resource.group(), self.resource.plural());
        self.written_with = Some(match providers.first() {
            Some(provider) => protection(provider),
            None => Protection::new(ProviderKind::Identity, None, None),
        });
        self
    }

    /// The name of the KMS v1 that it is written with, if it is one.
    fn kms_v1(&self) -> Option<&str> {
        let written = self.written_with.as_ref()?;
        (written.provider() == ProviderKind::KmsV1).then(|| written.name().unwrap_or_default())
    }
}

/// As `v1 secrets`, `apps/v1 deployments in team-a, team-b`: what tells it from others.
impl fmt::Display for ApiScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (group, version) = (self.resource.group(), self.resource.version());
        if group.is_empty() {
            write!(f, "{version} {}", self.resource.plural())?;
        } else {
            write!(f, "{group}/{version} {}", self.resource.plural())?;
        }
        match self.namespaces.as_slice() {
            [] => Ok(()),
            some => write!(f, " in {}", some.join(", ")),
        }
    }
}

fn protection(provider: &ProviderConfiguration) -> Protection {
    let (kind, name) = match provider {
        ProviderConfiguration::Identity => (ProviderKind::Identity, None),
        ProviderConfiguration::AesCbc(keys) => (ProviderKind::AesCbc, keys.first()),
        ProviderConfiguration::AesGcm(keys) => (ProviderKind::AesGcm, keys.first()),
        ProviderConfiguration::Secretbox(keys) => (ProviderKind::Secretbox, keys.first()),
        ProviderConfiguration::Kms(kms) => {
            let kind = match kms.api_version {
                KmsApiVersion::V1 => ProviderKind::KmsV1,
                KmsApiVersion::V2 => ProviderKind::KmsV2,
            };
            return Protection::new(kind, Some(kms.name.as_str().into()), None);
        }
    };
    Protection::new(kind, name.map(|key| key.name.as_str().into()), None)
}

/// How to rewrite.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApiMigrationOptions {
    /// What to rewrite, resource by resource.
    pub scopes: Vec<ApiScope>,
    /// What tells the cluster from others, so that a checkpoint of another one is refused: the uid
    /// of its namespace `kube-system`, or else its server's URL.
    pub cluster: String,
    /// Requests on their way at once: 8. An API server shares itself out among its clients, and
    /// asks those to slow down that take too much.
    pub concurrency: usize,
    /// The most objects that are rewritten in a second.
    pub rate: Option<NonZeroU32>,
    /// Whether to count and change nothing. The API does not tell what is stale.
    pub dry_run: bool,
    /// Whether to go on from the checkpoint.
    pub resume: bool,
    /// How long to wait for a server that does not answer, beyond what it asks for: 5 min.
    pub patience: Duration,
    /// How often to go through all objects, at the most, until a pass finds nothing to write: 3.
    pub passes: u32,
    /// The most objects that are listed at once: 500.
    pub page_limit: u32,
    /// How long progress may get lost in a crash: how often the checkpoint is saved. 1 s.
    pub checkpoint_interval: Duration,
    /// Whether every KMS v1 provider that is written with has another name than the data was
    /// written under. If only its key changed, a no-op update writes nothing, and the migration is
    /// refused.
    pub kms_v1_names_are_new: bool,
}

impl ApiMigrationOptions {
    /// The default options for these resources of a cluster.
    #[must_use]
    pub fn new(cluster: impl Into<String>, scopes: impl IntoIterator<Item = ApiScope>) -> Self {
        Self {
            scopes: scopes.into_iter().collect(),
            cluster: cluster.into(),
            concurrency: 8,
            rate: None,
            dry_run: false,
            resume: false,
            patience: Duration::from_secs(5 * 60),
            passes: 3,
            page_limit: ScanOptions::DEFAULT_PAGE_LIMIT,
            checkpoint_interval: Duration::from_secs(1),
            kms_v1_names_are_new: false,
        }
    }

    /// Sets how many requests are on their way at once.
    #[must_use]
    pub const fn with_concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests;
        self
    }

    /// Sets the most objects that are rewritten in a second.
    #[must_use]
    pub fn with_rate(mut self, per_second: impl Into<Option<NonZeroU32>>) -> Self {
        self.rate = per_second.into();
        self
    }

    /// Sets whether to change nothing.
    #[must_use]
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets whether to go on from the checkpoint.
    #[must_use]
    pub const fn with_resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Sets how long to wait for a server that does not answer.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how often to go through all objects, at the most.
    #[must_use]
    pub const fn with_passes(mut self, passes: u32) -> Self {
        self.passes = passes;
        self
    }

    /// Sets the most objects that are listed at once.
    #[must_use]
    pub const fn with_page_limit(mut self, objects: u32) -> Self {
        self.page_limit = objects;
        self
    }

    /// Sets how often the checkpoint is saved.
    #[must_use]
    pub const fn with_checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = interval;
        self
    }

    /// Says that every KMS v1 provider that is written with has a new name.
    #[must_use]
    pub const fn with_new_kms_v1_names(mut self, are_new: bool) -> Self {
        self.kms_v1_names_are_new = are_new;
        self
    }

    /// Refuses what cannot come to anything.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.kms_v1_names_are_new {
            return Ok(());
        }
        let Some((scope, name)) = self
            .scopes
            .iter()
            .find_map(|scope| Some((scope, scope.kms_v1()?)))
        else {
            return Ok(());
        };
        let message = format!(
            "{} is written with KMS v1 `{name}`: to an API server, what is stored under this name is fresh whatever key it is under, and a no-op update writes nothing",
            scope.resource
        );
        let remedy = "give the new key another provider name, put that provider first, keep the old one behind it, and say that the name is new; or migrate over etcd, or move to KMS v2";
        let cause = CoreError::new(CoreErrorKind::Unsupported, "nothing would be rewritten");
        Err(Error::provider(message, cause.with_remedy(remedy)))
    }
}
