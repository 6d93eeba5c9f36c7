//! A plain HTTP client of the double, without anyone's SDK.

use std::sync::Arc;

use kms_testkit::vault::{Credential, Identity, KeyStore, Vault};
use reqwest::{Method, StatusCode};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

pub(crate) const API: &str = "7.6";
pub(crate) const SECRET: &str = "not so secret";

/// Trusts the double and nobody else, and finds its names.
pub(crate) fn http(vault: &Vault) -> reqwest::Client {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(vault.ca_pem().as_bytes()).unwrap())
        .unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls);
    vault
        .host_names()
        .iter()
        .fold(builder, |builder, host| {
            builder.resolve(host, vault.address())
        })
        .build()
        .unwrap()
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default(),
        }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.body
    }

    /// Status, code, inner code and message of an error.
    #[track_caller]
    pub(crate) fn error(&self) -> (u16, &str, &str, &str) {
        let text = |pointer| self.body.pointer(pointer).and_then(Value::as_str);
        (
            self.status.as_u16(),
            text("/error/code").unwrap_or_else(|| panic!("{self:?}")),
            text("/error/innererror/code").unwrap_or_default(),
            text("/error/message").unwrap_or_else(|| panic!("{self:?}")),
        )
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Somebody with a token for one store.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Client {
    /// One who may do everything.
    pub(crate) async fn operator(vault: &Vault, store: &KeyStore) -> Self {
        let identity = vault.register_operator(SECRET).unwrap();
        Self::login(vault, store, &identity).await
    }

    /// A new identity that may do nothing yet, and its client.
    pub(crate) async fn stranger(vault: &Vault, store: &KeyStore) -> (Identity, Self) {
        let identity = vault.register([Credential::secret(SECRET)]).unwrap();
        let client = Self::login(vault, store, &identity).await;
        (identity, client)
    }

    async fn login(vault: &Vault, store: &KeyStore, identity: &Identity) -> Self {
        let http = http(vault);
        let resource = resource(&http, &store.url()).await;
        let scope = format!("{resource}/.default");
        let answer = token(
            &http,
            vault,
            &[
                ("client_id", identity.client_id()),
                ("client_secret", SECRET),
                ("scope", &scope),
            ],
        )
        .await;
        Self {
            http,
            url: store.url(),
            token: answer.ok()["access_token"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call_with(method, path, &format!("api-version={API}"), body)
            .await
    }

    pub(crate) async fn call_with(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: Value,
    ) -> Answer {
        Answer::read(self.send(method, path, query, body).await.unwrap()).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: Value,
    ) -> reqwest::Result<reqwest::Response> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .http
            .request(method, format!("{}{path}?{query}", self.url))
            .header("authorization", format!("Bearer {}", self.token));
        if !body.is_null() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        request.send().await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, body).await
    }
}

/// What the challenge says the token must be for.
async fn resource(http: &reqwest::Client, url: &str) -> String {
    let response = http.get(format!("{url}/keys")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    let (_, rest) = challenge.split_once("resource=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// A token request with these fields.
pub(crate) async fn token(
    http: &reqwest::Client,
    vault: &Vault,
    fields: &[(&str, &str)],
) -> Answer {
    let url = format!(
        "{}/{}/oauth2/v2.0/token",
        vault.authority(),
        vault.tenant_id()
    );
    let escape = |text: &str| {
        text.bytes().fold(String::new(), |mut out, byte| {
            use std::fmt::Write as _;
            if byte.is_ascii_alphanumeric() {
                out.push(char::from(byte));
            } else {
                write!(out, "%{byte:02X}").unwrap();
            }
            out
        })
    };
    let body = fields
        .iter()
        .chain([&("grant_type", "client_credentials")])
        .map(|(name, value)| format!("{name}={}", escape(value)))
        .collect::<Vec<_>>()
        .join("&");
    let response = http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    Answer::read(response).await
}
