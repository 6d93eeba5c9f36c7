//! What is worth knowing of a configuration, and of a change.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::class::{Lists, classes, lists};
use super::reader::{Reader, lacking};
use crate::kubernetes::{EncryptionConfiguration, KmsApiVersion, ProviderKind};

/// Something that kube-apiserver takes and an operator may not have meant.
///
/// Prints as a sentence; serializes to an object with `kind` and `detail`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Caution {
    /// Secrets are written in clear.
    SecretsInClear,
    /// What was encrypted will be written in clear (R37). The old key is needed until everything
    /// has been rewritten, and for backups after that.
    WillBeInClear {
        /// The resource.
        resource: String,
    },
    /// Objects in clear cannot be read: there is no `identity`.
    ClearIsUnreadable {
        /// The resource.
        resource: String,
    },
    /// Written with AES-CBC, which does not notice changes.
    Unauthenticated {
        /// The resource.
        resource: String,
    },
    /// Written with AES-GCM under a fixed key and random nonces: good for 200,000 writes.
    ManyWrites {
        /// The resource.
        resource: String,
    },
    /// Two `aescbc` keys whose values cannot be told apart: one value in some 256 opens with the
    /// wrong one, as garbage.
    CbcNamesOverlap {
        /// The resource.
        resource: String,
        /// One of the names.
        name: String,
    },
    /// KMS v1 is deprecated, and off since 1.29 unless `--feature-gates=KMSv1=true` is given.
    KmsV1 {
        /// Its name.
        name: String,
    },
    /// A KMS v1 in several lists: kube-apiserver refuses that with
    /// `--encryption-provider-config-automatic-reload`, and takes it without.
    KmsV1InSeveralLists {
        /// Its name.
        name: String,
    },
    /// A KMS gets another name for the same socket: its objects are rewritten all the same.
    KmsRenamed {
        /// The old name.
        from: String,
        /// The new one.
        to: String,
    },
    /// A KMS that goes must answer Status and Encrypt to the last: a server that restarts before
    /// that reads nothing through it otherwise.
    KmsNeededToTheLast {
        /// Its name.
        name: String,
    },
    /// A rotation inside the KMS needs no change of the configuration.
    NothingToPlan,
    /// A rotation inside a KMS v1 rewrites nothing, since its values do not say their key: give it
    /// another name.
    KmsV1RotationRewritesNothing {
        /// Its name.
        name: String,
    },
}

impl Caution {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SecretsInClear => "secrets_in_clear",
            Self::WillBeInClear { .. } => "will_be_in_clear",
            Self::ClearIsUnreadable { .. } => "clear_is_unreadable",
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::ManyWrites { .. } => "many_writes",
            Self::CbcNamesOverlap { .. } => "cbc_names_overlap",
            Self::KmsV1 { .. } => "kms_v1",
            Self::KmsV1InSeveralLists { .. } => "kms_v1_in_several_lists",
            Self::KmsRenamed { .. } => "kms_renamed",
            Self::KmsNeededToTheLast { .. } => "kms_needed_to_the_last",
            Self::NothingToPlan => "nothing_to_plan",
            Self::KmsV1RotationRewritesNothing { .. } => "kms_v1_rotation_rewrites_nothing",
        }
    }
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretsInClear => f.write_str("secrets are written in clear"),
            Self::WillBeInClear { resource } => write!(
                f,
                "{resource} will be written in clear; the old key is needed until all of them are rewritten, and for backups after that"
            ),
            Self::ClearIsUnreadable { resource } => write!(
                f,
                "{resource} that are in clear cannot be read: there is no identity provider"
            ),
            Self::Unauthenticated { resource } => write!(
                f,
                "{resource} are written with aescbc, which does not notice changes; secretbox and KMS v2 do"
            ),
            Self::ManyWrites { resource } => write!(
                f,
                "{resource} are written with aesgcm: change its key before 200,000 writes"
            ),
            Self::CbcNamesOverlap { resource, name } => write!(
                f,
                "{resource}: values of the aescbc key `{name}` are tried with another key, too, and one in some 256 opens with it as garbage"
            ),
            Self::KmsV1 { name } => write!(
                f,
                "the KMS `{name}` is v1, which is deprecated; since Kubernetes 1.29 API servers need --feature-gates=KMSv1=true for it"
            ),
            Self::KmsV1InSeveralLists { name } => write!(
                f,
                "the KMS v1 `{name}` stands in several entries, which API servers refuse that run with --encryption-provider-config-automatic-reload: restart them instead"
            ),
            Self::KmsRenamed { from, to } => write!(
                f,
                "the KMS `{from}` gets the name `{to}` for the same socket; objects under the old name are rewritten all the same"
            ),
            Self::KmsNeededToTheLast { name } => write!(
                f,
                "until the last step is done on every server, the KMS `{name}` must answer Status and Encrypt, not only Decrypt"
            ),
            Self::NothingToPlan => f.write_str(
                "the configurations mean the same; a rotation inside a KMS v2 needs no change of the configuration",
            ),
            Self::KmsV1RotationRewritesNothing { name } => write!(
                f,
                "after a rotation inside the KMS v1 `{name}` rewriting changes nothing: plan to another name for it, or to KMS v2"
            ),
        }
    }
}

impl Serialize for Caution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("kind", self.kind())?;
        map.serialize_entry("detail", &self.to_string())?;
        map.end()
    }
}

