//! The way to vaults, as it is said on a command line.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kms_azure::compat::{UpstreamOptions, UpstreamProvider};
use kms_azure::credential::{
    AssertionAlgorithm, Authority, Credential, Identity, SecretSource, system_assigned_is_refused,
};
use kms_azure::doctor::{Caller, DoctorOptions};
use kms_azure::key_url::{KeyUrl, Service, VaultHosts};
use kms_azure::provider::{AesMode, AesSize, KeyVaultProvider, Operations, ProviderOptions};
use kms_azure::transport::{Transport, TransportOptions};
use kms_azure::vault::{Vault, VaultOptions};
use kms_core::{Clock, OsRandom};

use crate::{Failure, read_text};

/// How vaults are reached, and who asks. Everything has a default but the identity.
#[derive(Clone, Default)]
pub struct AzureOptions {
    /// `workload`, `managed:CLIENT_ID`, `managed-object:ID`, `managed-resource:ID`, `secret:FILE`,
    /// `certificate:FILE` or `cli`.
    pub identity: Option<String>,
    /// The tenant, where the identity needs one.
    pub tenant: Option<String>,
    /// The client id, where the identity needs one.
    pub client_id: Option<String>,
    /// The file with a service account's token, for `workload`.
    pub token_file: Option<PathBuf>,
    /// The token service, if not that of the vault's cloud.
    pub authority: Option<String>,
    /// A PEM file of CA certificates to trust besides.
    pub ca: Option<PathBuf>,
    /// An HTTP proxy; may hold a password.
    pub proxy: Option<String>,
    /// What is reached without the proxy.
    pub no_proxy: Option<String>,
    /// Further domains of Key Vaults.
    pub vault_domains: Vec<String>,
    /// Further domains of Managed HSMs.
    pub hsm_domains: Vec<String>,
    /// `HOST=ADDRESS:PORT`, instead of DNS.
    pub addresses: Vec<String>,
    /// How often to look for a new version.
    pub poll: Option<Duration>,
    /// How long after its creation a version becomes active.
    pub activation_delay: Option<Duration>,
    /// The time for one call, retries included.
    pub budget: Option<Duration>,
    /// Which operations are used.
    pub operations: AzureOperations,
    /// How AES keys wrap.
    pub aes: AzureAes,
    /// Wrap in the vault even where the public key would do.
    pub wrap_remotely: bool,
    /// Versions that opened data of KMS v1 before: of Azure/kubernetes-kms.
    pub v1_versions: Vec<String>,
    /// Write as Azure/kubernetes-kms does, to be able to go back to it.
    pub write_upstream: bool,
}

/// Which operations of a vault are used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AzureOperations {
    /// `wrapKey` and `unwrapKey`.
    #[default]
    Wrap,
    /// `encrypt` and `decrypt`.
    Encrypt,
}

/// How AES keys of a Managed HSM wrap.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the algorithms")]
pub enum AzureAes {
    A128Kw,
    A192Kw,
    #[default]
    A256Kw,
    A128Gcm,
    A192Gcm,
    A256Gcm,
}

impl From<AzureAes> for AesMode {
    fn from(aes: AzureAes) -> Self {
        match aes {
            AzureAes::A128Kw => Self::KeyWrap(AesSize::Aes128),
            AzureAes::A192Kw => Self::KeyWrap(AesSize::Aes192),
            AzureAes::A256Kw => Self::KeyWrap(AesSize::Aes256),
            AzureAes::A128Gcm => Self::Gcm(AesSize::Aes128),
            AzureAes::A192Gcm => Self::Gcm(AesSize::Aes192),
            AzureAes::A256Gcm => Self::Gcm(AesSize::Aes256),
        }
    }
}

