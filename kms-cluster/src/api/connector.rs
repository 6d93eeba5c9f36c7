//! HTTP clients for one target.

use std::net::SocketAddr;
use std::sync::Arc;

use kms_core::{Error, ErrorKind};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url};

use super::options::ApiOptions;
use super::target::{ApiTarget, ClientCertificate};
use super::tls;

/// The most headers of an answer; API servers send a dozen. Their length is bounded by the HTTP
/// library, to some 400 KiB in all.
const MAX_HEADERS: usize = 100;

/// What it takes to make a client: again, when a plugin gives another certificate.
#[derive(Debug)]
pub(super) struct Connector {
    target: ApiTarget,
    options: ApiOptions,
}

impl Connector {
    pub(super) fn new(target: ApiTarget, options: ApiOptions) -> Result<Self, Error> {
        if target.skips_verification && !options.allows_insecure_tls {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the cluster's entry has `insecure-skip-tls-verify`: whoever is in between could act with your token",
            )
            .with_remedy("give the cluster's certificate authority instead, or allow insecure TLS explicitly"));
        }
        if target.tls_server_name.is_some() && (target.proxy.is_some() || options.proxy.is_some()) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a TLS server name and a proxy are not supported together",
            )
            .with_remedy("use a URL whose host is in the server's certificate"));
        }
        Ok(Self { target, options })
    }

    pub(super) const fn target(&self) -> &ApiTarget {
        &self.target
    }

    pub(super) const fn options(&self) -> &ApiOptions {
        &self.options
    }

    /// Where requests go: the target's URL, with the name that its certificate must have as host.
    /// The resolver leads from there to the server.
    pub(super) fn base(&self) -> Result<Url, Error> {
        let mut base = self.target.server.clone();
        if let Some(name) = &self.target.tls_server_name {
            base.set_host(Some(name)).map_err(|_| {
                Error::new(
                    ErrorKind::InvalidInput,
                    "the TLS server name cannot be a host",
                )
            })?;
        }
        Ok(base)
    }

    /// The `Host` header, if it is not that of [`base`](Self::base).
    pub(super) fn host(&self) -> Option<String> {
        self.target.tls_server_name.as_ref()?;
        let server = &self.target.server;
        let host = server.host_str()?;
        Some(match server.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        })
    }

    /// A client that shows this certificate, or that of the target.
    pub(super) fn client(&self, certificate: Option<&ClientCertificate>) -> Result<Client, Error> {
        let certificate = certificate.or(self.target.certificate.as_ref());
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls::config(&self.target, certificate)?)
            .http1_only()
            .http1_max_headers(MAX_HEADERS)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.options.connect_timeout)
            .user_agent(concat!("kms/", env!("CARGO_PKG_VERSION")))
            // What is unpacked would have to be bounded, too.
            .no_gzip()
            .no_deflate()
            .no_brotli()
            .no_zstd()
            // The environment is the program's to read.
            .no_proxy();
        if let Some(proxy) = self.proxy()? {
            builder = builder.proxy(proxy);
        }
        if self.target.tls_server_name.is_some() {
            let host = self.target.server.host_str().unwrap_or_default();
            builder = builder.dns_resolver(Arc::new(Elsewhere {
                host: host.trim_matches(['[', ']']).into(),
            }));
        }
        builder.build().map_err(|source| {
            Error::new(ErrorKind::Internal, "the HTTP client cannot be set up").with_source(source)
        })
    }

    fn proxy(&self) -> Result<Option<reqwest::Proxy>, Error> {
        let (url, except) = match (&self.target.proxy, &self.options.proxy) {
            (Some(url), _) => (url, None),
            (None, Some((url, except))) => (url, reqwest::NoProxy::from_string(except)),
            (None, None) => return Ok(None),
        };
        let proxy = reqwest::Proxy::https(url.as_str()).map_err(|_may_show_a_password| {
            Error::new(ErrorKind::InvalidInput, "the proxy is not a URL")
                .with_remedy("give http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
        })?;
        Ok(Some(proxy.no_proxy(except)))
    }
}

/// Leads every name to one host.
struct Elsewhere {
    host: Arc<str>,
}

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let host = Arc::clone(&self.host);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((&*host, 0)).await?.collect();
            let all: Addrs = Box::new(found.into_iter());
            Ok(all)
        })
    }
}
