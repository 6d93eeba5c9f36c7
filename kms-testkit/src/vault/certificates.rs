//! The double's own certificate authority, and the certificate that its listener shows.

use std::sync::Arc;

use kms_core::{Error, ErrorKind};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What clients trust, and what the listener serves with.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) ca_pem: String,
    pub(super) tls: Arc<ServerConfig>,
}

/// Makes an authority and one certificate for all `names`, which may hold wildcards.
pub(super) fn issue(names: Vec<String>) -> Result<Certificates, Error> {
    let failed = |source| failure("making the certificates").with_source(source);
    let ca_key = KeyPair::generate().map_err(failed)?;
    let mut ca = params(Vec::new(), "kms-testkit loopback CA").map_err(failed)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let ca_certificate = ca.self_signed(&ca_key).map_err(failed)?;
    let ca_pem = ca_certificate.pem();
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate().map_err(failed)?;
    let mut leaf = params(names, "kms-testkit loopback vault").map_err(failed)?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let certificate = leaf.signed_by(&key, &issuer).map_err(failed)?;

    let chain = vec![
        CertificateDer::from(certificate),
        CertificateDer::from(ca_certificate),
    ];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // No process-wide default: the provider is named here.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| failure("configuring TLS").with_source(source))?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Certificates {
        ca_pem,
        tls: Arc::new(tls),
    })
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

fn failure(what: &'static str) -> Error {
    Error::new(ErrorKind::Internal, what)
}
