//! What a case asks for.

use std::sync::Arc;

use kms_core::OsRandom;
use kms_envelope::kubernetes::{
    ConfiguredNames, DekSourceType, EncryptionConfiguration, Transformer, inspect,
};
use ring::digest;

use crate::case::{Case, Set, provider_of};
use crate::independent;
use crate::support::{ManualClock, Plugin, configuration};

/// The reader of a case: its configuration, with a plugin behind each KMS.
struct Reader {
    configuration: EncryptionConfiguration,
    transformer: Transformer,
}

async fn reader(set: &Set, case: &Case, written: DekSourceType) -> Result<Reader, String> {
    let configuration = configuration(&case.providers);
    let mut builder = Transformer::builder(
        &configuration.resources[0].providers,
        Arc::new(ManualClock::default()),
        Arc::new(OsRandom),
    )
    .kms_v2_source_type(written);
    for (name, version) in kms_providers(case) {
        builder = builder.kms(name, Arc::new(plugin(set, case, &version)));
    }
    let transformer = builder.build().map_err(|error| error.to_string())?;
    let refreshed = transformer.refresh().await;
    refreshed.map_err(|error| format!("refresh: {error:?}"))?;
    Ok(Reader {
        configuration,
        transformer,
    })
}

fn kms_providers(case: &Case) -> Vec<(String, String)> {
    let text = |kms: &serde_json::Value, field: &str| kms[field].as_str().unwrap().to_owned();
    let providers = case.providers.as_array().unwrap();
    providers
        .iter()
        .filter_map(|provider| provider.get("kms"))
        .map(|kms| (text(kms, "name"), text(kms, "apiVersion")))
        .collect()
}

/// The plugin as it was when the value was read.
fn plugin(set: &Set, case: &Case, version: &str) -> Plugin {
    let mut keks: Vec<(String, [u8; 32])> = set
        .keks
        .iter()
        .map(|(id, kek)| (id.clone(), kek.0.as_slice().try_into().unwrap()))
        .collect();
    if let Some(kms) = &case.kms {
        keks.push((kms.key_id.clone(), kms.kek.0.as_slice().try_into().unwrap()));
    }
    if keks.is_empty() {
        keks.push(("unused".to_owned(), [0; 32]));
    }
    let writer_is_first = case
        .written_by
        .as_ref()
        .is_some_and(|writer| writer.starts_with("first provider, first key"));
    let stale_by_key_id = writer_is_first && version == "v2" && case.stale_on_read == Some(true);
    let current = set
        .current_key_id
        .clone()
        .or_else(|| case.kms.as_ref().map(|kms| kms.key_id.clone()))
        .unwrap_or_else(|| keks[0].0.clone());
    let mut plugin = Plugin::new(&current, keks);
    if stale_by_key_id {
        plugin.rotate_to("a-later-key");
    }
    if let (Some(kms), "v2") = (&case.kms, version) {
        plugin.annotations = kms
            .annotations
            .iter()
            .map(|(name, value)| (name.clone(), value.0.clone()))
            .collect();
    }
    plugin
}

/// What the reader of the case wrote: the type of a value that was not stale for it.
fn written_type(case: &Case) -> DekSourceType {
    match case
        .kms
        .as_ref()
        .and_then(|kms| kms.dek_source_type.as_deref())
    {
        Some("AES_GCM_KEY") => DekSourceType::AesGcmKey,
        _ => DekSourceType::HkdfSha256XnonceAesGcmSeed,
    }
}

