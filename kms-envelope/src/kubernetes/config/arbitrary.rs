//! Valid configurations out of a fuzzer's bytes, by way of the parser.

use ::arbitrary::{Arbitrary, Error, Result, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_core::arbitrary::{bytes, length, text};
use serde_json::{Value, json};

use super::EncryptionConfiguration;
use super::rules::{EarlierWildcards, check_list, check_name};

const MAX_ENTRIES: usize = 4;
const MAX_NAMES: usize = 6;
const MAX_PROVIDERS: usize = 5;
const MAX_KEYS: usize = 3;
const MAX_NAME_LEN: usize = 80;

/// Written as a file, and read by [`EncryptionConfiguration::parse`].
impl<'a> Arbitrary<'a> for EncryptionConfiguration {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut lists: Vec<Vec<String>> = Vec::new();
        for _ in 0..length(u, 1..=MAX_ENTRIES)? {
            let names = resource_names(u, &lists)?;
            if !names.is_empty() {
                lists.push(names);
            }
        }
        let mut kms_names = 0_u8;
        let mut entries = Vec::new();
        for names in lists {
            let mut providers = Vec::new();
            for _ in 0..length(u, 1..=MAX_PROVIDERS)? {
                providers.push(provider(u, &mut kms_names)?);
            }
            entries.push(json!({ "resources": names, "providers": providers }));
        }
        let (version, kind) = *u.choose(&[
            ("apiserver.config.k8s.io/v1", "EncryptionConfiguration"),
            ("v1", "EncryptionConfig"),
        ])?;
        let file = json!({ "apiVersion": version, "kind": kind, "resources": entries });
        Self::parse(&file.to_string()).map_err(|_| Error::IncorrectFormat)
    }
}

/// Names that may stand in one list, behind these. The first list always gets one.
fn resource_names(u: &mut Unstructured<'_>, earlier: &[Vec<String>]) -> Result<Vec<String>> {
    let mut wildcards = EarlierWildcards::default();
    for names in earlier {
        wildcards.extend(&names.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let mut names: Vec<String> = Vec::new();
    for _ in 0..length(u, 1..=MAX_NAMES)? {
        let name = resource_name(u)?;
        let list: Vec<&str> = names.iter().map(String::as_str).chain([&*name]).collect();
        if check_name(&name).is_ok()
            && wildcards.masking(&name).is_none()
            && check_list(&list).is_ok()
        {
            names.push(name);
        }
    }
    if names.is_empty() && earlier.is_empty() {
        names.push("secrets".to_owned());
    }
    Ok(names)
}

fn resource_name(u: &mut Unstructured<'_>) -> Result<String> {
    let usual = [
        "secrets",
        "configmaps",
        "deployments.apps",
        "*.apps",
        "*.",
        "*.*",
    ];
    if u.ratio(3_u8, 4)? {
        return u.choose(&usual).map(|name| (*name).to_owned());
    }
    // Without what JSON and YAML read differently.
    text(
        u,
        1..=MAX_NAME_LEN,
        |character| matches!(character, 'a'..='z' | '0'..='9' | '-' | '.' | '*' | '\u{e9}'),
    )
}

fn provider(u: &mut Unstructured<'_>, kms_names: &mut u8) -> Result<Value> {
    Ok(match u.int_in_range(0..=5_u8)? {
        0 => json!({ "identity": {} }),
        1 => json!({ "aescbc": { "keys": keys(u, &[16, 24, 32])? } }),
        2 => json!({ "aesgcm": { "keys": keys(u, &[16, 24, 32])? } }),
        3 => json!({ "secretbox": { "keys": keys(u, &[32])? } }),
        version => {
            let mut kms = json!({
                "apiVersion": if version == 4 { "v1" } else { "v2" },
                // Unique, as v2 wants it.
                "name": format!("kms-{kms_names}"),
                "endpoint": format!("unix:///run/{}.sock", name(u)?),
                "timeout": format!("{}ns", u.int_in_range(1..=i64::MAX)?),
            });
            *kms_names = kms_names.saturating_add(1);
            let size: i32 = u.arbitrary()?;
            if let Some(kms) = kms.as_object_mut()
                && version == 4
                && size != 0
            {
                kms.insert("cachesize".to_owned(), size.into());
            }
            json!({ "kms": kms })
        }
    })
}

fn keys(u: &mut Unstructured<'_>, lengths: &[usize]) -> Result<Vec<Value>> {
    (0..length(u, 1..=MAX_KEYS)?)
        .map(|_| {
            let length = *u.choose(lengths)?;
            let secret = STANDARD.encode(bytes(u, length..=length)?);
            Ok(json!({ "name": name(u)?, "secret": secret }))
        })
        .collect()
}

fn name(u: &mut Unstructured<'_>) -> Result<String> {
    text(
        u,
        1..=MAX_NAME_LEN,
        |character| matches!(character, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | ':' | '/' | '\u{20ac}'),
    )
}