/// Without the proxy, which may hold a password.
impl fmt::Debug for AzureOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureOptions")
            .field("identity", &self.identity)
            .field("tenant", &self.tenant)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl AzureOptions {
    /// What it takes to examine a key ([`kms_azure::doctor`]) as these options reach it.
    ///
    /// # Errors
    ///
    /// A usage [`Failure`] that names the option; one that names a file that cannot be read.
    pub fn examination(&self, url: &str, clock: Arc<dyn Clock>) -> Result<DoctorOptions, Failure> {
        let key =
            KeyUrl::parse(url, &self.hosts()?).map_err(|error| usage(error).at("--key-id"))?;
        let caller = match self.identity.as_deref() {
            // The report refuses it, with the reason.
            Some("system") => Caller::SystemAssigned,
            _ => Caller::Identity(identity(self)?),
        };
        let mut options = DoctorOptions::new(key, caller, clock)
            .with_transport(self.transport()?)
            .with_aes(self.aes.into())
            .with_operations(self.operations.into());
        if let Some(poll) = self.poll {
            options = options.with_poll_interval(poll);
        }
        if self.wrap_remotely {
            options = options.wrapping_remotely();
        }
        if let Some(url) = &self.authority {
            let authority = Authority::new(url).map_err(|e| usage(e).at("--azure-authority"))?;
            options = options.with_authority(authority);
        }
        Ok(options)
    }

    fn hosts(&self) -> Result<VaultHosts, Failure> {
        let given = |domains: &[String], service| {
            domains
                .iter()
                .map(move |domain| (domain.clone(), service))
                .collect::<Vec<_>>()
        };
        given(&self.vault_domains, Service::KeyVault)
            .into_iter()
            .chain(given(&self.hsm_domains, Service::ManagedHsm))
            .try_fold(VaultHosts::default(), |hosts, (domain, service)| {
                hosts.with_domain(&domain, service)
            })
            .map_err(usage)
    }

    fn transport(&self) -> Result<TransportOptions, Failure> {
        let mut options = TransportOptions::default();
        if let Some(ca) = &self.ca {
            let pem = read_text(ca)?;
            let trusted = options.with_extra_ca_pem(pem.as_bytes());
            options = trusted.map_err(|error| Failure::from(error).at(ca.display()))?;
        }
        if let Some(proxy) = &self.proxy {
            options = options.with_proxy(proxy, self.no_proxy.as_deref().unwrap_or_default());
        }
        for text in &self.addresses {
            let (host, address) = parse_address(text)?;
            options = options.with_address(host, address);
        }
        Ok(options)
    }
}

impl From<AzureOperations> for Operations {
    fn from(operations: AzureOperations) -> Self {
        match operations {
            AzureOperations::Wrap => Self::WrapUnwrap,
            AzureOperations::Encrypt => Self::EncryptDecrypt,
        }
    }
}

/// What providers of one program share: transport, tokens, vaults.
#[derive(Debug)]
pub(super) struct Session {
    options: AzureOptions,
    transport: Option<Transport>,
    credentials: BTreeMap<String, Credential>,
    vaults: BTreeMap<String, Vault>,
}

impl Session {
    pub(super) const fn new(options: AzureOptions) -> Self {
        Self {
            options,
            transport: None,
            credentials: BTreeMap::new(),
            vaults: BTreeMap::new(),
        }
    }

