//! What came of a migration, for a person.

use core::fmt::Write as _;

use kms_envelope::reencrypt::ApiMigrationEnd;

use super::KubeOutcome;
use crate::figures::thousands;

/// Objects and places that are listed.
const MAX_LISTED: usize = 20;

/// Writes what came of it as text.
#[must_use]
pub fn kube_text_report(outcome: &KubeOutcome) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut text, outcome);
    text
}

fn write_report(text: &mut String, outcome: &KubeOutcome) -> core::fmt::Result {
    let report = &outcome.report;
    let counts = &report.counts;
    writeln!(text, "{}: {}", outcome.server, report.scopes.join("; "))?;
    if report.dry_run {
        writeln!(
            text,
            "{} objects; nothing was changed. The API does not tell which of them are stale",
            thousands(counts.objects)
        )?;
    } else {
        writeln!(
            text,
            "{} objects: {} written anew, {} held for fresh, {} deleted meanwhile, {} stay as they are; {} passes, {:.0} s",
            thousands(counts.objects),
            thousands(counts.written),
            thousands(counts.fresh),
            thousands(counts.gone),
            thousands(counts.left),
            report.passes,
            report.seconds,
        )?;
        if counts.conflicts > 0 || counts.throttled > 0 || counts.restarts > 0 {
            writeln!(
                text,
                "{} times overtaken by another writer, {} times asked to slow down, {} lists begun again",
                thousands(counts.conflicts),
                thousands(counts.throttled),
                thousands(counts.restarts),
            )?;
        }
    }
    list(
        text,
        "missing right",
        &outcome.missing_rights,
        outcome.missing_rights.len() as u64,
    )?;
    list(
        text,
        "left out",
        &outcome.omitted,
        outcome.omitted.len() as u64,
    )?;
    list(text, "not read", &report.unread, report.unread_count)?;
    let left: Vec<_> = report
        .left
        .iter()
        .map(|left| format!("{} {} {}", left.resource, left.path, left.reason))
        .collect();
    list(text, "left", &left, report.last_pass.left)?;
    for unchecked in &outcome.unchecked {
        writeln!(text, "not checked: {unchecked}")?;
    }
    if report.dry_run {
        return Ok(());
    }
    if report.is_settled && counts.written == 0 {
        writeln!(
            text,
            "Nothing was stale: all is under what the API servers write with, or they do not use the new key yet"
        )?;
    }
    if matches!(report.end, ApiMigrationEnd::Incomplete) && !report.is_settled {
        writeln!(
            text,
            "The last pass still found {} objects to write: some API server writes with another key than the others",
            thousands(report.last_pass.written)
        )?;
    }
    writeln!(text, "What this proves: {}", report.proves)
}

fn list(
    text: &mut String,
    what: &str,
    items: &[impl core::fmt::Display],
    count: u64,
) -> core::fmt::Result {
    for item in items.iter().take(MAX_LISTED) {
        writeln!(text, "{what}: {item}")?;
    }
    let listed = items.len().min(MAX_LISTED) as u64;
    match count.saturating_sub(listed) {
        0 => Ok(()),
        more => writeln!(text, "{what}: {} more; see --json", thousands(more)),
    }
}
