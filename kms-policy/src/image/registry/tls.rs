//! TLS by `ring`, whatever else the program has chosen for itself.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_pki_types::CertificateDer;
use rustls_platform_verifier::Verifier;

use crate::{Error, ErrorKind};

/// TLS 1.2 and 1.3, no client certificate; trusts what this machine trusts, and these.
pub(super) fn config(extra: &[CertificateDer<'static>]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra.iter().cloned(), Arc::clone(&provider))
        .map_err(|source| {
            Error::new(
                ErrorKind::Io,
                "this machine's trusted certificates cannot be read",
            )
            .with_remedy("install the package ca-certificates")
            .with_source(source)
        })?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| {
            Error::new(ErrorKind::Internal, "TLS cannot be set up").with_source(source)
        })?;
    // "Dangerous" is a verifier that does not verify; this one does.
    let builder = builder.dangerous();
    Ok(builder
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}
