//! TLS: who etcd is, and who we are.

use kms_cluster::etcd::{EtcdStore, EtcdTls};
use kms_core::object::ScanOptions;
use kms_core::{ErrorKind, SecretBytes};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use tempfile::TempDir;

use super::server::Server;
use super::{create, key};

/// A certificate for `127.0.0.1` and `etcd.test`, as PEM, and the authority that issued it.
pub(super) struct Issued {
    pub(super) authority: String,
    pub(super) certificate: String,
    key: String,
}

impl Issued {
    pub(super) fn key(&self) -> SecretBytes {
        SecretBytes::copy_from_slice(self.key.as_bytes())
    }
}

pub(super) fn issued() -> Issued {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(DnType::CommonName, "etcd test authority");
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["etcd.test".to_owned()]).unwrap();
    params
        .subject_alt_names
        .push(SanType::IpAddress([127, 0, 0, 1].into()));
    params.distinguished_name.push(DnType::CommonName, "root");
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Issued {
        authority: authority_pem,
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

/// An etcd that takes only those who show a certificate of its authority.
fn secured(issued: &Issued) -> (Server, TempDir) {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let authority = file("ca.pem", &issued.authority);
    let certificate = file("cert.pem", &issued.certificate);
    let key = file("key.pem", &issued.key);
    let server = Server::start_with(
        "https",
        &[
            &format!("--trusted-ca-file={authority}"),
            &format!("--cert-file={certificate}"),
            &format!("--key-file={key}"),
            "--client-cert-auth",
        ],
        &[
            &format!("--cacert={authority}"),
            &format!("--cert={certificate}"),
            &format!("--key={key}"),
        ],
    );
    (server, directory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn both_sides_show_a_certificate() {
    let issued = issued();
    let (server, _files) = secured(&issued);
    let tls = || EtcdTls::new(issued.authority.clone()).unwrap();
    let shown = |tls: EtcdTls| {
        tls.with_client(issued.certificate.clone(), issued.key())
            .unwrap()
    };
    for tls in [shown(tls()), shown(tls()).with_server_name("etcd.test")] {
        let options = super::options(server.url()).with_tls(tls);
        let store = EtcdStore::connect(options).await.unwrap();
        super::scan(&store, ScanOptions::default()).await;
    }
    let options = super::options(server.url()).with_tls(shown(tls()));
    let store = EtcdStore::connect(options).await.unwrap();
    create(&store, &key("k"), b"1").await;

    let strange = self::issued();
    // Of the first two we may learn no more than that the connection ended.
    let refused = [
        ("no client certificate", tls()),
        (
            "a client certificate of another authority",
            tls()
                .with_client(strange.certificate.clone(), strange.key())
                .unwrap(),
        ),
        (
            "another authority",
            shown(EtcdTls::new(strange.authority.clone()).unwrap()),
        ),
        ("another name", shown(tls()).with_server_name("other.test")),
    ];
    for (number, (what, tls)) in refused.into_iter().enumerate() {
        let options = super::options(server.url()).with_tls(tls);
        let error = EtcdStore::connect(options).await.expect_err(what);
        let is_refused = error.kind() == ErrorKind::Unauthenticated;
        let has_ended = error.kind() == ErrorKind::Unavailable;
        assert!(is_refused || (number < 2 && has_ended), "{what}: {error}");
        assert!(error.remedy().contains("certificate"), "{what}");
    }
    let plain = server.url().replace("https", "http");
    let error = EtcdStore::connect(super::options(plain)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.remedy().contains("https"), "{}", error.remedy());
}
