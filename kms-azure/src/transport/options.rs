//! How to reach vaults and token services.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use kms_core::{Error, ErrorKind};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::resolver::{NameNotResolved, look_up};

/// Whose certificates are trusted.
#[derive(Clone)]
pub(super) enum Roots {
    /// Those that this machine trusts, and these.
    Platform(Vec<CertificateDer<'static>>),
    /// These alone.
    Only(Vec<CertificateDer<'static>>),
}

/// How a [`Transport`](super::Transport) reaches vaults and token services.
///
/// By default it trusts what this machine trusts, uses no proxy, asks this machine's DNS, and
/// gives up on a connection after 5 s.
#[derive(Clone)]
pub struct TransportOptions {
    pub(super) roots: Roots,
    pub(super) proxy: Option<Proxy>,
    pub(super) addresses: BTreeMap<String, SocketAddr>,
    pub(super) connect_timeout: Duration,
}

#[derive(Clone)]
pub(super) struct Proxy {
    /// May hold a password.
    pub(super) url: String,
    pub(super) except: String,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            roots: Roots::Platform(Vec::new()),
            proxy: None,
            addresses: BTreeMap::new(),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl TransportOptions {
    /// Trusts the CA certificates of this PEM text too, such as those of a proxy that opens TLS.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it holds no certificate or cannot be read.
    pub fn with_extra_ca_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        self.roots = Roots::Platform(read_certificates(pem)?);
        Ok(self)
    }

    /// Trusts the CA certificates of this PEM text and no other.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it holds no certificate or cannot be read.
    pub fn with_only_ca_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        self.roots = Roots::Only(read_certificates(pem)?);
        Ok(self)
    }

    /// Sends `https` requests through this HTTP proxy, such as `http://user:password@proxy:3128`.
    /// `except` lists hosts and domains to reach without it, separated by commas, as `NO_PROXY`
    /// does. The metadata service of managed identities is never asked through it.
    #[must_use]
    pub fn with_proxy(mut self, url: impl Into<String>, except: impl Into<String>) -> Self {
        self.proxy = Some(Proxy {
            url: url.into(),
            except: except.into(),
        });
        self
    }

    /// Connects to this address for this host instead of asking DNS: for a private endpoint
    /// without a private DNS zone, and for tests. Port 0 stands for the URL's own. The certificate
    /// must still be the host's.
    #[must_use]
    pub fn with_address(mut self, host: &str, address: SocketAddr) -> Self {
        self.addresses.insert(host.to_ascii_lowercase(), address);
        self
    }

    /// The addresses that a host is reached at.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Vec<SocketAddr>, NameNotResolved> {
        look_up(&self.addresses, host).await
    }

    /// Whether a proxy stands between, which resolves names itself.
    pub(crate) const fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }

    /// How long making a connection may take.
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }
}

/// Without the proxy's URL, which may hold a password.
impl fmt::Debug for TransportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (machine, certificates) = match &self.roots {
            Roots::Platform(extra) => (true, extra),
            Roots::Only(only) => (false, only),
        };
        f.debug_struct("TransportOptions")
            .field("trusts_what_this_machine_trusts", &machine)
            .field("ca_certificates", &certificates.len())
            .field("proxy", &self.proxy.is_some())
            .field("addresses", &self.addresses)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let fault = |what: &str| {
        Error::new(ErrorKind::InvalidInput, format!("CA certificates: {what}"))
            .with_remedy("give a PEM file with one or more `BEGIN CERTIFICATE` blocks")
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| fault("this is not PEM"))?;
    if certificates.is_empty() {
        return Err(fault("there is none in this file"));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_not_shown() {
        let options = TransportOptions::default().with_proxy("http://u:hunter2@proxy:1", "");
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn a_ca_file_holds_certificates() {
        for bad in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        ] {
            let error = TransportOptions::default()
                .with_extra_ca_pem(bad.as_bytes())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
        }
    }
}
