//! `kms decrypt`

use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms::cluster::KekArgument;
use kms::provider::Environment;
use kms::{
    DecryptRequest, Decrypted, Failure, advice_on_damage, advice_on_encoding, read_text, read_value,
};
use kms_core::Clock;
use kms_envelope::kubernetes::{DekSourceType, EncryptionConfiguration, ProviderKind};
use serde::Serialize;
use zeroize::Zeroizing;

use super::print;
use crate::args::{Decrypt, SourceType};

pub(crate) async fn run(args: Decrypt, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let mut environment = Environment::with_azure(clock, args.azure.options());
    let keks = args
        .kek
        .iter()
        .map(|text| {
            let kek: KekArgument = text.parse()?;
            Ok((kek.name, kek.provider))
        })
        .collect::<Result<_, Failure>>()?;
    let text = read_text(&args.encryption_config)?;
    let config = EncryptionConfiguration::parse(&text)
        .map_err(|error| Failure::from(error).at(args.encryption_config.display()))?;
    let given = args.etcd_key.as_ref().map(|key| key.as_bytes());
    let input = read_value(&args.value_file, args.encoding.into(), given)?;
    let Some(etcd_key) = given.or(input.etcd_key.as_deref()) else {
        return Err(Failure::usage(
            "the etcd key of the value is missing",
            "give --etcd-key KEY, or the value with --encoding etcd-json",
        ));
    };
    let request = DecryptRequest {
        config: &config,
        keks,
        etcd_key,
        etcd_prefix: &args.etcd_prefix,
        resource: args.resource.as_deref(),
        value: &input.value,
        source_type: args
            .kms_v2_source_type
            .map(|source_type| match source_type {
                SourceType::AesGcmKey => DekSourceType::AesGcmKey,
                SourceType::HkdfSeed => DekSourceType::HkdfSha256XnonceAesGcmSeed,
            }),
    };
    let decrypted = kms::decrypt(request, &mut environment)
        .await
        .map_err(|failure| match advice_on_damage(&input.value) {
            Some(advice) if matches!(failure.kind(), "crypto" | "malformed") => {
                failure.with_advice(advice)
            }
            _ => failure,
        })?;
    if decrypted.opened.provider() == ProviderKind::Identity
        && let Some(advice) = advice_on_encoding(&input.value)
    {
        eprintln!("kms: nothing was decrypted: {advice}");
    }
    if args.json {
        print_json(&decrypted)
    } else {
        print_plain(&decrypted)
    }
}

fn print_plain(
    Decrypted {
        opened,
        status_error,
        ..
    }: &Decrypted,
) -> Result<(), Failure> {
    tracing::info!(
        provider = %opened.provider(),
        name = opened.name(),
        key_id = opened.key_id().map(|id| id.as_str()),
        stale = opened.is_stale(),
        "opened"
    );
    if let Some(error) = status_error {
        eprintln!(
            "kms: opened; whether it is stale is not known, as the KMS gave no Status: {error}"
        );
    }
    print(opened.plaintext())
}

/// What `--json` prints. A type of its own, so that the plaintext is not copied into a tree.
#[derive(Serialize)]
struct Answer<'a> {
    plaintext_base64: &'a str,
    /// `None` if the KMS did not say its current key.
    stale: Option<bool>,
    provider: &'a str,
    name: Option<&'a str>,
    key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_unknown_because: Option<String>,
}

fn print_json(
    Decrypted {
        opened,
        status_error,
        ..
    }: &Decrypted,
) -> Result<(), Failure> {
    let plaintext = Zeroizing::new(STANDARD.encode(opened.plaintext()));
    let answer = Answer {
        plaintext_base64: &plaintext,
        stale: status_error.is_none().then(|| opened.is_stale()),
        provider: opened.provider().as_str(),
        name: opened.name(),
        key_id: opened.key_id().map(|id| id.as_str()),
        stale_unknown_because: status_error.as_ref().map(ToString::to_string),
    };
    // Room for everything, so that growing leaves no copy of the plaintext behind.
    let room = plaintext.len().saturating_add(8192);
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *text, &answer)
        .map_err(|e| Failure::new("internal", "writing JSON", "report this").with_source(e))?;
    text.push(b'\n');
    print(&text)
}
