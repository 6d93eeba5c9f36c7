//! What is said to a plugin, and what it answers.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kms_core::SecretBytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ExecPlugin, ExecVersion};
use crate::api::secret_text::SecretText;
use crate::api::target::{ApiTarget, ClientCertificate, check_token};

/// What a plugin gave.
pub(in crate::api) struct ExecCredential {
    pub(in crate::api) token: Option<SecretBytes>,
    pub(in crate::api) certificate: Option<ClientCertificate>,
    pub(in crate::api) expires: Option<SystemTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    expiration_timestamp: Option<String>,
    #[serde(default)]
    token: Option<SecretText>,
    #[serde(default)]
    client_certificate_data: Option<String>,
    #[serde(default)]
    client_key_data: Option<SecretText>,
}

impl ExecCredential {
    /// Reads what a plugin printed. The fault is in words that repeat nothing of it.
    pub(super) fn read(printed: &[u8], version: ExecVersion) -> Result<Self, &'static str> {
        let answer: Answer = serde_json::from_slice(printed)
            .map_err(|_may_quote_a_token| "printed what is not the JSON of an ExecCredential")?;
        if answer.kind.as_deref() != Some("ExecCredential") {
            return Err("printed what is not of the kind ExecCredential");
        }
        if answer.api_version.as_deref() != Some(version.as_str()) {
            return Err("answered in another version of the protocol than the kubeconfig names");
        }
        let status = answer
            .status
            .ok_or("printed an ExecCredential without status")?;
        let token = SecretText::of(status.token.as_ref())
            .map(|token| check_token(SecretBytes::copy_from_slice(token.as_bytes())))
            .transpose()
            .map_err(|_| "gave a token that cannot stand in a header")?;
        let certificate = status
            .client_certificate_data
            .filter(|data| !data.is_empty());
        let key = SecretText::of(status.client_key_data.as_ref());
        let certificate = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(
                ClientCertificate::new(
                    certificate.as_bytes(),
                    SecretBytes::copy_from_slice(key.as_bytes()),
                )
                .map_err(|_| "gave a client certificate or key that is not PEM")?,
            ),
            _ => return Err("gave one of client certificate and key without the other"),
        };
        if token.is_none() && certificate.is_none() {
            return Err("gave neither a token nor a client certificate");
        }
        let expires = status
            .expiration_timestamp
            .filter(|text| !text.is_empty())
            .map(|text| text.parse::<Timestamp>().map(SystemTime::from))
            .transpose()
            .map_err(|_| "gave an expirationTimestamp that is not a time")?;
        Ok(Self {
            token,
            certificate,
            expires,
        })
    }
}

/// What `KUBERNETES_EXEC_INFO` holds.
pub(super) fn info(plugin: &ExecPlugin, cluster: Option<&Value>) -> String {
    let mut spec = json!({ "interactive": false });
    if let (Some(config), Some(cluster), Some(spec)) =
        (&plugin.cluster_info, cluster, spec.as_object_mut())
    {
        let mut cluster = cluster.clone();
        if let (Some(config), Some(fields)) = (config, cluster.as_object_mut()) {
            fields.insert("config".to_owned(), config.clone());
        }
        spec.insert("cluster".to_owned(), cluster);
    }
    json!({
        "apiVersion": plugin.version.as_str(),
        "kind": "ExecCredential",
        "spec": spec,
    })
    .to_string()
}

/// What a plugin is told of the cluster.
pub(in crate::api) fn cluster_info(target: &ApiTarget) -> Value {
    let mut cluster = json!({ "server": target.to_string() });
    if let Some(fields) = cluster.as_object_mut() {
        if let Some(name) = &target.tls_server_name {
            fields.insert("tls-server-name".to_owned(), json!(name));
        }
        if target.skips_verification {
            fields.insert("insecure-skip-tls-verify".to_owned(), json!(true));
        }
        if let Some(authorities) = &target.authorities {
            let pem = pem(authorities);
            let data = STANDARD.encode(pem);
            fields.insert("certificate-authority-data".to_owned(), json!(data));
        }
        if let Some(proxy) = &target.proxy {
            fields.insert("proxy-url".to_owned(), json!(proxy.as_str()));
        }
    }
    cluster
}

fn pem(certificates: &[rustls_pki_types::CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(core::str::from_utf8(line).unwrap_or_default());
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: &Value) -> Result<ExecCredential, &'static str> {
        let printed = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": status,
        });
        ExecCredential::read(printed.to_string().as_bytes(), ExecVersion::V1)
    }

    #[test]
    fn a_token_with_its_end_is_read() {
        let credential = read(&json!({
            "token": "hunter2", "expirationTimestamp": "2026-01-01T00:00:10Z", "more": [1],
        }))
        .unwrap();
        assert_eq!(credential.token.unwrap().expose(), b"hunter2");
        let expires: Timestamp = credential.expires.unwrap().try_into().unwrap();
        assert_eq!(expires.to_string(), "2026-01-01T00:00:10Z");
    }

    #[test]
    fn a_certificate_comes_with_its_key() {
        let made = rcgen::generate_simple_self_signed(vec!["me".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let credential =
            read(&json!({"clientCertificateData": certificate, "clientKeyData": key})).unwrap();
        assert!(credential.certificate.is_some() && credential.token.is_none());
        assert!(read(&json!({"clientCertificateData": certificate})).is_err());
        assert!(read(&json!({"clientKeyData": key})).is_err());
        assert!(read(&json!({"clientCertificateData": "x", "clientKeyData": key})).is_err());
    }

    #[test]
    fn what_is_no_credential_is_refused_without_a_word_of_it() {
        for status in [
            json!(null),
            json!({}),
            json!({"token": ""}),
            json!({"token": 12345}),
            json!({"token": "hunter2\nX-Evil: 1"}),
            json!({"token": "hunter2", "expirationTimestamp": "soon"}),
        ] {
            let fault = read(&status).err().expect("refused");
            assert!(!fault.contains("hunter2") && !fault.contains("12345"));
        }
        for printed in [
            "",
            "hunter2",
            "{}",
            r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"hunter2"}}"#,
            r#"{"kind":"Secret","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"hunter2"}}"#,
        ] {
            let read = ExecCredential::read(printed.as_bytes(), ExecVersion::V1);
            assert!(
                !read.err().expect("refused").contains("hunter2"),
                "{printed}"
            );
        }
    }

    #[test]
    fn a_plugin_is_told_of_the_cluster_if_it_asks() {
        let authority = rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).unwrap();
        let target = ApiTarget::new("https://demo.example")
            .unwrap()
            .with_authority_pem(authority.cert.pem().as_bytes())
            .unwrap();
        let cluster = cluster_info(&target);
        let plugin = ExecPlugin::new("p", ExecVersion::V1);
        let told: Value = serde_json::from_str(&info(&plugin, Some(&cluster))).unwrap();
        assert_eq!(told["spec"], json!({"interactive": false}));
        let plugin = plugin.with_cluster_info(Some(json!({"audience": "a"})));
        let told: Value = serde_json::from_str(&info(&plugin, Some(&cluster))).unwrap();
        let cluster = &told["spec"]["cluster"];
        assert_eq!(cluster["server"], "https://demo.example");
        assert_eq!(cluster["config"]["audience"], "a");
        let data = cluster["certificate-authority-data"].as_str().unwrap();
        let pem = STANDARD.decode(data).unwrap();
        let lines = |text: &str| text.replace("\r\n", "\n");
        assert_eq!(
            lines(core::str::from_utf8(&pem).unwrap()),
            lines(&authority.cert.pem())
        );
    }
}
