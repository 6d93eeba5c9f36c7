//! TLS by `ring`, whatever else the program has chosen for itself.

use std::sync::Arc;

use kms_core::{Error, ErrorKind};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

use super::options::Roots;

/// TLS 1.2 and 1.3, no client certificate.
pub(super) fn config(roots: &Roots) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(roots, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| {
            Error::new(ErrorKind::Internal, "TLS cannot be set up").with_source(source)
        })?
        // "Dangerous" is a verifier that does not verify; both of these do.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

fn verifier(
    roots: &Roots,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    match roots {
        Roots::Platform(extra) => {
            let extra = extra.iter().cloned();
            rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())
                .map(|verifier| Arc::new(verifier) as Arc<dyn ServerCertVerifier>)
                .map_err(|source| {
                    Error::new(
                        ErrorKind::Io,
                        "this machine's trusted certificates cannot be read",
                    )
                    .with_remedy("install the package ca-certificates, or give a CA file")
                    .with_source(source)
                })
        }
        Roots::Only(only) => only_these(only, provider),
    }
}

fn only_these(
    certificates: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let refused = |_| {
        Error::new(
            ErrorKind::InvalidInput,
            "CA certificates: one is not a CA's",
        )
    };
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone()).map_err(refused)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), provider.clone())
        .build()
        .map_err(|source| {
            Error::new(ErrorKind::Internal, "TLS cannot be set up").with_source(source)
        })?;
    Ok(verifier)
}
