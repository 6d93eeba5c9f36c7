//! What is encrypted with what: the table that quickstart prints.

use std::collections::BTreeMap;
use core::fmt;

use kms_envelope::kubernetes::inspect;

/// Objects and bytes for each provider, name and key id.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rows: BTreeMap<Row, Counts>,
    damaged: u64,
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Row {
    provider: String,
    name: String,
    key_id: String,
}

#[derive(Debug, Default)]
struct Counts {
    objects: u64,
    bytes: u64,
}

impl Tally {
    /// Counts one stored value; needs no key.
    pub(super) fn count(&mut self, value: &[u8]) {
        let Ok(seen) = inspect(value) else {
            self.damaged = self.damaged.saturating_add(1);
            return;
        };
        let row = Row {
            provider: seen.provider.to_string(),
            name: seen.name.unwrap_or("-").to_owned(),
            key_id: seen.key_id.unwrap_or("-").to_owned(),
        };
        let counts = self.rows.entry(row).or_default();
        counts.objects = counts.objects.saturating_add(1);
        counts.bytes = counts.bytes.saturating_add(u64::try_from(value.len()).unwrap_or(u64::MAX));
    }

    /// How many objects are under this key id.
    pub(super) fn under(&self, key_id: &str) -> u64 {
        self.rows.iter().filter(|(row, _)| row.key_id == key_id).map(|(_, counts)| counts.objects).sum()
    }
}
