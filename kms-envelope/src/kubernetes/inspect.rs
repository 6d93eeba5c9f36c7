//! What a stored value is encrypted with, without any key.

use core::fmt;

use ring::digest;
use serde::ser::{Serialize, Serializer};

use super::value::{Fault, aes_cbc, aes_gcm, kms_v1, kms_v2, prefix, secretbox};
use super::{DekSourceType, KmsApiVersion, ProviderConfiguration, ProviderKind};
use crate::Error;

/// What a stored value says about itself.
///
/// Nothing of this is authenticated: whoever can write to etcd can write another key id into a
/// value, and only reading the value shows that.
///
/// ```
/// use kms_envelope::kubernetes::{ProviderKind, inspect};
///
/// let value = b"k8s:enc:aesgcm:v1:key1:nonce and ciphertext and tag";
/// let inspection = inspect(value)?;
/// assert_eq!(inspection.provider, ProviderKind::AesGcm);
/// assert_eq!(inspection.name, Some("key1"));
///
/// assert_eq!(inspect(b"k8s\0...")?.provider, ProviderKind::Identity);
/// # Ok::<(), kms_envelope::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Inspection<'a> {
    /// The provider that wrote it.
    pub provider: ProviderKind,
    /// The name of the key, for KMS the name of the provider; none for `identity`.
    pub name: Option<&'a str>,
    /// KMS v2: the id of the KEK.
    pub key_id: Option<&'a str>,
    /// KMS v2: what the wrapped secret is.
    pub dek_source_type: Option<DekSourceType>,
    /// KMS: names the DEK source, so that values which share one can be counted.
    pub dek_source_digest: Option<DekSourceDigest>,
    /// KMS: the wrapped secret.
    #[serde(skip)]
    pub encrypted_dek_source: Option<&'a [u8]>,
    /// KMS: the length of the wrapped secret, in bytes.
    pub encrypted_dek_source_len: Option<usize>,
    /// What is encrypted, with nonce and tag but without prefix and envelope, in bytes; for
    /// `identity` all of the value.
    pub encrypted_data_len: usize,
    /// KMS v2: the names of the provider's notes, sorted.
    pub annotation_names: Vec<&'a str>,
    /// All of the value, in bytes.
    pub value_len: usize,
}

impl Inspection<'_> {
    /// The text in front of the payload, such as `k8s:enc:kms:v2:my-kms:`; empty for `identity`.
    #[must_use]
    pub fn prefix(&self) -> String {
        prefix_of(Some(self.provider), self.name)
    }
}

/// The digest of a DEK source: for KMS v2 of its type, its ciphertext, the key id and the
/// annotations; for KMS v1 of the encrypted DEK.
///
/// SHA-256 over each of these behind its length. Written and serialized in hexadecimal.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DekSourceDigest([u8; 32]);

impl DekSourceDigest {
    /// The digest itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn of_kms_v2(object: &kms_v2::EncryptedObject<'_>) -> Self {
        let kind = object.dek_source_type.number().to_be_bytes();
        let annotations = object
            .annotations
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), *value]);
        Self::new(
            [&kind, object.dek_source, object.key_id.as_bytes()]
                .into_iter()
                .chain(annotations),
        )
    }

    fn new<'a, I: IntoIterator<Item = &'a [u8]>>(parts: I) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl fmt::Display for DekSourceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DekSourceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DekSourceDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A value that says it is encrypted and is not whole.
///
/// It keeps what could be read before the fault, so that a census can count it where it belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DamagedValue<'a> {
    provider: Option<ProviderKind>,
    name: Option<&'a str>,
    fault: Fault,
}

impl<'a> DamagedValue<'a> {
    /// The provider, if the prefix names one that is known.
    #[must_use]
    pub const fn provider(&self) -> Option<ProviderKind> {
        self.provider
    }

    /// The name in the prefix, if it could be read.
    #[must_use]
    pub const fn name(&self) -> Option<&'a str> {
        self.name
    }

    /// The text in front of the payload, as far as it could be read.
    #[must_use]
    pub fn prefix(&self) -> String {
        prefix_of(self.provider, self.name)
    }

    /// The field that is damaged.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.fault.field
    }
}

impl fmt::Display for DamagedValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(provider) = self.provider {
            write!(f, "{provider} value")?;
        } else {
            f.write_str("value")?;
        }
        if let Some(name) = self.name {
            write!(f, " of {name:?}")?;
        }
        write!(f, ": {} {}", self.fault.field, self.fault.problem)
    }
}

