//! From arguments and environment to an identity and a way to the vault.

use std::env;
use std::path::PathBuf;

use kms::{Failure, read_text};
use kms_azure::credential::{AssertionAlgorithm, Authority, Identity, SecretSource};
use kms_azure::doctor::Caller;
use kms_azure::key_url::{Service, VaultHosts};
use kms_azure::transport::TransportOptions;

use crate::args::azure::{AzureAccess, IdentityKind};

impl AzureAccess {
    pub(crate) fn hosts(&self) -> Result<VaultHosts, Failure> {
        let domains = self.vault_domain.iter().map(|it| (it, Service::KeyVault));
        let hsms = self.hsm_domain.iter().map(|it| (it, Service::ManagedHsm));
        domains
            .chain(hsms)
            .try_fold(VaultHosts::default(), |hosts, (domain, service)| {
                hosts.with_domain(domain, service)
            })
            .map_err(|error| usage(&error))
    }

    pub(crate) fn authority(&self) -> Result<Option<Authority>, Failure> {
        let url = self
            .authority
            .clone()
            .or_else(|| variable("AZURE_AUTHORITY_HOST"));
        url.map(|url| Authority::new(&url).map_err(|error| usage(&error)))
            .transpose()
    }

    pub(crate) fn transport(&self) -> Result<TransportOptions, Failure> {
        let mut options = TransportOptions::default();
        if let Some(path) = &self.ca_file {
            let pem = read_text(path)?;
            options = options
                .with_extra_ca_pem(pem.as_bytes())
                .map_err(|error| Failure::from(error).at(path.display()))?;
        }
        let proxy = self.proxy.clone().or_else(|| variable("HTTPS_PROXY"));
        if let Some(proxy) = proxy.or_else(|| variable("https_proxy")) {
            let except = variable("NO_PROXY").or_else(|| variable("no_proxy"));
            options = options.with_proxy(proxy, except.unwrap_or_default());
        }
        Ok(self
            .resolve
            .iter()
            .fold(options, |options, (host, address)| {
                options.with_address(host, *address)
            }))
    }

    pub(crate) fn caller(&self) -> Result<Caller, Failure> {
        let made = match self.kind() {
            IdentityKind::System => return Ok(Caller::SystemAssigned),
            IdentityKind::Managed => match (&self.resource_id, &self.client_id) {
                (Some(id), _) => Identity::managed_by_resource_id(id),
                (None, Some(id)) => Identity::managed(id),
                (None, None) => return Err(missing("--client-id or --resource-id")),
            },
            IdentityKind::Workload => Identity::workload(
                &self.tenant()?,
                &self.client()?,
                self.federated_token_file
                    .clone()
                    .or_else(|| variable(TOKEN_FILE).map(PathBuf::from))
                    .ok_or_else(|| missing("--federated-token-file"))?,
            ),
            IdentityKind::Secret => {
                let file = self.client_secret_file.as_ref();
                let file = file.ok_or_else(|| missing("--client-secret-file"))?;
                Identity::client_secret(&self.tenant()?, &self.client()?, SecretSource::file(file))
            }
            IdentityKind::Certificate => {
                let file = self.client_certificate_file.as_ref();
                let file = file.ok_or_else(|| missing("--client-certificate-file"))?;
                Identity::client_certificate(
                    &self.tenant()?,
                    &self.client()?,
                    SecretSource::file(file),
                    AssertionAlgorithm::default(),
                )
            }
            IdentityKind::Cli => Identity::azure_cli(self.tenant_id.as_deref()),
        };
        made.map(Caller::Identity).map_err(|error| usage(&error))
    }

    fn kind(&self) -> IdentityKind {
        self.identity.unwrap_or_else(|| {
            if self.federated_token_file.is_some() || variable(TOKEN_FILE).is_some() {
                IdentityKind::Workload
            } else if self.client_id.is_some() || self.resource_id.is_some() {
                IdentityKind::Managed
            } else {
                IdentityKind::Cli
            }
        })
    }

    fn tenant(&self) -> Result<String, Failure> {
        let given = self.tenant_id.clone();
        given
            .or_else(|| variable("AZURE_TENANT_ID"))
            .ok_or_else(|| missing("--tenant-id"))
    }

    fn client(&self) -> Result<String, Failure> {
        let given = self.client_id.clone();
        given
            .or_else(|| variable("AZURE_CLIENT_ID"))
            .ok_or_else(|| missing("--client-id"))
    }
}

const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn missing(flag: &str) -> Failure {
    Failure::usage(
        format!("{flag} is missing for this identity"),
        "give it, or another --identity",
    )
}

/// What is wrong with an argument.
pub(crate) fn usage(error: &kms_core::Error) -> Failure {
    Failure::usage(error.message(), error.remedy())
}
