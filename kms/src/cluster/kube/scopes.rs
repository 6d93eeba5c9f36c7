//! From what was asked for to resources of a server.

use kms_cluster::api::{KubeApi, ServedResource};
use kms_core::{CallOptions, ErrorKind};
use kms_envelope::kubernetes::EncryptionConfiguration;
use kms_envelope::reencrypt::ApiScope;

use crate::Failure;

/// What is to be rewritten.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct KubeSelection {
    /// These resources; otherwise all that the configuration encrypts, or Secrets without one.
    pub resources: Vec<String>,
    /// Only these namespaces; none are all.
    pub namespaces: Vec<String>,
    /// What API servers read and write with.
    pub config: Option<EncryptionConfiguration>,
}

impl KubeSelection {
    /// All that this configuration encrypts, or Secrets without one.
    #[must_use]
    pub const fn new(config: Option<EncryptionConfiguration>) -> Self {
        Self {
            resources: Vec::new(),
            namespaces: Vec::new(),
            config,
        }
    }

    /// Only these resources; none are all.
    #[must_use]
    pub fn with_resources(mut self, names: Vec<String>) -> Self {
        self.resources = names;
        self
    }

    /// Only these namespaces; none are all.
    #[must_use]
    pub fn with_namespaces(mut self, names: Vec<String>) -> Self {
        self.namespaces = names;
        self
    }

    /// The resources of this server that are meant, and in words what is left out.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: the server cannot be asked, has not got a resource that is named, or there is
    /// nothing to rewrite.
    pub async fn find(&self, api: &KubeApi) -> Result<(Vec<ApiScope>, Vec<String>), Failure> {
        let (served, mut omitted) = self.served(api).await?;
        let mut scopes: Vec<ApiScope> = Vec::new();
        for found in served {
            let name = found.resource.to_string();
            let why = if !found.can_be_rewritten {
                "cannot be listed and patched, so it is not stored, or not here"
            } else if !found.is_namespaced && !self.namespaces.is_empty() {
                "has no namespaces"
            } else {
                if scopes.iter().all(|scope| scope.resource != found.resource) {
                    scopes.push(self.scope(found));
                }
                continue;
            };
            if self.resources.contains(&name) {
                return Err(Failure::usage(
                    format!("{name} {why}"),
                    "leave it out, or change what is asked for",
                ));
            }
            omitted.push(format!("{name}: {why}"));
        }
        if scopes.is_empty() {
            return Err(Failure::usage(
                "there is nothing to rewrite",
                "name resources with --resource",
            ));
        }
        // Whatever the order in which they were named, a checkpoint is of the same migration.
        scopes.sort_by(|a, b| a.resource.cmp(&b.resource));
        Ok((scopes, omitted))
    }

    fn scope(&self, found: ServedResource) -> ApiScope {
        let scope = ApiScope::new(found.resource, found.is_namespaced)
            .with_namespaces(self.namespaces.iter().cloned());
        match &self.config {
            Some(config) => scope.with_configuration(config),
            None => scope,
        }
    }

    async fn served(&self, api: &KubeApi) -> Result<(Vec<ServedResource>, Vec<String>), Failure> {
        let call = CallOptions::default();
        let configured: Vec<String> = self
            .config
            .iter()
            .flat_map(|config| &config.resources)
            .flat_map(|entry| entry.resources.iter().cloned())
            .collect();
        let (names, are_asked_for) = match (&self.resources[..], &self.config) {
            ([], Some(_)) => (configured, false),
            ([], None) => (vec!["secrets".to_owned()], true),
            (asked, _) => (asked.to_vec(), true),
        };
        let mut omitted = Vec::new();
        if names.iter().any(|name| name.contains('*')) {
            if are_asked_for {
                return Err(Failure::usage(
                    "--resource takes names, and no wildcards",
                    "leave --resource away to take all that the configuration encrypts",
                ));
            }
            let mut found = api.discover(&call).await?;
            omitted.extend(
                found
                    .unserved
                    .iter()
                    .map(|group| format!("{group}: is not served at the moment")),
            );
            found.resources.retain(|served| {
                let config = self.config.as_ref();
                config.is_some_and(|config| {
                    let (group, plural) = (served.resource.group(), served.resource.plural());
                    !config.providers_for(group, plural).is_empty()
                })
            });
            return Ok((found.resources, omitted));
        }
        let mut served = Vec::new();
        for name in names {
            match api.find_resource(&name, &call).await {
                Ok(found) => served.push(found),
                // A configuration may name what a cluster has not got, or not any more.
                Err(error) if !are_asked_for && error.kind() == ErrorKind::InvalidInput => {
                    omitted.push(format!("{name}: the server has no such resource"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((served, omitted))
    }
}