impl core::error::Error for DamagedValue<'_> {}

impl From<DamagedValue<'_>> for Error {
    fn from(damaged: DamagedValue<'_>) -> Self {
        Self::new(crate::ErrorKind::Malformed, damaged.to_string())
    }
}

/// Says what a stored value is encrypted with.
///
/// The name in the prefix ends at the first colon; for KMS v1, at the first that an encrypted DEK
/// of less than 8,192 bytes can follow, since names of its providers may hold colons themselves.
/// Names of keys may, too: for those, and to be certain, use [`ConfiguredNames::inspect`].
///
/// A value that does not start with `k8s:enc:` is `identity`, whatever it holds.
///
/// # Errors
///
/// [`DamagedValue`] if the prefix is unknown, a part is cut off, or a limit of the KMS v2 format
/// does not hold.
pub fn inspect(value: &[u8]) -> Result<Inspection<'_>, DamagedValue<'_>> {
    inspect_named(value, None, None)
}

/// The names that a configuration uses, to split prefixes with.
#[derive(Clone, Debug, Default)]
pub struct ConfiguredNames(Vec<(ProviderKind, String)>);

impl ConfiguredNames {
    /// Collects the names of all keys and KMS providers.
    pub fn new<'c, I>(providers: I) -> Self
    where
        I: IntoIterator<Item = &'c ProviderConfiguration>,
    {
        let mut names = Vec::new();
        for provider in providers {
            let (kind, keys) = match provider {
                ProviderConfiguration::Identity => continue,
                ProviderConfiguration::AesCbc(keys) => (ProviderKind::AesCbc, keys),
                ProviderConfiguration::AesGcm(keys) => (ProviderKind::AesGcm, keys),
                ProviderConfiguration::Secretbox(keys) => (ProviderKind::Secretbox, keys),
                ProviderConfiguration::Kms(kms) => {
                    let kind = match kms.api_version {
                        KmsApiVersion::V1 => ProviderKind::KmsV1,
                        KmsApiVersion::V2 => ProviderKind::KmsV2,
                    };
                    names.push((kind, kms.name.clone()));
                    continue;
                }
            };
            names.extend(keys.iter().map(|key| (kind, key.name.clone())));
        }
        // Where one name starts another, the longer one is meant.
        names.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.cmp(b)));
        names.dedup();
        Self(names)
    }

    /// As [`inspect`], but a name of the configuration is matched whole, colons and all.
    ///
    /// # Errors
    ///
    /// As [`inspect`].
    pub fn inspect<'a>(&self, value: &'a [u8]) -> Result<Inspection<'a>, DamagedValue<'a>> {
        inspect_named(value, Some(self), None)
    }

    fn split<'a>(&self, kind: ProviderKind, rest: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        self.0.iter().find_map(|(of, name)| {
            let (found, payload) = rest.split_at_checked(name.len())?;
            let payload = payload.strip_prefix(b":")?;
            (*of == kind && found == name.as_bytes()).then_some((found, payload))
        })
    }
}

pub(crate) fn prefix_of(provider: Option<ProviderKind>, name: Option<&str>) -> String {
    let start = match provider {
        None => return String::from_utf8_lossy(prefix::ENCRYPTED).into_owned(),
        Some(ProviderKind::Identity) => return String::new(),
        Some(kind) => prefix::of(kind),
    };
    name.map_or_else(|| start.to_owned(), |name| format!("{start}{name}:"))
}

/// Inspects many values, and hashes a DEK source once where many in a row have the same.
#[derive(Debug, Default)]
pub(crate) struct Inspector {
    names: Option<ConfiguredNames>,
    last: LastSource,
}

impl Inspector {
    /// With the names of the configuration, or none.
    pub(crate) fn new(names: Option<ConfiguredNames>) -> Self {
        Self {
            names,
            last: LastSource::default(),
        }
    }

    /// As [`ConfiguredNames::inspect`], or [`inspect`] without names.
    pub(crate) fn inspect<'a>(
        &mut self,
        value: &'a [u8],
    ) -> Result<Inspection<'a>, DamagedValue<'a>> {
        inspect_named(value, self.names.as_ref(), Some(&mut self.last))
    }
}

/// The DEK source that was hashed last.
#[derive(Debug, Default)]
struct LastSource(Option<(WholeSource, DekSourceDigest)>);

