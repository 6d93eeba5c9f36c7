//! A census for a person: one screen that says what is under which key.

use core::fmt::Write as _;

use kms_envelope::kubernetes::ProviderKind;
use kms_envelope::reencrypt::{CensusRow, KeyIdUse};

use super::{CensusOutcome, Verification};
use crate::figures::{bytes, thousands};

/// Rows of other resources that are stored as they are: one line for all, since they are meant
/// to be.
const SENSITIVE: [&str; 2] = ["secrets", "configmaps"];
/// Damaged objects that are listed.
const MAX_LISTED: usize = 20;

/// Writes a census as text.
#[must_use]
pub fn text_report(outcome: &CensusOutcome) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = heading(&mut text, outcome);
    let _ = rows(&mut text, outcome);
    let _ = key_ids(&mut text, &outcome.report.key_ids);
    let _ = damaged(&mut text, outcome);
    if let Some(verification) = &outcome.verify {
        let _ = verdict(&mut text, verification);
    }
    text
}

type Written = core::fmt::Result;

fn heading(text: &mut String, outcome: &CensusOutcome) -> Written {
    let (source, live) = (&outcome.source, &outcome.report.live);
    let encrypted: u64 = live
        .objects_by_resource
        .values()
        .map(|it| it.encrypted)
        .sum();
    writeln!(
        text,
        "{} {}, revision {}",
        source.kind, source.name, source.revision
    )?;
    writeln!(
        text,
        "{} objects, {}; {} encrypted, {} in clear{}",
        thousands(live.keys),
        bytes(live.value_bytes),
        thousands(encrypted),
        thousands(live.keys.saturating_sub(encrypted)),
        match source.compact_revision {
            0 => String::new(),
            revision => format!("; compacted up to revision {revision}"),
        }
    )?;
    if live.keys_outside_prefix > 0 {
        writeln!(
            text,
            "{} keys are not under the API server's prefix{}",
            thousands(live.keys_outside_prefix),
            match outcome.own_keys {
                0 => String::new(),
                own => format!(
                    "; {} of them, below /kms/, say where a migration or a rotation stands, and are no objects",
                    thousands(own)
                ),
            }
        )?;
    }
    if let Some(history) = &outcome.report.history {
        writeln!(
            text,
            "history: {} changes, {} values that are no longer live, {}",
            thousands(history.records),
            thousands(history.puts_not_live),
            bytes(history.value_bytes_not_live)
        )?;
    }
    Ok(())
}

fn rows(text: &mut String, outcome: &CensusOutcome) -> Written {
    let live = &outcome.report.live;
    let (others, shown): (Vec<_>, Vec<_>) = live.census.iter().partition(|row| {
        row.provider == Some(ProviderKind::Identity) && !SENSITIVE.contains(&&*row.resource)
    });
    let mut table =
        vec![["RESOURCE", "UNDER", "KEY ID", "OBJECTS", "BYTES", "DEKS"].map(String::from)];
    table.extend(shown.iter().map(|row| cells(row)));
    if !others.is_empty() {
        let objects = others.iter().map(|row| row.count).sum();
        let size = others.iter().map(|row| row.value_bytes).sum();
        table.push([
            format!("{} other resources", others.len()),
            "in clear".to_owned(),
            String::new(),
            thousands(objects),
            bytes(size),
            String::new(),
        ]);
    }
    writeln!(text)?;
    write_table(text, &table)
}

fn cells(row: &CensusRow) -> [String; 6] {
    let resource = if row.resource.is_empty() {
        "(outside the prefix)"
    } else {
        &row.resource
    };
    let sources = match row.distinct_encrypted_dek_sources {
        0 => String::new(),
        sources => thousands(sources),
    };
    [
        resource.to_owned(),
        under(row),
        key_id_of(row),
        thousands(row.count),
        bytes(row.value_bytes),
        sources,
    ]
}

/// What the objects of a row are under, but for the key id.
pub(super) fn under(row: &CensusRow) -> String {
    let prefix = row.prefix.trim_end_matches(':');
    match row.provider {
        Some(ProviderKind::Identity) => "in clear".to_owned(),
        _ if row.unparsable => format!("{prefix} DAMAGED"),
        _ => prefix.trim_start_matches("k8s:enc:").to_owned(),
    }
}

