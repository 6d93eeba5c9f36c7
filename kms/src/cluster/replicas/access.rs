//! How API servers are asked for their metrics.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use kms_core::SecretBytes;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::Failure;

/// The longest answer that is taken, in bytes.
pub(super) const MAX_METRICS: usize = 64 << 20;
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Whom to believe, and who we are.
///
/// No certificate authority of the system is trusted: a cluster has one of its own, which kubeadm
/// keeps in `/etc/kubernetes/pki/ca.crt`. Redirects are not followed, and proxies of the
/// environment are not used. The token is sent over TLS only.
#[derive(Clone)]
pub struct MetricsAccess {
    client: Client,
    is_secure: bool,
    token: Option<Arc<SecretBytes>>,
}

impl MetricsAccess {
    /// Trusts the API servers whose certificate one of these authorities has signed, in PEM; and
    /// none if there is none, so that only `http://` on this machine can be asked.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is no certificate in it.
    pub fn new(authority_pem: Option<&[u8]>) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        if let Some(pem) = authority_pem {
            let refuse = |what: &str| {
                Failure::new(
                    "invalid_input",
                    format!("the certificate authority of the API servers {what}"),
                    "give a file of certificates in PEM, such as /etc/kubernetes/pki/ca.crt",
                )
            };
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| refuse("is not PEM"))?;
                roots
                    .add(certificate)
                    .map_err(|_| refuse("holds a certificate that is no authority's"))?;
            }
            if roots.is_empty() {
                return Err(refuse("holds no certificate"));
            }
        }
        let internal = |what: &dyn fmt::Display| {
            Failure::new(
                "internal",
                format!("TLS cannot be set up: {what}"),
                "report this as a defect",
            )
        };
        let is_secure = !roots.is_empty();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| internal(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .no_proxy()
            .build()
            .map_err(|error| internal(&error))?;
        Ok(Self {
            client,
            is_secure,
            token: None,
        })
    }

    /// Sends a bearer token, such as a service account's that may get `/metrics`.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it is empty, or holds what a header cannot.
    pub fn with_token(mut self, token: SecretBytes) -> Result<Self, Failure> {
        authorization(&token)?;
        self.token = Some(Arc::new(token));
        Ok(self)
    }

    /// The metrics at this URL. May take for ever: the caller has a deadline.
    pub(super) async fn get(&self, url: &Url) -> Result<Zeroizing<String>, Failure> {
        let is_tls = url.scheme() == "https";
        if is_tls && !self.is_secure {
            return Err(Failure::usage(
                "there is no certificate authority to know the API server by",
                "give --metrics-ca FILE, such as /etc/kubernetes/pki/ca.crt",
            ));
        }
        let mut request = self.client.get(url.clone());
        if let (true, Some(token)) = (is_tls, &self.token) {
            request = request.header(AUTHORIZATION, authorization(token)?);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Failure::new(
                    "permission_denied",
                    format!("it answers {}", response.status()),
                    "give --metrics-token-file with the token of an account whose role may get the non-resource URL /metrics",
                ));
            }
            status => {
                return Err(Failure::new(
                    "unavailable",
                    format!("it answers {status}"),
                    "check the URL, and the health of the API server",
                ));
            }
        }
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len().saturating_add(chunk.len()) > MAX_METRICS {
                return Err(not_metrics("its answer is longer than any metrics"));
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(core::mem::take(&mut *body))
            .map(Zeroizing::new)
            .map_err(|_| not_metrics("its answer is not text"))
    }
}

fn authorization(token: &SecretBytes) -> Result<HeaderValue, Failure> {
    let refuse = || {
        Failure::new(
            "invalid_input",
            "the token is empty or no text of one line",
            "give the file that holds the token and nothing else",
        )
    };
    let token = token.expose().trim_ascii();
    if token.is_empty() {
        return Err(refuse());
    }
    let header = Zeroizing::new([b"Bearer ", token].concat());
    let mut header = HeaderValue::from_bytes(&header).map_err(|_| refuse())?;
    header.set_sensitive(true);
    Ok(header)
}

fn not_metrics(what: &str) -> Failure {
    Failure::new("protocol", what, "check the URL")
}

fn unreachable(error: reqwest::Error) -> Failure {
    Failure::new(
        "unavailable",
        format!("it cannot be asked: {}", innermost(&error)),
        "check the address, the certificate authority, and that the API server runs",
    )
}

/// The innermost cause is the telling one.
fn innermost(error: &dyn core::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl fmt::Debug for MetricsAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsAccess")
            .field("is_secure", &self.is_secure)
            .field("has_token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}
