//! The providers of an entry and their keys.

use core::time::Duration;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use kms_core::SecretBytes;
use zeroize::Zeroizing;

use super::cursor::{Cursor, Fields, quoted};
use super::duration::parse_go_duration;
use super::{KmsApiVersion, KmsConfiguration, NamedKey, ProviderConfiguration};
use crate::Error;

/// kube-apiserver's defaults.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
pub(super) const DEFAULT_CACHE_SIZE: i32 = 1000;

const AES_KEY_LENGTHS: &[usize] = &[16, 24, 32];
const SECRETBOX_KEY_LENGTHS: &[usize] = &[32];

/// As Go's `base64.StdEncoding` decodes: padding is needed, stray bits in the last symbol are not
/// looked at.
const GO_STD_ENCODING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Reads one element of a `providers` list. `kms_names` are those of the KMS providers before it.
pub(super) fn provider_configuration<'a>(
    provider: &Cursor<'a>,
    kms_names: &mut BTreeSet<&'a str>,
) -> Result<ProviderConfiguration, Error> {
    const PROVIDERS: &[&str] = &["aesgcm", "aescbc", "secretbox", "identity", "kms"];

    let fields = provider.fields(PROVIDERS)?;
    let mut names = fields.names();
    let Some(name) = names.next() else {
        return Err(fields.error(
            "names no provider; one of aescbc, aesgcm, secretbox, kms or identity: {} is required",
        ));
    };
    if names.next().is_some() {
        return Err(fields.error("names more than one provider; give each a list entry of its own"));
    }
    let Some(inner) = fields.optional(name) else {
        return Err(fields.error("names no provider"));
    };
    match name {
        "identity" => inner.fields(&[]).map(|_| ProviderConfiguration::Identity),
        "aesgcm" => keys(&inner, AES_KEY_LENGTHS).map(ProviderConfiguration::AesGcm),
        "aescbc" => keys(&inner, AES_KEY_LENGTHS).map(ProviderConfiguration::AesCbc),
        "secretbox" => keys(&inner, SECRETBOX_KEY_LENGTHS).map(ProviderConfiguration::Secretbox),
        _ => kms(&inner, kms_names).map(ProviderConfiguration::Kms),
    }
}

fn keys(provider: &Cursor<'_>, lengths: &[usize]) -> Result<Vec<NamedKey>, Error> {
    provider
        .fields(&["keys"])?
        .required_items("keys")?
        .iter()
        .map(|key| {
            let fields = key.fields(&["name", "secret"])?;
            let name = fields.required_text("name")?.to_owned();
            let secret = decode_secret(fields.required_text("secret")?, lengths)
                .map_err(|what| fields.field_error("secret", what))?;
            Ok(NamedKey { name, secret })
        })
        .collect()
}

/// Decodes a secret; what is wrong with it is said without quoting any of it.
fn decode_secret(encoded: &str, lengths: &[usize]) -> Result<SecretBytes, String> {
    // Room for everything beforehand, so that nothing is left behind by growing.
    let mut symbols = Zeroizing::new(Vec::with_capacity(encoded.len()));
    symbols.extend(encoded.bytes().filter(|byte| !b"\r\n".contains(byte)));
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(symbols.len())]);
    let length = GO_STD_ENCODING
        .decode_slice(symbols.as_slice(), &mut decoded)
        .map_err(|_| "is not base64 (standard alphabet, with padding)")?;
    if !lengths.contains(&length) {
        let wanted = match lengths {
            [one] => format!("{one}"),
            _ => "16, 24 or 32".to_owned(),
        };
        return Err(format!(
            "is {length} bytes long once decoded; {wanted} are required"
        ));
    }
    Ok(SecretBytes::copy_from_slice(
        decoded.get(..length).unwrap_or_default(),
    ))
}

fn kms<'a>(
    provider: &Cursor<'a>,
    kms_names: &mut BTreeSet<&'a str>,
) -> Result<KmsConfiguration, Error> {
    let fields = provider.fields(&["apiVersion", "name", "cachesize", "endpoint", "timeout"])?;
    let api_version = match fields.text_or_empty("apiVersion")? {
        "" | "v1" => KmsApiVersion::V1,
        "v2" => KmsApiVersion::V2,
        other => {
            return Err(fields.field_error(
                "apiVersion",
                format_args!("{} is not supported; write v1 or v2", quoted(other)),
            ));
        }
    };
    let name = fields.required_text("name")?;
    if api_version == KmsApiVersion::V2 {
        if name.contains(':') {
            return Err(fields.field_error(
                "name",
                format_args!("{} holds a colon, which v2 does not allow", quoted(name)),
            ));
        }
        if kms_names.contains(name) {
            return Err(fields.field_error(
                "name",
                format_args!(
                    "{} is the name of another KMS provider too; with v2 it must be unique",
                    quoted(name)
                ),
            ));
        }
    }
    kms_names.insert(name);

    let endpoint = fields.required_text("endpoint")?;
    check_endpoint(endpoint).map_err(|what| {
        fields.field_error("endpoint", format_args!("{}: {what}", quoted(endpoint)))
    })?;
    Ok(KmsConfiguration {
        api_version,
        name: name.to_owned(),
        endpoint: endpoint.to_owned(),
        timeout: timeout(&fields)?,
        cache_size: cache_size(&fields, api_version)?,
    })
}

fn check_endpoint(endpoint: &str) -> Result<(), &'static str> {
    if endpoint.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("holds a control character");
    }
    let mut escapes = endpoint.split('%').skip(1).map(str::as_bytes);
    if !escapes
        .all(|rest| matches!(rest, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
    {
        return Err("holds a % that is no escape");
    }
    match endpoint.split_once(':') {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("unix") => Ok(()),
        _ => Err("only a Unix socket is supported; write unix:///path/to/socket"),
    }
}

fn timeout(fields: &Fields<'_>) -> Result<Duration, Error> {
    let Some(field) = fields.optional("timeout") else {
        return Ok(DEFAULT_TIMEOUT);
    };
    let text = field.text()?;
    let Some(nanoseconds) = parse_go_duration(text) else {
        return Err(field.error(format_args!(
            "{} is no duration; write for example 3s, 500ms or 1m30s",
            quoted(text)
        )));
    };
    match u64::try_from(nanoseconds) {
        Ok(nanoseconds) if nanoseconds > 0 => Ok(Duration::from_nanos(nanoseconds)),
        _ => Err(field.error(format_args!("{} is not positive", quoted(text)))),
    }
}

fn cache_size(fields: &Fields<'_>, api_version: KmsApiVersion) -> Result<Option<i32>, Error> {
    let size = fields
        .optional("cachesize")
        .map(|field| field.int32())
        .transpose()?;
    match (api_version, size) {
        (KmsApiVersion::V2, Some(_)) => Err(fields.field_error(
            "cachesize",
            "is not supported with apiVersion v2; remove it",
        )),
        (KmsApiVersion::V2, None) => Ok(None),
        (KmsApiVersion::V1, Some(0)) => Err(fields.field_error(
            "cachesize",
            "must not be 0; write a negative number to switch the cache off",
        )),
        (KmsApiVersion::V1, size) => Ok(Some(size.unwrap_or(DEFAULT_CACHE_SIZE))),
    }
}