fn ensure(holds: bool, what: impl Fn() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

pub(crate) async fn positive(set: &Set, case: &Case) -> Result<(), String> {
    let written = written_type(case);
    let Reader {
        configuration,
        transformer,
    } = reader(set, case, written).await?;
    let key = case.etcd_key.as_bytes();
    let stored = &case.stored.0;

    let opened = transformer
        .read(key, stored)
        .await
        .map_err(|error| format!("read: {error:?}"))?;
    check_plaintext(case, opened.plaintext())?;
    let stale = case.stale_on_read.ok_or("no stale_on_read")?;
    ensure(opened.is_stale() == stale, || {
        format!("stale is {}", opened.is_stale())
    })?;
    ensure(
        opened.provider().as_str() == provider_of(case.stored_prefix()),
        || format!("opened by {}", opened.provider()),
    )?;
    check_inspection(case, &configuration)?;

    // What we write, someone else reads, and we do, as not stale.
    let plaintext = opened.plaintext();
    let ours = transformer
        .write(key, plaintext)
        .await
        .map_err(|error| format!("write: {error:?}"))?;
    let keks = plugin(set, case, "v2");
    let theirs = independent::open(&case.providers, &keks, key, &ours)
        .ok_or("the independent reader does not open what we wrote")?;
    ensure(theirs == plaintext, || {
        "the independent reader reads something else".to_owned()
    })?;
    let again = transformer
        .read(key, &ours)
        .await
        .map_err(|error| format!("read of what we wrote: {error:?}"))?;
    ensure(again.plaintext() == plaintext && !again.is_stale(), || {
        "what we wrote is stale or something else".to_owned()
    })?;
    // The independent reader is no pushover: it reads what upstream wrote, too.
    let upstream = independent::open(&case.providers, &keks, key, stored);
    if !case.format().contains("legacy") && case.written_by.as_deref().is_none_or(is_first) {
        ensure(upstream.as_deref() == Some(plaintext), || {
            "the independent reader does not open the vector".to_owned()
        })?;
    }

    other_path(case, &transformer, plaintext).await?;
    if written == DekSourceType::AesGcmKey {
        // To an API server since 1.29 such a value is stale.
        let newer = reader(set, case, DekSourceType::default())
            .await?
            .transformer;
        let opened = newer.read(key, stored).await;
        let opened = opened.map_err(|error| format!("read as 1.29: {error:?}"))?;
        ensure(opened.is_stale(), || "not stale to 1.29".to_owned())?;
    }
    Ok(())
}

fn is_first(written_by: &str) -> bool {
    written_by.starts_with("first provider, first key")
}

fn check_plaintext(case: &Case, plaintext: &[u8]) -> Result<(), String> {
    if let Some(expected) = &case.plaintext {
        ensure(plaintext == expected.0, || "another plaintext".to_owned())?;
    }
    if let Some(expected) = case.plaintext_len {
        ensure(plaintext.len() == expected, || "another length".to_owned())?;
    }
    let sha256: String = digest::digest(&digest::SHA256, plaintext)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let expected = case.plaintext_sha256_hex.as_ref();
    ensure(expected == Some(&sha256), || "another digest".to_owned())
}

fn check_inspection(case: &Case, configuration: &EncryptionConfiguration) -> Result<(), String> {
    let stored = &case.stored.0;
    let names = ConfiguredNames::new(&configuration.resources[0].providers);
    let inspection = names.inspect(stored).map_err(|error| error.to_string())?;
    ensure(inspect(stored).as_ref() == Ok(&inspection), || {
        "inspect answers differently without the configured names".to_owned()
    })?;
    let json = serde_json::to_value(&inspection).map_err(|error| error.to_string())?;
    let field = |name: &str, expected: serde_json::Value| {
        ensure(json[name] == expected, || {
            format!("inspect: {name} is {}, not {expected}", json[name])
        })
    };
    let prefix = case.stored_prefix();
    let provider = provider_of(prefix);
    field("provider", provider.into())?;
    field("value_len", stored.len().into())?;
    let name = prefix
        .strip_suffix(':')
        .and_then(|prefix| prefix.rsplit(':').next());
    field("name", name.into())?;
    match &case.parts {
        Some(parts) => {
            let data = parts
                .encrypted_data
                .as_ref()
                .map_or(stored.len(), |data| data.0.len());
            field("encrypted_data_len", data.into())?;
        }
        None if !provider.starts_with("kms") => {
            field("encrypted_data_len", (stored.len() - prefix.len()).into())?;
        }
        None => {}
    }
    let of_kms = case.kms.as_ref().filter(|_| provider.starts_with("kms"));
    let of_v2 = of_kms.filter(|kms| kms.api_version == "v2");
    if let Some(kms) = of_kms {
        field("name", kms.provider_name.as_str().into())?;
        field(
            "encrypted_dek_source_len",
            kms.encrypted_dek_source.0.len().into(),
        )?;
    }
    field("key_id", of_v2.map(|kms| kms.key_id.as_str()).into())?;
    let source_type = of_v2.and_then(|kms| kms.dek_source_type.as_deref());
    field("dek_source_type", source_type.into())?;
    let names: Vec<&str> = of_v2
        .map(|kms| kms.annotations.keys().map(String::as_str).collect())
        .unwrap_or_default();
    field("annotation_names", names.into())
}

/// A value under another etcd key opens only where the format has no place for it.
async fn other_path(
    case: &Case,
    transformer: &Transformer,
    plaintext: &[u8],
) -> Result<(), String> {
    let other = format!("{}0", case.etcd_key);
    let opened = transformer.read(other.as_bytes(), &case.stored.0).await;
    let bound = match provider_of(case.stored_prefix()) {
        "aesgcm" | "kms-v2" => true,
        "kms-v1" => !case.format().contains("legacy"),
        _ => false,
    };
    match opened {
        Ok(_) if bound => Err("opens under another etcd key".to_owned()),
        Ok(opened) => ensure(opened.plaintext() == plaintext, || {
            "another plaintext under another etcd key".to_owned()
        }),
        Err(_) if bound => Ok(()),
        Err(error) => Err(format!("read under another etcd key: {error:?}")),
    }
}

pub(crate) async fn negative(set: &Set, case: &Case) -> Result<(), String> {
    let reader = reader(set, case, written_type(case)).await?;
    // Must not panic; what it says of a damaged value has tests of its own.
    let _ = inspect(&case.stored.0);
    let opened = reader
        .transformer
        .read(case.etcd_key.as_bytes(), &case.stored.0)
        .await;
    match opened {
        Ok(_) if !case.upstream_accepts() => Err("upstream refuses it".to_owned()),
        Ok(opened) => {
            let expected = case
                .upstream_plaintext
                .as_ref()
                .map(|bytes| bytes.0.as_slice());
            ensure(Some(opened.plaintext()) == expected, || {
                "upstream reads something else".to_owned()
            })?;
            ensure(opened.is_stale() == case.upstream_stale, || {
                format!("stale is {}", opened.is_stale())
            })
        }
        Err(error) if case.upstream_accepts() => Err(format!("upstream accepts it: {error:?}")),
        Err(_) => Ok(()),
    }
}
