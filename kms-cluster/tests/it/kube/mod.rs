//! A rewriter over HTTPS, against the loopback API server.

mod access;
mod bounds;
mod conformance;
mod discovery;
mod exec;
mod faults;
mod migration;
mod outcomes;
mod tls;

use std::sync::Arc;

use kms_cluster::api::{ApiOptions, ApiTarget, KubeApi, Kubeconfig};
use kms_core::object::{ApiObject, ApiResource, ListOptions, Rewriter};
use kms_core::{Clock, KeyProvider, OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
use kms_testkit::StaticProvider;
use kms_testkit::apiserver::{ApiServer, Encryption, Place};
use serde_json::json;

pub(crate) fn secrets() -> ApiResource {
    ApiResource::new("", "v1", "secrets").unwrap()
}

/// The way to a server, with a token of its own.
pub(crate) fn target(server: &ApiServer) -> ApiTarget {
    let kubeconfig = server.kubeconfig(&server.token("admin"));
    Kubeconfig::parse(&kubeconfig, "/")
        .unwrap()
        .target(None)
        .unwrap()
}

pub(crate) fn api(server: &ApiServer) -> KubeApi {
    KubeApi::new(target(server), ApiOptions::default()).unwrap()
}

pub(crate) fn secret(name: &str) -> Place {
    Place::of("secrets", "default", name)
}

/// A server with this secret in it, in clear.
pub(crate) async fn with_secret(name: &str) -> ApiServer {
    let server = ApiServer::builder().start().await.unwrap();
    let data = json!({"data": {"password": "aHVudGVyMg=="}});
    server.create(&secret(name), data).await.unwrap();
    server
}

/// Secrets as they are listed now.
pub(crate) async fn listed(api: &KubeApi) -> Vec<ApiObject> {
    let page = api.list(&ListOptions::new(secrets())).await.unwrap();
    assert_eq!(page.next, None);
    page.objects
}

pub(crate) async fn only(api: &KubeApi) -> ApiObject {
    let mut objects = listed(api).await;
    assert_eq!(objects.len(), 1);
    objects.remove(0)
}

/// Encrypts secrets with AES-GCM under the first of these keys, and reads with all.
pub(crate) fn aes_gcm(keys: &[&str]) -> Encryption {
    let keys: String = keys
        .iter()
        .map(|key| {
            let secret = base64_of(key);
            format!("{{name: {key}, secret: {secret}}}, ")
        })
        .collect();
    encryption(
        &format!("[{{aesgcm: {{keys: [{keys}]}}}}, {{identity: {{}}}}]"),
        &[],
    )
}

/// 32 bytes that follow from a name.
fn base64_of(name: &str) -> String {
    use base64::Engine as _;
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(32, b'.');
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Encrypts secrets with this list of providers, and these KMS.
pub(crate) fn encryption(providers: &str, kms: &[(&str, &Arc<StaticProvider>)]) -> Encryption {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    Encryption::none().with("secrets", transformer(providers, kms, clock))
}

pub(crate) fn transformer(
    providers: &str,
    kms: &[(&str, &Arc<StaticProvider>)],
    clock: Arc<dyn Clock>,
) -> Arc<Transformer> {
    let configuration = EncryptionConfiguration::parse(&format!(
        "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, \
          resources: [{{resources: [secrets], providers: {providers}}}]}}"
    ))
    .unwrap();
    let list = configuration.providers_for("", "secrets");
    let mut builder = Transformer::builder(list, clock, Arc::new(OsRandom));
    for (name, provider) in kms {
        builder = builder.kms(*name, Arc::clone(*provider) as Arc<dyn KeyProvider>);
    }
    Arc::new(builder.build().unwrap())
}
