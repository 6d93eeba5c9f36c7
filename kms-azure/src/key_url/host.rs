//! Which hosts are vaults.

use core::fmt;
use std::sync::Arc;

use kms_core::Error;

use super::invalid;

/// Which of the two services holds a key. They share one API.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Service {
    /// Azure Key Vault: RSA keys, in software or in shared HSMs.
    KeyVault,
    /// Azure Managed HSM: RSA and AES keys in HSMs of one's own.
    ManagedHsm,
}

/// Which Azure a vault belongs to. It decides who hands out the tokens.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cloud {
    /// The worldwide one.
    Public,
    /// Azure operated by 21Vianet in China.
    China,
    /// Azure Government of the United States.
    UsGovernment,
    /// Azure Germany, closed in 2021; its names still stand in old configurations.
    Germany,
    /// A cloud whose names were given as an option ([`VaultHosts`]).
    Custom,
}

/// Facts of Microsoft's documentation; other Managed HSM domains are left to [`VaultHosts`].
const KNOWN: [(&str, Service, Cloud); 5] = [
    ("vault.azure.net", Service::KeyVault, Cloud::Public),
    ("vault.azure.cn", Service::KeyVault, Cloud::China),
    (
        "vault.usgovcloudapi.net",
        Service::KeyVault,
        Cloud::UsGovernment,
    ),
    ("vault.microsoftazure.de", Service::KeyVault, Cloud::Germany),
    ("managedhsm.azure.net", Service::ManagedHsm, Cloud::Public),
];

/// The domains under which a host is taken for a vault.
///
/// The default knows Key Vault in every Azure cloud, and Managed HSM in the public one. Domains of
/// other clouds, of Azure Stack and of test servers are added.
///
/// ```
/// use kms_azure::key_url::{KeyUrl, Service, VaultHosts};
///
/// let hosts = VaultHosts::default().with_domain("managedhsm.example.net", Service::ManagedHsm)?;
/// let url = KeyUrl::parse("https://hsm1.managedhsm.example.net/keys/etcd", &hosts)?;
/// assert_eq!(url.host().service(), Service::ManagedHsm);
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct VaultHosts {
    custom: Vec<(Arc<str>, Service)>,
}

impl VaultHosts {
    /// Takes this host, and every host one label below it, for a vault of this service. Only such
    /// hosts may have a port.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](kms_core::ErrorKind::InvalidInput) if it is not a host name or
    /// an IPv4 address.
    pub fn with_domain(mut self, domain: &str, service: Service) -> Result<Self, Error> {
        let domain = domain.to_ascii_lowercase();
        if !is_host_name(&domain) {
            return Err(invalid("the custom domain", "is not a host name"));
        }
        self.custom.push((domain.into(), service));
        Ok(self)
    }

    fn find(&self, host: &str) -> Option<(Service, Cloud)> {
        let custom = self.custom.iter().find_map(|(domain, service)| {
            let is_it = host == &**domain || label_below(host, domain).is_some();
            is_it.then_some((*service, Cloud::Custom))
        });
        custom.or_else(|| {
            KNOWN.iter().find_map(|(domain, service, cloud)| {
                let label = label_below(host, domain)?;
                is_vault_name(label).then_some((*service, *cloud))
            })
        })
    }
}

/// A vault's host, in lower case.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct VaultHost {
    name: Arc<str>,
    port: Option<u16>,
    service: Service,
    cloud: Cloud,
}

impl VaultHost {
    /// Takes `host` or `host:port` as it stands in a URL.
    pub(super) fn parse(authority: &str, hosts: &VaultHosts) -> Result<Self, Error> {
        let (name, port) = match authority.split_once(':') {
            Some((name, port)) => (name, Some(parse_port(port)?)),
            None => (authority, None),
        };
        let name = name.to_ascii_lowercase();
        if !is_host_name(&name) {
            return Err(invalid("the host", "is not a host name"));
        }
        let (service, cloud) = hosts.find(&name).ok_or_else(|| {
            invalid(
                "the host",
                "is no vault: it is not NAME.vault.azure.net, NAME.managedhsm.azure.net or under \
                 another known domain; a domain of your own has to be given as an option",
            )
        })?;
        if port.is_some() && cloud != Cloud::Custom {
            return Err(invalid(
                "the port",
                "has no place here: Azure's vaults have none",
            ));
        }
        Ok(Self {
            name: name.into(),
            port,
            service,
            cloud,
        })
    }

    /// The host name, without port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The vault's own name: the first label.
    #[must_use]
    pub fn vault_name(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// The service.
    #[must_use]
    pub const fn service(&self) -> Service {
        self.service
    }

    /// The cloud.
    #[must_use]
    pub const fn cloud(&self) -> Cloud {
        self.cloud
    }

    /// The vault's URL, such as `https://myvault.vault.azure.net`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{self}")
    }
}

/// `host` or `host:port`.
impl fmt::Display for VaultHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn parse_port(port: &str) -> Result<u16, Error> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse::<u16>().ok().filter(|port| *port != 0);
    digits
        .then_some(number)
        .flatten()
        .ok_or_else(|| invalid("the port", "is not a number from 1 to 65535"))
}

/// What stands before `.domain`, if it is one label.
fn label_below<'a>(host: &'a str, domain: &str) -> Option<&'a str> {
    let label = host.strip_suffix(domain)?.strip_suffix('.')?;
    (!label.is_empty() && !label.contains('.')).then_some(label)
}

/// 3 to 24 letters, digits and hyphens.
fn is_vault_name(label: &str) -> bool {
    (3..=24).contains(&label.len())
}

/// RFC 1123, lower case; an IPv4 address is one too.
fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        })
}
