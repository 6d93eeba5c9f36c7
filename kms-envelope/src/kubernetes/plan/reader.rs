//! What can read values: providers, one key each.

use core::fmt;
use std::collections::BTreeSet;

use crate::kubernetes::config::ProviderRef;
use crate::kubernetes::value::prefix;
use crate::kubernetes::{
    KmsApiVersion, KmsConfiguration, NamedKey, ProviderConfiguration, ProviderKind,
};

/// A provider with one key. Two are the same if they read the same values: with the same prefix,
/// and the same key or the same plugin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reader<'a> {
    Identity,
    Local(ProviderKind, &'a NamedKey),
    Kms(&'a KmsConfiguration),
}

impl PartialEq for Reader<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Identity, Self::Identity) => true,
            (Self::Local(kind, key), Self::Local(other_kind, other)) => {
                kind == other_kind && key.name == other.name && key.secret == other.secret
            }
            // A time-out or a cache makes no difference to what is read.
            (Self::Kms(kms), Self::Kms(other)) => {
                kms.api_version == other.api_version
                    && kms.name == other.name
                    && kms.endpoint == other.endpoint
            }
            _ => false,
        }
    }
}

impl Eq for Reader<'_> {}

impl<'a> Reader<'a> {
    /// The name of a KMS v2 provider, which may stand in a configuration only once.
    pub(super) fn unique_name(&self) -> Option<&'a str> {
        match self {
            Self::Kms(kms) if kms.api_version == KmsApiVersion::V2 => Some(&kms.name),
            _ => None,
        }
    }

    pub(super) fn kms(&self) -> Option<&'a KmsConfiguration> {
        match self {
            Self::Kms(kms) => Some(kms),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> ProviderKind {
        match self {
            Self::Identity => ProviderKind::Identity,
            Self::Local(kind, _) => *kind,
            Self::Kms(kms) => match kms.api_version {
                KmsApiVersion::V1 => ProviderKind::KmsV1,
                KmsApiVersion::V2 => ProviderKind::KmsV2,
            },
        }
    }

    /// What values begin with that it wrote; empty for `identity`.
    pub(super) fn prefix(&self) -> String {
        let name = match self {
            Self::Identity => return String::new(),
            Self::Local(_, key) => &key.name,
            Self::Kms(kms) => &kms.name,
        };
        format!("{}{name}:", prefix::of(self.kind()))
    }
}

/// Readers in order, none of them twice. The first one writes.
pub(super) type Readers<'a> = Vec<Reader<'a>>;

/// The readers of a list of providers; of an empty one, `identity`: that is how a resource is
/// stored that no entry is about.
pub(super) fn readers_of<'a>(providers: &[&'a ProviderConfiguration]) -> Readers<'a> {
    let mut readers = Readers::new();
    for provider in providers {
        let local = |kind, keys: &'a [NamedKey]| -> Readers<'a> {
            keys.iter().map(|key| Reader::Local(kind, key)).collect()
        };
        let more = match provider {
            ProviderConfiguration::Identity => vec![Reader::Identity],
            ProviderConfiguration::AesCbc(keys) => local(ProviderKind::AesCbc, keys),
            ProviderConfiguration::AesGcm(keys) => local(ProviderKind::AesGcm, keys),
            ProviderConfiguration::Secretbox(keys) => local(ProviderKind::Secretbox, keys),
            ProviderConfiguration::Kms(kms) => vec![Reader::Kms(kms)],
        };
        append(&mut readers, &more);
    }
    if readers.is_empty() {
        readers.push(Reader::Identity);
    }
    readers
}

/// Adds what is not there yet.
pub(super) fn append<'a>(to: &mut Readers<'a>, more: &[Reader<'a>]) {
    for reader in more {
        if !to.contains(reader) {
            to.push(*reader);
        }
    }
}

/// `first`, and what `then` has more.
pub(super) fn joined<'a>(first: &[Reader<'a>], then: &[Reader<'a>]) -> Readers<'a> {
    let mut all = first.to_vec();
    append(&mut all, then);
    all
}

/// What `these` have and `those` lack.
pub(super) fn lacking<'a>(these: &[Reader<'a>], those: &[Reader<'a>]) -> Readers<'a> {
    let mut lacking = these.to_vec();
    lacking.retain(|reader| !those.contains(reader));
    lacking
}

pub(super) fn prefixes(readers: &[Reader<'_>]) -> BTreeSet<String> {
    readers.iter().map(Reader::prefix).collect()
}

/// Providers as they are written: keys of one kind that stand side by side are one provider's.
pub(super) fn providers_of<'a>(readers: &[Reader<'a>]) -> Vec<ProviderRef<'a>> {
    let mut providers = Vec::<ProviderRef<'_>>::new();
    for reader in readers {
        match (reader, providers.last_mut()) {
            (Reader::Local(kind, key), Some(ProviderRef::Local(last, keys))) if kind == last => {
                keys.push(key);
            }
            (Reader::Local(kind, key), _) => providers.push(ProviderRef::Local(*kind, vec![key])),
            (Reader::Identity, _) => providers.push(ProviderRef::Identity),
            (Reader::Kms(kms), _) => providers.push(ProviderRef::Kms(kms)),
        }
    }
    providers
}

/// For people: provider and name.
impl fmt::Display for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Identity => return f.write_str("identity"),
            Self::Local(_, key) => &key.name,
            Self::Kms(kms) => &kms.name,
        };
        write!(f, "{} {name}", self.kind())
    }
}
