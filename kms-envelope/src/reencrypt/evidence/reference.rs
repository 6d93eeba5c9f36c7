//! Counts of values that need a key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::{CensusReport, CensusRow};
use super::ScannedSource;
use crate::kubernetes::ProviderKind;

/// How many values of one resource and one prefix need one key, or a key that cannot be known.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    pub(super) resource: String,
    pub(super) prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unknown: Option<UnknownKey>,
    pub(super) live: u64,
    pub(super) history: u64,
}

impl Reference {
    /// The resource, as in [`CensusRow::resource`].
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// What the values begin with, up to the last colon before the payload.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key that they name.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Why it cannot be known which key they need; `None` if they name it.
    #[must_use]
    pub const fn unknown(&self) -> Option<UnknownKey> {
        self.unknown
    }

    /// Live objects.
    #[must_use]
    pub const fn live(&self) -> u64 {
        self.live
    }

    /// Values that history holds and that are no longer live.
    #[must_use]
    pub const fn history(&self) -> u64 {
        self.history
    }

    /// The KMS v1 provider that wrote these, if that is what they are.
    pub(super) fn kms_v1_provider(&self) -> Option<&str> {
        (self.unknown == Some(UnknownKey::KmsV1))
            .then(|| provider_name(self.prefix.strip_suffix(':').unwrap_or(&self.prefix)))
    }
}

/// The name of a group of values whose key cannot be known: what a waiver names.
pub(super) fn group_name(unknown: UnknownKey, prefix: &str) -> String {
    let prefix = prefix.strip_suffix(':').unwrap_or(prefix);
    match unknown {
        UnknownKey::KmsV1 => format!("kms-v1:{}", provider_name(prefix)),
        UnknownKey::Damaged => format!("damaged:{prefix}"),
        UnknownKey::UnknownProvider => format!("unknown-provider:{prefix}"),
    }
}

fn provider_name(prefix: &str) -> &str {
    prefix.strip_prefix("k8s:enc:kms:v1:").unwrap_or(prefix)
}

/// Why it cannot be known which key a value needs. It then counts as a reference to every key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnknownKey {
    /// A KMS v1 value names no key id.
    KmsV1,
    /// The value says that it is encrypted, and is not whole.
    Damaged,
    /// The prefix is of no provider that is known here.
    UnknownProvider,
}

impl UnknownKey {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KmsV1 => "kms_v1",
            Self::Damaged => "damaged",
            Self::UnknownProvider => "unknown_provider",
        }
    }
}

/// A reference that is in the way of retiring the key that was asked for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FoundReference<'a> {
    /// Where it was found.
    pub source: &'a ScannedSource,
    /// The reference.
    pub reference: &'a Reference,
    /// Why it cannot be known whether it needs the key; `None` if it does.
    pub unknown: Option<UnknownKey>,
    /// Whether it was waived: with its backup, or as one whose key cannot be known.
    pub is_waived: bool,
}

/// What tells two references apart.
type Identity = (String, String, Option<String>, Option<UnknownKey>);

/// The references in a report, in the order of what tells them apart.
pub(super) fn of_report(report: &CensusReport) -> Vec<Reference> {
    let mut found = BTreeMap::<Identity, (u64, u64)>::new();
    let mut add = |row: &CensusRow, is_live: bool| {
        let Some((key_id, unknown)) = needed(row) else {
            return;
        };
        let identity = (row.resource.clone(), row.prefix.clone(), key_id, unknown);
        let (live, history) = found.entry(identity).or_default();
        let count = if is_live { live } else { history };
        *count = count.saturating_add(row.count);
    };
    report.live.census.iter().for_each(|row| add(row, true));
    let history = report.history.iter();
    history
        .flat_map(|history| &history.census_puts_not_live)
        .for_each(|row| add(row, false));
    found
        .into_iter()
        .map(
            |((resource, prefix, key_id, unknown), (live, history))| Reference {
                resource,
                prefix,
                key_id,
                unknown,
                live,
                history,
            },
        )
        .collect()
}

/// What a row needs; `None` if that is no key of a KMS.
fn needed(row: &CensusRow) -> Option<(Option<String>, Option<UnknownKey>)> {
    let unknown = match row.provider {
        None => UnknownKey::UnknownProvider,
        Some(_) if row.unparsable => UnknownKey::Damaged,
        Some(ProviderKind::KmsV1) => UnknownKey::KmsV1,
        Some(ProviderKind::KmsV2) => match &row.key_id {
            Some(key_id) => return Some((Some(key_id.clone()), None)),
            // Cannot be: a value that is whole names one.
            None => UnknownKey::Damaged,
        },
        Some(
            ProviderKind::Identity
            | ProviderKind::AesCbc
            | ProviderKind::AesGcm
            | ProviderKind::Secretbox,
        ) => return None,
    };
    Some((None, Some(unknown)))
}
