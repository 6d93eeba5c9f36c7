//! Values that a real kube-apiserver wrote, opened without it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_core::{Clock, KeyId, OsRandom, SecretBytes};
use kms_envelope::kubernetes::{EncryptionConfiguration, ProviderConfiguration, Transformer};
use serde::Deserialize;

use super::replay::ReplayProvider;
use crate::Failure;

/// Throw-away keys, written for this.
const RECORDED: &str = include_str!("recorded.json");

#[derive(Deserialize)]
struct Record {
    kube_apiserver: String,
    values: Vec<Value>,
}

#[derive(Deserialize)]
struct Value {
    etcd_key: String,
    providers: serde_json::Value,
    stored_b64: String,
    plaintext_sha256_hex: String,
    unwrap: Option<Unwrap>,
}

#[derive(Deserialize)]
struct Unwrap {
    api_version: String,
    key_id: String,
    encrypted_b64: String,
    plaintext_b64: String,
}

/// What came of one recorded value.
pub(super) struct Reopened {
    pub(super) etcd_key: String,
    pub(super) provider: &'static str,
    pub(super) key_id: Option<String>,
    pub(super) len: usize,
    /// Whether the plaintext is what the API server was given.
    pub(super) same: bool,
}

/// Opens every recorded value. Also says which release wrote them.
pub(super) async fn reopen(clock: &Arc<dyn Clock>) -> Result<(String, Vec<Reopened>), Failure> {
    let record: Record = serde_json::from_str(RECORDED).map_err(|e| broken().with_source(e))?;
    let mut reopened = Vec::new();
    for value in record.values {
        let stored = decode(&value.stored_b64)?;
        let config = configuration(&value.providers)?;
        let providers = config.providers_for("", "secrets");
        let replay = Arc::new(replay_of(value.unwrap)?);
        let mut builder = Transformer::builder(
            providers.iter().copied(),
            Arc::clone(clock),
            Arc::new(OsRandom),
        )
        .read_only();
        for provider in &providers {
            if let ProviderConfiguration::Kms(kms) = provider {
                builder = builder.kms(&kms.name, replay.clone());
            }
        }
        let opened = builder
            .build()?
            .read(value.etcd_key.as_bytes(), &stored)
            .await?;
        reopened.push(Reopened {
            same: sha256_hex(opened.plaintext()) == value.plaintext_sha256_hex,
            provider: opened.provider().as_str(),
            key_id: opened.key_id().map(ToString::to_string),
            len: opened.plaintext().len(),
            etcd_key: value.etcd_key,
        });
    }
    Ok((record.kube_apiserver, reopened))
}

fn configuration(providers: &serde_json::Value) -> Result<EncryptionConfiguration, Failure> {
    let text = serde_json::json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{ "resources": ["*.*"], "providers": providers }],
    });
    Ok(EncryptionConfiguration::parse(&text.to_string())?)
}

fn replay_of(unwrap: Option<Unwrap>) -> Result<ReplayProvider, Failure> {
    let Some(unwrap) = unwrap else {
        return Ok(ReplayProvider::new(KeyId::new("none")?));
    };
    let key_id = KeyId::new(&unwrap.key_id)?;
    let mut replay = ReplayProvider::new(key_id.clone());
    replay.record(
        (unwrap.api_version == "v2").then_some(key_id),
        decode(&unwrap.encrypted_b64)?,
        SecretBytes::from_vec(decode(&unwrap.plaintext_b64)?),
    );
    Ok(replay)
}

fn decode(text: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(text).map_err(|e| broken().with_source(e))
}

fn broken() -> Failure {
    Failure::new(
        "internal",
        "the recorded values in this binary are broken",
        "report this",
    )
}

fn sha256_hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
