//! What is encrypted with what: the table that quickstart prints.

use std::collections::BTreeMap;
use std::io::{self, Write};

use kms_envelope::kubernetes::inspect;

use super::report::Progress;
use crate::figures::thousands;

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
        counts.bytes = counts
            .bytes
            .saturating_add(u64::try_from(value.len()).unwrap_or(u64::MAX));
    }

    /// How many objects are under this key id.
    pub(super) fn under(&self, key_id: &str) -> u64 {
        self.rows
            .iter()
            .filter(|(row, _)| row.key_id == key_id)
            .map(|(_, counts)| counts.objects)
            .sum()
    }
}

impl Tally {
    /// The table.
    pub(super) fn print<W: Write>(&self, progress: &mut Progress<W>) -> io::Result<()> {
        let head = ("PROVIDER", "NAME", "KEY ID", "OBJECTS", "BYTES");
        let width = |cell: fn(&Row) -> &str, head: &str| {
            self.rows
                .keys()
                .map(|row| cell(row).len())
                .max()
                .unwrap_or(0)
                .max(head.len())
        };
        let provider = width(|row| &row.provider, head.0);
        let name = width(|row| &row.name, head.1);
        let key_id = width(|row| &row.key_id, head.2);
        progress.line(format_args!(
            "{:provider$}  {:name$}  {:key_id$}  {:>9}  {:>12}",
            head.0, head.1, head.2, head.3, head.4
        ))?;
        for (row, counts) in &self.rows {
            progress.line(format_args!(
                "{:provider$}  {:name$}  {:key_id$}  {:>9}  {:>12}",
                row.provider,
                row.name,
                row.key_id,
                thousands(counts.objects),
                thousands(counts.bytes)
            ))?;
        }
        if self.damaged != 0 {
            progress.line(format_args!("{} damaged", thousands(self.damaged)))?;
        }
        Ok(())
    }
}
