//! A migration's outcome for a person.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use kms_envelope::reencrypt::{MigrationCounts, MigrationEnd, MigrationVerification, Remaining};

use super::MigrateOutcome;
use crate::cluster::text::{key_id_of, under, write_table};
use crate::figures::thousands;

type Written = core::fmt::Result;

/// Writes the outcome of a migration as text.
#[must_use]
pub fn migration_text(outcome: &MigrateOutcome) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = heading(&mut text, outcome);
    let _ = counts(&mut text, outcome);
    if let Some(verification) = &outcome.report.verification {
        let _ = verified(&mut text, verification);
    }
    let _ = remaining(&mut text, outcome);
    let _ = last_words(&mut text, outcome);
    text
}

fn heading(text: &mut String, outcome: &MigrateOutcome) -> Written {
    let (store, report) = (&outcome.store, &outcome.report);
    writeln!(
        text,
        "{} {}{}",
        store.kind,
        store.name,
        store
            .cluster_id
            .as_ref()
            .map_or_else(String::new, |id| format!(", cluster {id}"))
    )?;
    let does = if report.dry_run { "would bring" } else { "to" };
    for target in &report.targets {
        writeln!(text, "{}, {does} {target}", report.scope)?;
    }
    Ok(())
}

fn counts(text: &mut String, outcome: &MigrateOutcome) -> Written {
    let (report, counts) = (&outcome.report, &outcome.report.counts);
    let mut table = vec![["OBJECTS", ""].map(String::from)];
    let mut row = |number: u64, what: &str| {
        if number > 0 {
            table.push([thousands(number), what.to_owned()]);
        }
    };
    row(counts.rewritten, "rewritten");
    row(counts.would_rewrite, "would be rewritten");
    row(counts.right, "were right already");
    row(
        counts.by_others,
        "brought to the target by somebody else meanwhile",
    );
    row(counts.gone, "deleted meanwhile");
    row(report.remaining_count, "stay as they are");
    writeln!(text)?;
    write_table(text, &table)?;
    let seconds = report.seconds.max(0.001);
    writeln!(
        text,
        "{:.1} s, {} rewritten a second; {} writes found an object changed{}{}",
        report.seconds,
        thousands((counts.rewritten as f64 / seconds) as u64),
        thousands(counts.conflicts),
        match report.passes {
            0 | 1 => String::new(),
            passes => format!("; {passes} passes"),
        },
        match report.restarts {
            0 => String::new(),
            restarts => format!("; began again {restarts} times for a new key"),
        },
    )
}

fn verified(text: &mut String, verification: &MigrationVerification) -> Written {
    writeln!(
        text,
        "\nVerified at revision {}: {} of {} objects open under the target",
        verification.revision,
        thousands(verification.right),
        thousands(verification.objects)
    )?;
    if verification.census.is_empty() {
        return Ok(());
    }
    let mut table = vec![["RESOURCE", "UNDER", "KEY ID", "OBJECTS"].map(String::from)];
    for row in &verification.census {
        table.push([
            row.resource.clone(),
            under(row),
            key_id_of(row),
            thousands(row.count),
        ]);
    }
    write_table(text, &table)
}

/// Objects that are listed for each reason.
const MAX_LISTED: usize = 10;

fn remaining(text: &mut String, outcome: &MigrateOutcome) -> Written {
    let report = &outcome.report;
    if report.remaining.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nWhat stays:")?;
    let mut groups = BTreeMap::<&str, Vec<&Remaining>>::new();
    for remaining in &report.remaining {
        groups
            .entry(remaining.reason.as_str())
            .or_default()
            .push(remaining);
    }
    for (reason, group) in groups {
        writeln!(text, "  {} {reason}", thousands(group.len() as u64))?;
        for remaining in group.iter().take(MAX_LISTED) {
            let under = remaining
                .under
                .as_ref()
                .map_or_else(String::new, |under| format!(" ({under})"));
            writeln!(
                text,
                "    {}{under}: {}",
                remaining.etcd_key, remaining.reason
            )?;
        }
        if group.len() > MAX_LISTED {
            writeln!(text, "    and more; --json names them")?;
        }
    }
    Ok(())
}

fn last_words(text: &mut String, outcome: &MigrateOutcome) -> Written {
    let report = &outcome.report;
    if !outcome.unchecked.is_empty() {
        writeln!(text, "\nNot checked:")?;
        for what in &outcome.unchecked {
            writeln!(text, "  {what}")?;
        }
    }
    if matches!(report.end, MigrationEnd::Complete) {
        past(text, &report.counts)?;
    }
    Ok(())
}

/// What the past of the rewritten objects still needs, or gives away.
fn past(text: &mut String, counts: &MigrationCounts) -> Written {
    let in_clear = counts.rewritten_from_clear;
    if counts.rewritten > in_clear {
        writeln!(
            text,
            "\nThe old key is still needed: by what etcd keeps of the past until it is compacted and defragmented, and by backups."
        )?;
    }
    if in_clear > 0 {
        writeln!(
            text,
            "\n{} objects were in clear before: etcd still holds them in clear in what it keeps of the past, until that is compacted and defragmented, and so do backups.",
            thousands(in_clear)
        )?;
    }
    Ok(())
}
