//! From the model to a file that kube-apiserver reads.

use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_core::SecretBytes;
use zeroize::Zeroizing;

use super::provider::{DEFAULT_CACHE_SIZE, DEFAULT_TIMEOUT};
use super::{
    EncryptionConfiguration, KmsApiVersion, KmsConfiguration, NamedKey, ProviderConfiguration,
};
use crate::kubernetes::ProviderKind;

/// An entry that is to be written, with keys that belong to somebody else.
#[derive(Debug)]
pub(in crate::kubernetes) struct EntryRef<'a> {
    pub(in crate::kubernetes) resources: Vec<String>,
    pub(in crate::kubernetes) providers: Vec<ProviderRef<'a>>,
}

/// A provider of such an entry.
#[derive(Clone, Debug)]
pub(in crate::kubernetes) enum ProviderRef<'a> {
    Identity,
    Local(ProviderKind, Vec<&'a NamedKey>),
    Kms(&'a KmsConfiguration),
}

impl EncryptionConfiguration {
    /// Writes the configuration as YAML that kube-apiserver reads, and
    /// [`parse`](Self::parse) reads back as it was. Comments and layout of a file that it was read
    /// from are not kept; what has its default value is left out.
    ///
    /// The text holds the secrets of local keys: it goes into a file that only its owner may read,
    /// and nowhere else.
    ///
    /// ```
    /// use kms_envelope::kubernetes::EncryptionConfiguration;
    ///
    /// let text = "
    /// apiVersion: apiserver.config.k8s.io/v1
    /// kind: EncryptionConfiguration
    /// resources:
    ///   - resources:
    ///       - \"secrets\"
    ///     providers:
    ///       - identity: {}
    /// ";
    /// let configuration = EncryptionConfiguration::parse(text)?;
    /// assert_eq!(configuration.to_yaml().expose(), text.trim_start().as_bytes());
    /// # Ok::<(), kms_envelope::Error>(())
    /// ```
    #[must_use]
    pub fn to_yaml(&self) -> SecretBytes {
        let entries: Vec<_> = self
            .resources
            .iter()
            .map(|entry| EntryRef {
                resources: entry.resources.clone(),
                providers: entry.providers.iter().map(ProviderRef::from).collect(),
            })
            .collect();
        write(&[], &entries)
    }
}

impl<'a> From<&'a ProviderConfiguration> for ProviderRef<'a> {
    fn from(provider: &'a ProviderConfiguration) -> Self {
        let local = |kind, keys: &'a [NamedKey]| Self::Local(kind, keys.iter().collect());
        match provider {
            ProviderConfiguration::Identity => Self::Identity,
            ProviderConfiguration::AesCbc(keys) => local(ProviderKind::AesCbc, keys),
            ProviderConfiguration::AesGcm(keys) => local(ProviderKind::AesGcm, keys),
            ProviderConfiguration::Secretbox(keys) => local(ProviderKind::Secretbox, keys),
            ProviderConfiguration::Kms(kms) => Self::Kms(kms),
        }
    }
}

/// Writes entries below some lines of comment.
pub(in crate::kubernetes) fn write(comments: &[&str], entries: &[EntryRef<'_>]) -> SecretBytes {
    // Measured first, so that no copy is left behind by growing.
    let mut length = Measure(0);
    write_to(&mut length, comments, entries);
    let mut text = Zeroizing::new(Vec::with_capacity(length.0));
    write_to(&mut *text, comments, entries);
    SecretBytes::from_vec(core::mem::take(&mut *text))
}

/// Where text goes.
trait Sink {
    fn put(&mut self, text: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, text: &[u8]) {
        self.extend_from_slice(text);
    }
}

struct Measure(usize);

impl Sink for Measure {
    fn put(&mut self, text: &[u8]) {
        self.0 = self.0.saturating_add(text.len());
    }
}

fn write_to(out: &mut impl Sink, comments: &[&str], entries: &[EntryRef<'_>]) {
    for line in comments {
        put(out, &["# ", line, "\n"]);
    }
    put(
        out,
        &["apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"],
    );
    for entry in entries {
        put(out, &["  - resources:\n"]);
        for name in &entry.resources {
            put(out, &["      - ", &quoted(name), "\n"]);
        }
        put(out, &["    providers:\n"]);
        for provider in &entry.providers {
            write_provider(out, provider);
        }
    }
}

fn put(out: &mut impl Sink, parts: &[&str]) {
    for part in parts {
        out.put(part.as_bytes());
    }
}

fn write_provider(out: &mut impl Sink, provider: &ProviderRef<'_>) {
    match provider {
        ProviderRef::Identity => put(out, &["      - identity: {}\n"]),
        ProviderRef::Local(kind, keys) => {
            put(out, &["      - ", kind.as_str(), ":\n          keys:\n"]);
            for key in keys {
                put(
                    out,
                    &[
                        "            - name: ",
                        &quoted(&key.name),
                        "\n              secret: \"",
                    ],
                );
                write_base64(out, key.secret.expose());
                put(out, &["\"\n"]);
            }
        }
        ProviderRef::Kms(kms) => write_kms(out, kms),
    }
}

fn write_kms(out: &mut impl Sink, kms: &KmsConfiguration) {
    let version = match kms.api_version {
        KmsApiVersion::V1 => "v1",
        KmsApiVersion::V2 => "v2",
    };
    put(
        out,
        &[
            "      - kms:\n          apiVersion: ",
            version,
            "\n          name: ",
            &quoted(&kms.name),
            "\n          endpoint: ",
            &quoted(&kms.endpoint),
            "\n",
        ],
    );
    if kms.timeout != DEFAULT_TIMEOUT {
        put(
            out,
            &["          timeout: ", &go_duration(kms.timeout), "\n"],
        );
    }
    if let Some(size) = kms.cache_size.filter(|size| *size != DEFAULT_CACHE_SIZE) {
        put(out, &["          cachesize: ", &size.to_string(), "\n"]);
    }
}

/// Four letters for three bytes, one group after the other: no buffer holds more of a key.
fn write_base64(out: &mut impl Sink, secret: &[u8]) {
    for group in secret.chunks(3) {
        let mut letters = Zeroizing::new([0; 4]);
        // Four letters are what three bytes need.
        if let Ok(written) = STANDARD.encode_slice(group, letters.as_mut_slice()) {
            out.put(letters.get(..written).unwrap_or_default());
        }
    }
}

/// In double quotes, with the escapes that YAML and JSON have in common.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // What YAML does not print, and the byte order mark.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// As Go reads it, exactly, in the largest unit that is a whole number.
fn go_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
    let whole = units.into_iter().find_map(|(unit, size)| {
        let is_whole = nanoseconds.is_multiple_of(size);
        let count = nanoseconds.checked_div(size).filter(|_| is_whole)?;
        Some(format!("{count}{unit}"))
    });
    whole.unwrap_or_else(|| format!("{nanoseconds}ns"))
}
