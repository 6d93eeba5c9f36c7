//! How to reach registries.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::DockerConfig;
use crate::image::digest::shown;
use crate::image::reference::is_registry;
use crate::{Error, ErrorKind};

/// How registries are reached: by default over HTTPS alone, with what this machine trusts, without a
/// proxy and without logging in.
#[derive(Default)]
#[non_exhaustive]
pub struct RegistryOptions {
    pub(super) insecure: BTreeSet<String>,
    pub(super) docker_config: DockerConfig,
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) proxy: Option<Proxy>,
    pub(super) first_pause: Option<Duration>,
}

pub(super) struct Proxy {
    /// May hold a password.
    pub(super) url: Zeroizing<String>,
    pub(super) except: String,
}

impl RegistryOptions {
    /// Asks this registry, `HOST` or `HOST:PORT`, over plain HTTP. Whoever is on the way can then read
    /// what is sent, credentials too, and choose what a tag stands for; an image that is pinned to a
    /// digest stays what it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Registry`] if it is no host.
    pub fn with_insecure(mut self, registry: &str) -> Result<Self, Error> {
        if !is_registry(registry) {
            let registry = shown(registry);
            return Err(
                Error::new(ErrorKind::Registry, format!("`{registry}` is no registry"))
                    .with_remedy("give HOST or HOST:PORT, as it stands in the image's name"),
            );
        }
        self.insecure.insert(registry.to_ascii_lowercase());
        Ok(self)
    }

    /// Logs in with what Docker's configuration says.
    #[must_use]
    pub fn with_docker_config(mut self, config: DockerConfig) -> Self {
        self.docker_config = config;
        self
    }

    /// Trusts the CA certificates of this PEM text too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Registry`] if it holds none.
    pub fn with_extra_ca_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        self.roots = found
            .ok()
            .filter(|found| !found.is_empty())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Registry,
                    "the file of CA certificates holds none",
                )
                .with_remedy("give a PEM file with one or more `BEGIN CERTIFICATE` blocks")
            })?;
        Ok(self)
    }

    /// Sends requests over HTTPS through this HTTP proxy, such as `http://user:password@proxy:3128`,
    /// but for hosts and domains that `except` lists with commas between, as `NO_PROXY` does.
    #[must_use]
    pub fn with_proxy(mut self, url: impl Into<String>, except: impl Into<String>) -> Self {
        self.proxy = Some(Proxy {
            url: Zeroizing::new(url.into()),
            except: except.into(),
        });
        self
    }

    /// Sets how long to wait before the first repetition of a request that failed; half a second by
    /// default. Each further one waits twice as long.
    #[must_use]
    pub const fn with_first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = Some(pause);
        self
    }

    /// Whether this registry, or server of tokens, was named as insecure.
    pub(super) fn is_insecure(&self, registry: &str) -> bool {
        self.insecure.contains(registry)
    }
}

/// Without the proxy's URL, which may hold a password.
impl fmt::Debug for RegistryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryOptions")
            .field("insecure", &self.insecure)
            .field("docker_config", &self.docker_config)
            .field("extra_ca_certificates", &self.roots.len())
            .field("proxy", &self.proxy.is_some())
            .finish_non_exhaustive()
    }
}