#[derive(Debug)]
struct WholeSource {
    kind: DekSourceType,
    key_id: String,
    ciphertext: Vec<u8>,
    annotations: Vec<(String, Vec<u8>)>,
}

impl WholeSource {
    fn of(object: &kms_v2::EncryptedObject<'_>) -> Self {
        let annotations = object.annotations.iter();
        Self {
            kind: object.dek_source_type,
            key_id: object.key_id.to_owned(),
            ciphertext: object.dek_source.to_vec(),
            annotations: annotations
                .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
                .collect(),
        }
    }

    fn is_of(&self, object: &kms_v2::EncryptedObject<'_>) -> bool {
        self.kind == object.dek_source_type
            && self.ciphertext == object.dek_source
            && self.key_id == object.key_id
            && self.annotations.len() == object.annotations.len()
            && self
                .annotations
                .iter()
                .zip(&object.annotations)
                .all(|(ours, theirs)| ours.0 == theirs.0 && ours.1 == theirs.1)
    }
}

impl LastSource {
    fn digest(&mut self, object: &kms_v2::EncryptedObject<'_>) -> DekSourceDigest {
        match &self.0 {
            Some((source, digest)) if source.is_of(object) => *digest,
            _ => {
                let digest = DekSourceDigest::of_kms_v2(object);
                self.0 = Some((WholeSource::of(object), digest));
                digest
            }
        }
    }
}

fn inspect_named<'a>(
    value: &'a [u8],
    names: Option<&ConfiguredNames>,
    last: Option<&mut LastSource>,
) -> Result<Inspection<'a>, DamagedValue<'a>> {
    let damaged = |provider, name, fault| DamagedValue {
        provider,
        name,
        fault,
    };
    let Some((provider, rest)) = prefix::split(value) else {
        return Err(damaged(None, None, Fault::new("prefix", "is unknown")));
    };
    let mut inspection = Inspection {
        provider,
        name: None,
        key_id: None,
        dek_source_type: None,
        dek_source_digest: None,
        encrypted_dek_source: None,
        encrypted_dek_source_len: None,
        encrypted_data_len: rest.len(),
        annotation_names: Vec::new(),
        value_len: value.len(),
    };
    if provider == ProviderKind::Identity {
        return Ok(inspection);
    }
    let (name, payload) = names
        .and_then(|names| names.split(provider, rest))
        .or_else(|| guess_split(provider, rest))
        .ok_or(Fault::new("name", "does not end"))
        .map_err(|fault| damaged(Some(provider), None, fault))?;
    let name = core::str::from_utf8(name)
        .map_err(|_| damaged(Some(provider), None, Fault::new("name", "is not UTF-8")))?;
    inspection.name = Some(name);
    inspection.encrypted_data_len = payload.len();
    inspect_payload(&mut inspection, payload, last)
        .map_err(|fault| damaged(Some(provider), Some(name), fault))?;
    Ok(inspection)
}

/// Splits without knowing the names.
///
/// Within the name of a KMS v1 provider, what follows a colon is text, and text that is read as
/// the length of an encrypted DEK is 8,192 or more. No KMS writes so long a one: it would be a key
/// of 65,536 bits.
fn guess_split(kind: ProviderKind, rest: &[u8]) -> Option<(&[u8], &[u8])> {
    const MAX_NAME: usize = 512;
    let first = colons(rest).next()?;
    if kind != ProviderKind::KmsV1 {
        return Some(first);
    }
    let candidates = || {
        colons(rest)
            .take_while(|(name, _)| name.len() <= MAX_NAME)
            .filter(|(name, _)| is_text(name))
    };
    let is_whole = |payload: &[u8]| {
        kms_v1::parse(payload).is_ok_and(|parts| parts.body.len() >= aes_gcm::OVERHEAD)
    };
    let has_short_dek = |payload: &[u8]| {
        let length = payload.first_chunk().copied().map(u16::from_be_bytes);
        length.is_some_and(|length| (1..0x2000).contains(&length))
    };
    // A value that is cut off has its name all the same.
    candidates()
        .find(|(_, payload)| has_short_dek(payload) && is_whole(payload))
        .or_else(|| candidates().find(|(_, payload)| has_short_dek(payload)))
        .or_else(|| candidates().find(|(_, payload)| is_whole(payload)))
        .or(Some(first))
}

/// Every split at a colon.
fn colons(rest: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let places = rest.iter().enumerate();
    places
        .filter(|(_, byte)| **byte == b':')
        .filter_map(|(at, _)| {
            let (name, payload) = rest.split_at_checked(at)?;
            Some((name, payload.strip_prefix(b":")?))
        })
}