    pub(super) fn open(
        &mut self,
        url: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<(UpstreamProvider, KeyUrl), Failure> {
        let key = KeyUrl::parse(url, &self.options.hosts()?).map_err(usage)?;
        let vault = self.vault(&key, clock)?;
        let provider = KeyVaultProvider::new(vault.clone(), key.clone(), self.provider_options());
        let upstream = self.upstream_options()?;
        // Data of Azure/kubernetes-kms names its key by a hash, and opens beside our own.
        let provider = UpstreamProvider::new(provider.map_err(usage)?, vault, &key, upstream);
        Ok((provider.map_err(usage)?, key))
    }

    fn upstream_options(&self) -> Result<UpstreamOptions, Failure> {
        let given = &self.options;
        let mut options = UpstreamOptions::default().with_operations(given.operations.into());
        if let Some(budget) = given.budget {
            options = options.with_budget(budget);
        }
        if given.write_upstream {
            options = options.writing();
        }
        for version in &given.v1_versions {
            let version = version
                .parse()
                .map_err(|error| usage(error).at("--azure-v1-version"))?;
            options = options.with_v1_version(version);
        }
        Ok(options)
    }

    fn provider_options(&self) -> ProviderOptions {
        let given = &self.options;
        let mut options = ProviderOptions::default()
            .with_operations(given.operations.into())
            .with_aes(given.aes.into());
        if let Some(poll) = given.poll {
            options = options.with_poll_interval(poll);
        }
        if let Some(delay) = given.activation_delay {
            options = options.with_activation_delay(delay);
        }
        if let Some(budget) = given.budget {
            options = options.with_budget(budget);
        }
        if given.wrap_remotely {
            options = options.wrapping_remotely();
        }
        options
    }

    fn vault(&mut self, key: &KeyUrl, clock: Arc<dyn Clock>) -> Result<Vault, Failure> {
        let host = key.host().to_string();
        if let Some(vault) = self.vaults.get(&host) {
            return Ok(vault.clone());
        }
        let transport = self.transport()?;
        let credential = self.credential(key, &transport, &clock)?;
        let options = VaultOptions::new(clock);
        let vault = Vault::new(key.host().clone(), &credential, &transport, options)?;
        self.vaults.insert(host, vault.clone());
        Ok(vault)
    }

    fn credential(
        &mut self,
        key: &KeyUrl,
        transport: &Transport,
        clock: &Arc<dyn Clock>,
    ) -> Result<Credential, Failure> {
        let authority = match &self.options.authority {
            Some(url) => Authority::new(url).map_err(|e| usage(e).at("--azure-authority"))?,
            None => Authority::of(key.host().cloud()),
        };
        if let Some(credential) = self.credentials.get(authority.as_str()) {
            return Ok(credential.clone());
        }
        let identity = identity(&self.options)?;
        let name = authority.as_str().to_owned();
        let random = Arc::new(OsRandom);
        let credential = Credential::new(identity, authority, transport, Arc::clone(clock), random);
        self.credentials.insert(name, credential.clone());
        Ok(credential)
    }

    fn transport(&mut self) -> Result<Transport, Failure> {
        if let Some(transport) = &self.transport {
            return Ok(transport.clone());
        }
        let transport = Transport::new(&self.options.transport()?)?;
        self.transport = Some(transport.clone());
        Ok(transport)
    }
}

/// Wrong usage, with the remedy of the error.
fn usage(error: kms_core::Error) -> Failure {
    Failure::usage(error.to_string(), error.remedy())
}

fn parse_address(text: &str) -> Result<(&str, SocketAddr), Failure> {
    let parsed = text.split_once('=').and_then(|(host, address)| {
        let address = address.parse().ok()?;
        (!host.is_empty()).then_some((host, address))
    });
    parsed.ok_or_else(|| {
        Failure::usage(
            "--azure-address is not HOST=ADDRESS:PORT",
            "give for example myvault.vault.azure.net=10.0.0.4:443",
        )
    })
}

const IDENTITIES: &str = "give workload, managed:CLIENT_ID, managed-object:OBJECT_ID, \
    managed-resource:RESOURCE_ID, secret:FILE, certificate:FILE or cli";

fn identity(options: &AzureOptions) -> Result<Identity, Failure> {
    let Some(text) = &options.identity else {
        return Err(Failure::usage(
            "a key in a vault needs an identity: --azure-identity is missing",
            IDENTITIES,
        ));
    };
    let (kind, rest) = match text.split_once(':') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (text.as_str(), None),
    };
    let tenant = || needed(options.tenant.as_deref(), "--azure-tenant", kind);
    let client = || needed(options.client_id.as_deref(), "--azure-client-id", kind);
    let identity = match (kind, rest) {
        // Without an id this is the system-assigned one.
        ("managed" | "system", None) => return Err(usage(system_assigned_is_refused())),
        ("managed", Some(id)) => Identity::managed(id),
        ("managed-object", Some(id)) => Identity::managed_by_object_id(id),
        ("managed-resource", Some(id)) => Identity::managed_by_resource_id(id),
        ("workload", None) => {
            let file = options.token_file.as_deref();
            let file = needed(file, "--azure-token-file", kind)?;
            Identity::workload(tenant()?, client()?, file)
        }
        ("secret", Some(file)) => {
            Identity::client_secret(tenant()?, client()?, SecretSource::file(file))
        }
        ("certificate", Some(file)) => Identity::client_certificate(
            tenant()?,
            client()?,
            SecretSource::file(file),
            AssertionAlgorithm::Ps256,
        ),
        ("cli", None) => Identity::azure_cli(options.tenant.as_deref()),
        // What was given may be a secret: it is not repeated.
        _ => {
            return Err(Failure::usage(
                "--azure-identity is of no known form",
                IDENTITIES,
            ));
        }
    };
    identity.map_err(|error| usage(error).at("--azure-identity"))
}

