//! What a census says is stored.

use std::collections::BTreeMap;

use crate::kubernetes::ProviderKind;
use crate::reencrypt::CensusReport;

/// What is stored, as far as a plan must know it: which resource is under what.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StoredObjects {
    /// The objects.
    pub rows: Vec<StoredRow>,
}

/// Objects of one resource with one prefix.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoredRow {
    /// As in the etcd key, such as `secrets` or `example.org/gadgets`; empty for keys that are no
    /// object's.
    pub resource: String,
    /// What the values begin with, such as `k8s:enc:aesgcm:v1:key1:`; empty in clear.
    pub prefix: String,
    /// Whether they are damaged.
    pub is_damaged: bool,
    /// How many there are.
    pub objects: u64,
}

impl StoredRow {
    /// Objects that are whole.
    #[must_use]
    pub fn new(resource: impl Into<String>, prefix: impl Into<String>, objects: u64) -> Self {
        Self {
            resource: resource.into(),
            prefix: prefix.into(),
            is_damaged: false,
            objects,
        }
    }

    /// Says that they are damaged.
    #[must_use]
    pub const fn with_damage(mut self, is_damaged: bool) -> Self {
        self.is_damaged = is_damaged;
        self
    }
}

impl StoredObjects {
    /// These.
    #[must_use]
    pub const fn new(rows: Vec<StoredRow>) -> Self {
        Self { rows }
    }
}

/// What is live; history is read by nobody who has not begun.
impl From<&CensusReport> for StoredObjects {
    fn from(report: &CensusReport) -> Self {
        let mut counts = BTreeMap::<(&str, &str, bool), u64>::new();
        for row in &report.live.census {
            let is_damaged = row.unparsable;
            let is_plain = row.provider == Some(ProviderKind::Identity);
            let prefix = if is_plain { "" } else { &*row.prefix };
            let count = counts
                .entry((&row.resource, prefix, is_damaged))
                .or_default();
            *count = count.saturating_add(row.count);
        }
        let rows = counts
            .into_iter()
            .map(|((resource, prefix, is_damaged), objects)| {
                StoredRow::new(resource, prefix, objects).with_damage(is_damaged)
            });
        Self::new(rows.collect())
    }
}