/// What is worth knowing of one configuration.
pub(super) fn of_configuration(configuration: &EncryptionConfiguration) -> Vec<Caution> {
    let lists = lists(&classes(&[configuration]), configuration);
    let mut cautions = Vec::new();
    let secrets = configuration.providers_for("", "secrets");
    let writes_clear = |first: Option<&&crate::kubernetes::ProviderConfiguration>| {
        first.is_none_or(|it| matches!(it, crate::kubernetes::ProviderConfiguration::Identity))
    };
    if writes_clear(secrets.first()) {
        cautions.push(Caution::SecretsInClear);
    }
    for (class, readers) in &lists {
        let resource = class.to_string();
        match readers.first().map(Reader::kind) {
            Some(ProviderKind::AesCbc) => cautions.push(Caution::Unauthenticated {
                resource: resource.clone(),
            }),
            Some(ProviderKind::AesGcm) => cautions.push(Caution::ManyWrites {
                resource: resource.clone(),
            }),
            _ => {}
        }
        if let Some(name) = overlapping_cbc_name(readers) {
            cautions.push(Caution::CbcNamesOverlap {
                resource: resource.clone(),
                name,
            });
        }
        if !readers.contains(&Reader::Identity) {
            cautions.push(Caution::ClearIsUnreadable { resource });
        }
    }
    for name in kms_v1_names(&lists) {
        cautions.push(Caution::KmsV1 { name });
    }
    cautions.extend(of_file(&lists));
    cautions
}

/// What is worth knowing of a file that says this.
pub(super) fn of_file(lists: &Lists<'_>) -> Vec<Caution> {
    let mut places = BTreeMap::<&str, BTreeSet<Vec<String>>>::new();
    for readers in lists.values() {
        let v1 = readers.iter().filter_map(Reader::kms);
        for kms in v1.filter(|kms| kms.api_version == KmsApiVersion::V1) {
            let list = readers.iter().map(ToString::to_string).collect();
            places.entry(&kms.name).or_default().insert(list);
        }
    }
    let several = places.into_iter().filter(|(_, lists)| lists.len() > 1);
    several
        .map(|(name, _)| Caution::KmsV1InSeveralLists {
            name: name.to_owned(),
        })
        .collect()
}

/// What is worth knowing of a change.
pub(super) fn of_change(from: &Lists<'_>, to: &Lists<'_>) -> Vec<Caution> {
    let mut cautions = Vec::new();
    let mut push = |caution| {
        if !cautions.contains(&caution) {
            cautions.push(caution);
        }
    };
    let mut leaving = BTreeMap::new();
    let mut coming = BTreeMap::new();
    for (class, old) in from {
        let Some(new) = to.get(class) else { continue };
        let is_clear = |list: &[Reader<'_>]| list.first() == Some(&Reader::Identity);
        if is_clear(new) && !is_clear(old) {
            let resource = class.to_string();
            push(Caution::WillBeInClear { resource });
        }
        for kms in lacking(old, new).iter().filter_map(Reader::kms) {
            leaving.insert(&kms.name, kms);
        }
        for kms in lacking(new, old).iter().filter_map(Reader::kms) {
            coming.insert(&kms.name, kms);
        }
    }
    for (name, kms) in &leaving {
        let renamed = coming
            .values()
            .find(|other| other.endpoint == kms.endpoint && other.api_version == kms.api_version);
        if let Some(other) = renamed {
            push(Caution::KmsRenamed {
                from: (*name).clone(),
                to: other.name.clone(),
            });
        }
        if kms.api_version == KmsApiVersion::V2 {
            push(Caution::KmsNeededToTheLast {
                name: (*name).clone(),
            });
        }
    }
    for name in kms_v1_names(from).into_iter().chain(kms_v1_names(to)) {
        push(Caution::KmsV1 { name });
    }
    cautions
}

/// What is worth knowing where nothing changes.
pub(super) fn of_no_change(lists: &Lists<'_>) -> Vec<Caution> {
    let mut cautions = vec![Caution::NothingToPlan];
    cautions.extend(
        kms_v1_names(lists)
            .into_iter()
            .map(|name| Caution::KmsV1RotationRewritesNothing { name }),
    );
    cautions
}

fn kms_v1_names(lists: &Lists<'_>) -> Vec<String> {
    let kms = lists.values().flatten().filter_map(Reader::kms);
    let v1 = kms.filter(|kms| kms.api_version == KmsApiVersion::V1);
    let mut names: Vec<_> = v1.map(|kms| kms.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// The name of an `aescbc` key whose values another one matches as well: of the same name, or of
/// one that ends at a colon of it.
fn overlapping_cbc_name(readers: &[Reader<'_>]) -> Option<String> {
    let cbc: Vec<_> = readers
        .iter()
        .filter(|reader| reader.kind() == ProviderKind::AesCbc)
        .map(Reader::prefix)
        .collect();
    let overlaps = |prefix: &String| {
        let matching = cbc
            .iter()
            .filter(|other| prefix.starts_with(other.as_str()));
        matching.count() > 1
    };
    let readers = readers
        .iter()
        .find(|reader| reader.kind() == ProviderKind::AesCbc && overlaps(&reader.prefix()))?;
    match readers {
        Reader::Local(_, key) => Some(key.name.clone()),
        _ => None,
    }
}