fn needed<T>(given: Option<T>, option: &str, kind: &str) -> Result<T, Failure> {
    given.ok_or_else(|| {
        Failure::usage(
            format!("--azure-identity {kind} needs {option}"),
            "give it, or set the environment variable that --help names",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn of(text: &str) -> AzureOptions {
        AzureOptions {
            identity: Some(text.to_owned()),
            tenant: Some("contoso.example".to_owned()),
            client_id: Some(CLIENT.to_owned()),
            token_file: Some("/var/run/token".into()),
            ..AzureOptions::default()
        }
    }

    #[test]
    fn every_form_of_identity_is_read() {
        let managed = [
            format!("managed:{CLIENT}"),
            format!("managed-object:{CLIENT}"),
            "managed-resource:/subscriptions/0/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/kms".to_owned(),
        ];
        let others = ["workload", "secret:/a", "certificate:/a:b", "cli"].map(str::to_owned);
        for text in managed.iter().chain(&others) {
            assert!(identity(&of(text)).is_ok(), "{text}");
        }
        for bad in [
            "",
            "managed:",
            "managed:x",
            "workload:x",
            "secret",
            "hunter2",
            "cli:x",
        ] {
            let failure = identity(&of(bad)).unwrap_err();
            assert!(failure.is_usage(), "{bad}");
            assert!(!failure.to_string().contains("hunter2"));
        }
        let nothing = identity(&AzureOptions::default()).unwrap_err();
        assert!(nothing.is_usage());
    }

    /// R8.
    #[test]
    fn a_system_assigned_identity_is_refused_with_its_reason() {
        for text in ["managed", "system"] {
            let failure = identity(&of(text)).unwrap_err();
            assert!(failure.is_usage());
            assert!(
                failure.to_string().contains("has to exist before"),
                "{failure}"
            );
            assert!(failure.remedy().contains("user-assigned"));
        }
    }

    #[test]
    fn what_an_identity_needs_is_named() {
        for (text, missing) in [
            ("workload", "--azure-token-file"),
            ("secret:/a", "--azure-tenant"),
            ("certificate:/a", "--azure-tenant"),
        ] {
            let options = AzureOptions {
                identity: Some(text.to_owned()),
                ..AzureOptions::default()
            };
            let failure = identity(&options).unwrap_err();
            assert!(failure.to_string().contains(missing), "{failure}");
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let (host, address) = parse_address("kv1.vault.azure.net=10.0.0.4:443").unwrap();
        assert_eq!((host, address.port()), ("kv1.vault.azure.net", 443));
        for bad in ["", "a", "a=b", "=10.0.0.4:443", "a=10.0.0.4"] {
            assert!(parse_address(bad).unwrap_err().is_usage(), "{bad}");
        }
    }

    #[test]
    fn a_proxys_password_is_not_shown() {
        let options = AzureOptions {
            proxy: Some("http://u:hunter2@proxy".to_owned()),
            ..AzureOptions::default()
        };
        assert!(!format!("{options:?} {:?}", Session::new(options.clone())).contains("hunter2"));
    }
}
