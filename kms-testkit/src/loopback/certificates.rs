//! A loopback service's own certificate authority, and what it signs.

use core::fmt;
use std::sync::Arc;

use kms_core::{Error, ErrorKind};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority that a client of the service trusts.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(Vec::new(), "kms-testkit loopback CA").map_err(failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            pem: certificate.pem(),
            certificate: certificate.into(),
            issuer: Issuer::new(params, key),
        })
    }

    pub(crate) fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// What a listener serves with: one certificate for all `names`, which may hold wildcards and
    /// addresses. With `takes_clients`, whoever connects may show a certificate of this authority.
    pub(crate) fn listener(
        &self,
        names: Vec<String>,
        common_name: &str,
        takes_clients: bool,
    ) -> Result<Arc<ServerConfig>, Error> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut leaf = params(names, common_name).map_err(failed)?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let certificate = leaf.signed_by(&key, &self.issuer).map_err(failed)?;
        let chain = vec![CertificateDer::from(certificate), self.certificate.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // No process-wide default: the provider is named here.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unfit)?;
        let builder = if takes_clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).map_err(unfit)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(unfit)?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut tls = builder.with_single_cert(chain, key).map_err(unfit)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(tls))
    }

    /// A client's certificate and its key, both in PEM.
    #[cfg(feature = "apiserver")]
    pub(crate) fn client(&self, common_name: &str) -> Result<(String, String), Error> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut leaf = params(Vec::new(), common_name).map_err(failed)?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        leaf.use_authority_key_identifier_extension = true;
        let certificate = leaf.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// Valid whatever the client's clock says: the double's own clock is not a client's.
fn params(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    Ok(params)
}

fn failed(source: rcgen::Error) -> Error {
    Error::new(ErrorKind::Internal, "making the certificates").with_source(source)
}

fn unfit(source: impl core::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "configuring TLS").with_source(source)
}
