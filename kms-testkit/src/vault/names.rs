//! Host names and URLs.

use super::access::Kind;

/// How the double is called: everything ends in one domain, and has one port.
#[derive(Clone, Debug)]
pub(super) struct Names {
    domain: String,
    port: u16,
}

impl Names {
    pub(super) const fn new(domain: String, port: u16) -> Self {
        Self { domain, port }
    }

    /// The zone that stores of this kind live in, which is also the host of their resource.
    pub(super) fn zone(&self, kind: Kind) -> String {
        match kind {
            Kind::KeyVault => format!("vault.{}", self.domain),
            Kind::ManagedHsm => format!("managedhsm.{}", self.domain),
        }
    }

    pub(super) fn store_host(&self, kind: Kind, name: &str) -> String {
        format!("{name}.{}", self.zone(kind))
    }

    pub(super) fn login_host(&self) -> String {
        format!("login.{}", self.domain)
    }

    pub(super) fn admin_host(&self) -> String {
        format!("admin.{}", self.domain)
    }

    /// The URL of a host; without a port if it is the usual one.
    pub(super) fn url(&self, host: &str) -> String {
        match self.port {
            443 => format!("https://{host}"),
            port => format!("https://{host}:{port}"),
        }
    }
}
