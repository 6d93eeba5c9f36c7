//! From text to the checked model, by kube-apiserver's rules.

use core::time::Duration;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use kms_core::SecretBytes;
use zeroize::Zeroizing;

use super::document::{Cursor, Fields, Node, quoted};
use super::duration::parse_go_duration;
use super::rules::{self, EarlierWildcards};
use super::{
    EncryptionConfiguration, KmsApiVersion, KmsConfiguration, NamedKey, ProviderConfiguration,
    ResourceConfiguration,
};
use crate::{Error, ErrorKind};

/// The longest text that is parsed, in bytes.
const MAX_TEXT_LEN: usize = 1 << 20;

/// kube-apiserver's defaults.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
const DEFAULT_CACHE_SIZE: i32 = 1000;

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

impl EncryptionConfiguration {
    /// Reads a configuration file, YAML or JSON, and checks it as kube-apiserver does.
    ///
    /// Fields and values have the meaning and the defaults that they have for kube-apiserver 1.31
    /// and later without automatic reload: unknown and repeated fields are refused, and so are
    /// unquoted booleans and numbers where a string belongs. `apiVersion` and `kind` are
    /// `apiserver.config.k8s.io/v1` and `EncryptionConfiguration`, or the old `v1` and
    /// `EncryptionConfig`, which kube-apiserver still takes.
    ///
    /// Three things that kube-apiserver lets pass are refused here: a second YAML document, which
    /// it never reads, an empty resource name, which matches nothing, and more than 1 MiB of text.
    /// A key's secret is base64 of the standard alphabet with padding; line breaks in it are
    /// skipped.
    ///
    /// The strings that hold a secret are wiped, except for copies inside the YAML parser and
    /// `text` itself.
    ///
    /// ```
    /// use kms_envelope::kubernetes::EncryptionConfiguration;
    ///
    /// let configuration = EncryptionConfiguration::parse(
    ///     "
    /// apiVersion: apiserver.config.k8s.io/v1
    /// kind: EncryptionConfiguration
    /// resources:
    ///   - resources: [secrets]
    ///     providers:
    ///       - kms:
    ///           apiVersion: v2
    ///           name: vault
    ///           endpoint: unix:///run/kms/plugin.sock
    ///       - identity: {}
    /// ",
    /// )?;
    /// assert_eq!(configuration.resources[0].providers.len(), 2);
    /// # Ok::<(), kms_envelope::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for the first fault that is found. The
    /// message begins with its path, such as `resources[0].providers[1].kms.timeout`, and gives the
    /// line where it is known. No part of a secret is in it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT_LEN {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "EncryptionConfiguration: {} bytes, more than the {MAX_TEXT_LEN} that are read",
                    text.len()
                ),
            ));
        }
        let document = Node::parse(text)?;
        let root = Cursor::root(&document).fields(&["apiVersion", "kind", "resources"])?;
        check_type(&root)?;

        let mut seen = Seen::default();
        let resources = root
            .required_items("resources")?
            .iter()
            .map(|entry| resource_configuration(entry, &mut seen))
            .collect::<Result<_, _>>()?;
        Ok(Self { resources })
    }
}

fn check_type(root: &Fields<'_>) -> Result<(), Error> {
    const WANTED: &str =
        "write apiVersion: apiserver.config.k8s.io/v1 and kind: EncryptionConfiguration";
    let api_version = root.required_text("apiVersion")?;
    let kind = root.required_text("kind")?;
    match (api_version, kind) {
        ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") | ("v1", "EncryptionConfig") => {
            Ok(())
        }
        ("apiserver.config.k8s.io/v1", other) => Err(root.field_error(
            "kind",
            format_args!("{} is not known here; {WANTED}", quoted(other)),
        )),
        (other, _) => Err(root.field_error(
            "apiVersion",
            format_args!("{} is not known here; {WANTED}", quoted(other)),
        )),
    }
}

/// What earlier parts of the document forbid to later ones.
#[derive(Default)]
struct Seen<'a> {
    kms_names: BTreeSet<&'a str>,
    wildcards: EarlierWildcards<'a>,
}

fn resource_configuration<'a>(
    entry: &Cursor<'a>,
    seen: &mut Seen<'a>,
) -> Result<ResourceConfiguration, Error> {
    let fields = entry.fields(&["resources", "providers"])?;
    let mut names = Vec::new();
    for item in fields.required_items("resources")? {
        let name = item.text()?;
        rules::check_name(name)
            .map_err(|what| item.error(format_args!("{}: {what}", quoted(name))))?;
        if let Some(wildcard) = seen.wildcards.masking(name) {
            return Err(item.error(format_args!(
                "{}: {} of an earlier entry covers it, so these providers would never be used",
                quoted(name),
                quoted(&wildcard)
            )));
        }
        names.push(name);
    }
    rules::check_list(&names).map_err(|what| fields.field_error("resources", what))?;
    seen.wildcards.extend(&names);

    Ok(ResourceConfiguration {
        resources: names.into_iter().map(str::to_owned).collect(),
        providers: fields
            .required_items("providers")?
            .iter()
            .map(|provider| provider_configuration(provider, &mut seen.kms_names))
            .collect::<Result<_, _>>()?,
    })
}

fn provider_configuration<'a>(
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