fn is_text(name: &[u8]) -> bool {
    core::str::from_utf8(name).is_ok_and(|name| !name.chars().any(char::is_control))
}

fn inspect_payload<'a>(
    inspection: &mut Inspection<'a>,
    payload: &'a [u8],
    last: Option<&mut LastSource>,
) -> Result<(), Fault> {
    const DATA: &str = "encrypted data";
    const TOO_SHORT: &str = "is too short";
    let at_least = |len: usize, bytes: &[u8]| {
        if bytes.len() < len {
            Err(Fault::new(DATA, TOO_SHORT))
        } else {
            Ok(())
        }
    };
    match inspection.provider {
        ProviderKind::Identity => Ok(()),
        ProviderKind::AesCbc if aes_cbc::has_its_shape(payload) => Ok(()),
        ProviderKind::AesCbc => Err(Fault::new(DATA, "is not an IV and whole blocks")),
        ProviderKind::AesGcm => at_least(aes_gcm::OVERHEAD, payload),
        ProviderKind::Secretbox => at_least(secretbox::OVERHEAD, payload),
        ProviderKind::KmsV1 => {
            let parts = kms_v1::parse(payload)?;
            // The old AES-CBC form is longer than this in any case.
            at_least(aes_gcm::OVERHEAD, parts.body)?;
            inspection.encrypted_data_len = parts.body.len();
            inspection.encrypted_dek_source = Some(parts.encrypted_dek);
            inspection.encrypted_dek_source_len = Some(parts.encrypted_dek.len());
            inspection.dek_source_digest = Some(DekSourceDigest::new([parts.encrypted_dek]));
            Ok(())
        }
        ProviderKind::KmsV2 => {
            let object = kms_v2::EncryptedObject::parse(payload)?;
            if object.encrypted_data.len() < kms_v2::min_encrypted_data_len(object.dek_source_type)
            {
                return Err(Fault::new("encryptedData", TOO_SHORT));
            }
            inspection.dek_source_digest = Some(match last {
                Some(last) => last.digest(&object),
                None => DekSourceDigest::of_kms_v2(&object),
            });
            inspection.key_id = Some(object.key_id);
            inspection.dek_source_type = Some(object.dek_source_type);
            inspection.encrypted_dek_source = Some(object.dek_source);
            inspection.encrypted_dek_source_len = Some(object.dek_source.len());
            inspection.encrypted_data_len = object.encrypted_data.len();
            inspection.annotation_names =
                object.annotations.iter().map(|(name, _)| *name).collect();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::value::wire::put_bytes;

    fn kms_v2(key_id: &str, source: &[u8], annotations: &[(&str, &[u8])], kind: u8) -> Vec<u8> {
        let mut out = b"k8s:enc:kms:v2:lab:".to_vec();
        put_bytes(&mut out, 1, &[7; 60]);
        put_bytes(&mut out, 2, key_id.as_bytes());
        put_bytes(&mut out, 3, source);
        for (name, value) in annotations {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, name.as_bytes());
            put_bytes(&mut entry, 2, value);
            put_bytes(&mut out, 4, &entry);
        }
        out.extend([5 << 3, kind]);
        out
    }

    /// Neighbours that differ in one part are not taken for each other.
    #[test]
    fn what_was_hashed_last_changes_no_digest() {
        let one: &[(&str, &[u8])] = &[("a.b", b"1")];
        let values = [
            kms_v2("key-1", b"source", one, 1),
            kms_v2("key-1", b"source", one, 1),
            kms_v2("key-2", b"source", one, 1),
            kms_v2("key-2", b"other", one, 1),
            kms_v2("key-2", b"other", &[("a.b", b"2")], 1),
            kms_v2("key-2", b"other", &[("a.c", b"2")], 1),
            kms_v2("key-2", b"other", &[], 1),
            kms_v2("key-2", b"other", &[], 0),
            kms_v2("key-1", b"source", one, 1),
        ];
        let mut inspector = Inspector::new(None);
        let digests: Vec<_> = values
            .iter()
            .map(|value| {
                let found = inspector.inspect(value).unwrap();
                assert_eq!(found, inspect(value).unwrap());
                found.dek_source_digest.unwrap()
            })
            .collect();
        assert_eq!(digests[0], digests[1]);
        assert_eq!(digests[0], digests[8]);
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), 7);
    }

    fn names() -> ConfiguredNames {
        let mut names = vec![
            (ProviderKind::AesGcm, "a".to_owned()),
            (ProviderKind::AesGcm, "a:b".to_owned()),
            (ProviderKind::KmsV1, "other:one".to_owned()),
        ];
        names.sort_by_key(|(_, name)| core::cmp::Reverse(name.len()));
        ConfiguredNames(names)
    }

    #[test]
    fn a_colon_in_the_name_of_a_kms_v1_provider_is_seen() {
        let payload = [&[0, 4][..], b"dek!", &[7; 60]].concat();
        let value = [b"k8s:enc:kms:v1:team:a:b:", payload.as_slice()].concat();
        assert_eq!(inspect(&value).unwrap().name, Some("team:a:b"));
        let plain = [b"k8s:enc:kms:v1:team:", payload.as_slice()].concat();
        assert_eq!(inspect(&plain).unwrap().name, Some("team"));
        let damaged = inspect(b"k8s:enc:kms:v1:team:a:").unwrap_err();
        assert_eq!(damaged.name(), Some("team"));
        // Read as a length, what follows the first colon is 24,890: a large value has that left.
        let large = [value.as_slice(), &[7; 100_000]].concat();
        assert_eq!(inspect(&large).unwrap().name, Some("team:a:b"));
        // Cut off within the encrypted DEK, or right behind it.
        let start = b"k8s:enc:kms:v1:team:a:b:".len();
        for end in start + 2..start + 6 + aes_gcm::OVERHEAD {
            let damaged = inspect(&value[..end]).unwrap_err();
            assert_eq!(damaged.name(), Some("team:a:b"), "{end}");
        }
        // A DEK of a length that no KMS writes is believed if nothing else is there.
        let absurd = [&[0x20, 0][..], &[7; 0x2000 + 28]].concat();
        let absurd = [b"k8s:enc:kms:v1:team:", absurd.as_slice()].concat();
        assert_eq!(inspect(&absurd).unwrap().name, Some("team"));
    }

    /// Ciphertext may hold anything, also what looks like the end of a longer name.
    #[test]
    fn a_colon_in_the_ciphertext_of_kms_v1_ends_no_name() {
        let body = [&[7; 30][..], b":", &[0, 4], b"dek!", &[7; 60]].concat();
        let whole = [b"k8s:enc:kms:v1:team:\0\x04dek!", body.as_slice()].concat();
        assert_eq!(inspect(&whole).unwrap().name, Some("team"));
        // With its own length destroyed, what comes next is no text.
        let mut broken = whole;
        broken[20] = 0xff;
        assert_eq!(inspect(&broken).unwrap_err().name(), Some("team"));
    }

    #[test]
    fn a_configured_name_may_hold_a_colon() {
        let value = b"k8s:enc:aesgcm:v1:a:b:0123456789012345678901234567";
        assert_eq!(inspect(value).unwrap().name, Some("a"));
        let inspection = names().inspect(value).unwrap();
        assert_eq!(inspection.name, Some("a:b"));
        assert_eq!(inspection.encrypted_data_len, 28);
    }

    #[test]
    fn a_name_of_another_provider_does_not_count() {
        let value = b"k8s:enc:aesgcm:v1:other:one:0123456789012345678901234567";
        assert_eq!(names().inspect(value).unwrap().name, Some("other"));
    }

    #[test]
    fn a_damaged_value_still_says_whose_it_is() {
        let damaged = inspect(b"k8s:enc:kms:v2:lab:\xff").unwrap_err();
        assert_eq!(damaged.provider(), Some(ProviderKind::KmsV2));
        assert_eq!(damaged.name(), Some("lab"));
        assert_eq!(damaged.field(), "EncryptedObject");
        assert!(damaged.to_string().contains("lab"));

        let unknown = inspect(b"k8s:enc:kms:v9:lab:").unwrap_err();
        assert_eq!((unknown.provider(), unknown.field()), (None, "prefix"));
        assert_eq!(damaged.prefix(), "k8s:enc:kms:v2:lab:");
        assert_eq!(unknown.prefix(), "k8s:enc:");
        let endless = inspect(b"k8s:enc:aescbc:v1:key").unwrap_err();
        assert_eq!(endless.prefix(), "k8s:enc:aescbc:v1:");
        assert_eq!(endless.provider(), Some(ProviderKind::AesCbc));
        assert_eq!((endless.name(), endless.field()), (None, "name"));
    }
}
