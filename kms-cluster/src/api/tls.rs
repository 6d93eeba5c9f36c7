//! TLS by `ring`, whatever else the program has chosen for itself.

use std::sync::Arc;

use kms_core::{Error, ErrorKind};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::target::{ApiTarget, ClientCertificate};

/// TLS 1.2 and 1.3; `certificate` is what we show.
pub(super) fn config(
    target: &ApiTarget,
    certificate: Option<&ClientCertificate>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(target, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let unfit = |what: &str| Error::new(ErrorKind::InvalidInput, what);
            let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.expose())
                .map_err(|_may_show_it| unfit("there is no private key in PEM"))?;
            builder
                .with_client_auth_cert(certificate.chain.clone(), key)
                .map_err(|_| {
                    unfit("the key of the client certificate is not its own, or of no known kind")
                })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(
    target: &ApiTarget,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if target.skips_verification {
        return Ok(Arc::new(TrustsAnyone(Arc::clone(provider))));
    }
    let Some(authorities) = &target.authorities else {
        return rustls_platform_verifier::Verifier::new(Arc::clone(provider))
            .map(|verifier| Arc::new(verifier) as Arc<dyn ServerCertVerifier>)
            .map_err(|source| {
                Error::new(
                    ErrorKind::Io,
                    "this machine's trusted certificates cannot be read",
                )
                .with_remedy("install the package ca-certificates, or name the cluster's certificate authority")
                .with_source(source)
            });
    };
    let mut store = RootCertStore::empty();
    for certificate in authorities {
        store.add(certificate.clone()).map_err(|_| {
            Error::new(
                ErrorKind::InvalidInput,
                "a certificate authority's certificate cannot be used",
            )
        })?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), Arc::clone(provider))
        .build()
        .map_err(broken)?;
    Ok(verifier)
}

fn broken(source: impl core::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "TLS cannot be set up").with_source(source)
}

/// For `insecure-skip-tls-verify`, when it is allowed: any certificate will do, but whoever shows
/// it must still have its key.
#[derive(Debug)]
struct TrustsAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustsAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