/// The key id; why there is none for KMS v1, and nothing for the rest.
pub(super) fn key_id_of(row: &CensusRow) -> String {
    match (row.provider, &row.key_id) {
        (_, Some(key_id)) => key_id.clone(),
        (Some(ProviderKind::KmsV1), None) => "(not in the value)".to_owned(),
        _ => String::new(),
    }
}

fn key_ids(text: &mut String, uses: &[KeyIdUse]) -> Written {
    if uses.is_empty() {
        return Ok(());
    }
    let mut table = vec![["KEY ID", "PROVIDER", "LIVE", "HISTORY", ""].map(String::from)];
    for found in uses {
        let key_id = found.key_id.clone();
        let note = if found.is_only_in_history() {
            "only in history: needed to restore an older revision"
        } else {
            ""
        };
        table.push([
            key_id.unwrap_or_else(|| "(unknown: KMS v1)".to_owned()),
            found
                .prefix
                .trim_start_matches("k8s:enc:")
                .trim_end_matches(':')
                .to_owned(),
            thousands(found.live_objects),
            found
                .records_not_live
                .map_or_else(|| "not read".to_owned(), thousands),
            note.to_owned(),
        ]);
    }
    writeln!(text)?;
    write_table(text, &table)
}

fn damaged(text: &mut String, outcome: &CensusOutcome) -> Written {
    let live = &outcome.report.live;
    if live.damaged.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nDamaged objects:")?;
    for object in live.damaged.iter().take(MAX_LISTED) {
        writeln!(
            text,
            "  {}  {}: {}",
            object.etcd_key, object.damage, object.reason
        )?;
    }
    let more = live.damaged.len().saturating_sub(MAX_LISTED) as u64;
    match more.saturating_add(live.damaged_not_named) {
        0 => Ok(()),
        more => writeln!(text, "  and {} more; --json names them", thousands(more)),
    }
}

fn verdict(text: &mut String, verification: &Verification) -> Written {
    writeln!(
        text,
        "\nWould this cluster come back after a restart? {}",
        if verification.would_start {
            "Yes"
        } else {
            "NO"
        }
    )?;
    for plugin in &verification.plugins {
        match (&plugin.reason, &plugin.remedy) {
            (Some(reason), Some(remedy)) => writeln!(
                text,
                "  KMS {} ({}) does not answer: {reason}. To do: {remedy}.",
                plugin.name, plugin.provider
            )?,
            _ => writeln!(
                text,
                "  KMS {} answers{}",
                plugin.name,
                plugin
                    .key_id
                    .as_ref()
                    .map_or_else(String::new, |id| format!(" with key {id}"))
            )?,
        }
    }
    writeln!(
        text,
        "  {} objects open, {} do not{}",
        thousands(verification.opened),
        thousands(verification.failed),
        match verification.stale {
            0 => String::new(),
            stale => format!(
                "; {} are not under what is written with now",
                thousands(stale)
            ),
        }
    )?;
    for blocker in &verification.blockers {
        let key_id = blocker
            .key_id
            .as_ref()
            .map_or_else(String::new, |id| format!(", key {id}"));
        writeln!(
            text,
            "  {} under {}{key_id}, such as {}: {}. To do: {}.",
            thousands(blocker.objects),
            blocker.prefix,
            blocker.example,
            blocker.reason,
            blocker.remedy
        )?;
    }
    Ok(())
}

/// Columns as wide as they must be; numbers to the right.
pub(crate) fn write_table<const N: usize>(text: &mut String, table: &[[String; N]]) -> Written {
    let mut widths = [0; N];
    for row in table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in table {
        let mut line = String::new();
        for (width, cell) in widths.into_iter().zip(row) {
            let is_number =
                cell.starts_with(|first: char| first.is_ascii_digit()) && !cell.contains("other");
            if is_number {
                write!(line, "{cell:>width$}  ")?;
            } else {
                write!(line, "{cell:width$}  ")?;
            }
        }
        writeln!(text, "{}", line.trim_end())?;
    }
    Ok(())
}
