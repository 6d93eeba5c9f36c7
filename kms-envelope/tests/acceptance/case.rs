//! The layout of a set.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
pub(crate) struct Set {
    pub(crate) vectors: Vec<Case>,
    /// Key id to KEK, where all cases share them.
    #[serde(default)]
    pub(crate) keks: BTreeMap<String, Bytes>,
    pub(crate) current_key_id: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    format: Option<String>,
    pub(crate) providers: serde_json::Value,
    pub(crate) written_by: Option<String>,
    pub(crate) etcd_key: String,
    #[serde(rename = "stored_b64")]
    pub(crate) stored: Bytes,
    #[serde(rename = "plaintext_b64")]
    pub(crate) plaintext: Option<Bytes>,
    pub(crate) plaintext_len: Option<usize>,
    pub(crate) plaintext_sha256_hex: Option<String>,
    pub(crate) stale_on_read: Option<bool>,
    pub(crate) kms: Option<Kms>,
    pub(crate) parts: Option<Parts>,
    prefix: Option<String>,
    upstream_ok: Option<bool>,
    #[serde(default)]
    pub(crate) upstream_panics: bool,
    #[serde(rename = "upstream_plaintext_b64")]
    pub(crate) upstream_plaintext: Option<Bytes>,
    #[serde(default)]
    pub(crate) upstream_stale: bool,
}

#[derive(Deserialize)]
pub(crate) struct Kms {
    pub(crate) api_version: String,
    pub(crate) provider_name: String,
    pub(crate) dek_source_type: Option<String>,
    #[serde(rename = "encrypted_dek_source_b64")]
    pub(crate) encrypted_dek_source: Bytes,
    pub(crate) key_id: String,
    #[serde(rename = "annotations_b64", default)]
    pub(crate) annotations: BTreeMap<String, Bytes>,
    #[serde(rename = "kek_b64")]
    pub(crate) kek: Bytes,
}

#[derive(Deserialize)]
pub(crate) struct Parts {
    pub(crate) prefix: String,
    #[serde(rename = "encrypted_data_b64")]
    pub(crate) encrypted_data: Option<Bytes>,
}

/// Bytes that are written in base64.
#[derive(Clone)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

impl Case {
    /// The format; for a value without one, what its prefix says.
    pub(crate) fn format(&self) -> String {
        match (&self.format, &self.prefix) {
            (Some(format), _) => format.clone(),
            (None, Some(prefix)) => format!("apiserver-raw/{}", provider_of(prefix)),
            (None, None) => "unknown".to_owned(),
        }
    }

    pub(crate) fn format_is_known(&self) -> bool {
        matches!(
            self.format()
                .strip_prefix("apiserver-raw/")
                .unwrap_or(&self.format()),
            "identity"
                | "aescbc"
                | "aesgcm"
                | "secretbox"
                | "kms-v1"
                | "kms-v2"
                | "kmsv1"
                | "kmsv1-legacy-cbc"
                | "kmsv2-aes-gcm-key"
                | "kmsv2-hkdf-seed"
        )
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.upstream_ok.is_some()
    }

    pub(crate) fn upstream_accepts(&self) -> bool {
        self.upstream_ok == Some(true) && !self.upstream_panics
    }

    /// The text in front of the value.
    pub(crate) fn stored_prefix(&self) -> &str {
        self.parts
            .as_ref()
            .map(|parts| parts.prefix.as_str())
            .or(self.prefix.as_deref())
            .unwrap_or_default()
    }
}

/// The provider that a prefix stands for.
pub(crate) fn provider_of(prefix: &str) -> &'static str {
    [
        ("k8s:enc:aescbc:v1:", "aescbc"),
        ("k8s:enc:aesgcm:v1:", "aesgcm"),
        ("k8s:enc:secretbox:v1:", "secretbox"),
        ("k8s:enc:kms:v1:", "kms-v1"),
        ("k8s:enc:kms:v2:", "kms-v2"),
        ("k8s:enc:", "unknown"),
        ("", "identity"),
    ]
    .iter()
    .find(|(start, _)| prefix.starts_with(start))
    .map_or("unknown", |(_, provider)| provider)
}
