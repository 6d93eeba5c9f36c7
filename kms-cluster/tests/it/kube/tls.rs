//! Who is trusted.

use kms_cluster::api::{ApiOptions, ApiTarget, KubeApi, Kubeconfig};
use kms_core::ErrorKind;
use kms_core::object::{ListOptions, Rewriter as _};
use kms_testkit::apiserver::ApiServer;

use super::{only, secrets, with_secret};

/// A client of this server whose cluster has other fields.
fn api(
    server: &ApiServer,
    url: &str,
    more: &str,
    options: ApiOptions,
) -> Result<KubeApi, kms_core::Error> {
    let kubeconfig = server.kubeconfig(&server.token("admin")).replace(
        &format!("server: {}", server.url()),
        &format!("server: {url}{more}"),
    );
    let target = Kubeconfig::parse(&kubeconfig, "/")?.target(None)?;
    KubeApi::new(target, options)
}

#[tokio::test]
async fn a_stranger_is_not_trusted() {
    let server = with_secret("db").await;
    let other = ApiServer::builder().start().await.unwrap();
    let target = |authority: &str| {
        ApiTarget::new(&server.url())
            .unwrap()
            .with_authority_pem(authority.as_bytes())
            .unwrap()
    };
    // Another authority of the same name, and what this machine trusts.
    for target in [
        target(other.ca_pem()),
        ApiTarget::new(&server.url()).unwrap(),
    ] {
        let api = KubeApi::new(target, ApiOptions::default()).unwrap();
        let error = api.list(&ListOptions::new(secrets())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert!(error.message().contains("certificate"), "{error}");
        assert!(
            error.remedy().contains("certificate authority"),
            "{}",
            error.remedy()
        );
    }
}

#[tokio::test]
async fn the_name_in_the_certificate_can_be_another_than_the_urls() {
    let server = with_secret("db").await;
    let port = server.address().port();
    // This address is not in the certificate.
    let url = format!("https://127.0.0.2:{port}");
    let unnamed = api(&server, &url, "", ApiOptions::default()).unwrap();
    let Err(error) = unnamed.list(&ListOptions::new(secrets())).await else {
        panic!("it listens on 127.0.0.1 alone");
    };
    assert!(matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::Unauthenticated
    ));

    let name = "\n    tls-server-name: kubernetes.default.svc";
    let named = api(&server, &server.url(), name, ApiOptions::default()).unwrap();
    assert_eq!(only(&named).await.name(), "db");
    assert_eq!(named.to_string(), format!("API server {}", server.url()));

    let wrong = "\n    tls-server-name: other.example";
    let wrong = api(&server, &server.url(), wrong, ApiOptions::default()).unwrap();
    let error = wrong.list(&ListOptions::new(secrets())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");

    let proxied = format!("{name}\n    proxy-url: http://127.0.0.1:9");
    let error = api(&server, &server.url(), &proxied, ApiOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn trust_in_anybody_takes_two() {
    let server = with_secret("db").await;
    let insecure = "\n    insecure-skip-tls-verify: true\n    unused";
    let make = |options| {
        let kubeconfig = server.kubeconfig(&server.token("admin"));
        let kubeconfig = kubeconfig.replace("certificate-authority-data", &insecure[5..]);
        let target = Kubeconfig::parse(&kubeconfig, "/")?.target(None)?;
        KubeApi::new(target, options)
    };
    let error = make(ApiOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.message().contains("insecure-skip-tls-verify"),
        "{error}"
    );
    let api = make(ApiOptions::default().with_insecure_tls(true)).unwrap();
    assert_eq!(only(&api).await.name(), "db");
}

/// A proxy is asked to connect; it is not here.
#[tokio::test]
async fn a_proxy_is_gone_through() {
    let server = with_secret("db").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://u:hunter2@{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        use tokio::io::AsyncReadExt as _;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let more = format!("\n    proxy-url: {proxy}");
    let api = api(&server, &server.url(), &more, ApiOptions::default()).unwrap();
    let error = api.list(&ListOptions::new(secrets())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(!format!("{error:?} {api:?}").contains("hunter2"));
    let request = asked.await.unwrap();
    assert!(
        request.starts_with(&format!("CONNECT {}", server.address())),
        "{request}"
    );
}
