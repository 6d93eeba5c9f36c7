//! A plan and a retirement for a person.

use core::fmt::Write as _;

use kms_envelope::reencrypt::SourceRole;

use super::{NeededBy, PlannedObjection, ResourceNeed, RetirePlan, Retirement, Step};
use crate::figures::{printable, thousands};

type Written = core::fmt::Result;

/// Keys that are named on a line.
const SHOWN: usize = 3;

/// Writes a plan as text.
#[must_use]
pub fn text_plan(plan: &RetirePlan) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = whole_plan(&mut text, plan);
    text
}

/// Writes what is in the way as text.
#[must_use]
pub fn refusal_text(objections: &[PlannedObjection]) -> String {
    let mut text = String::new();
    let _ = in_the_way(&mut text, objections);
    text
}

/// Writes a retirement as text.
#[must_use]
pub fn retirement_text(retirement: &Retirement) -> String {
    let mut text = String::new();
    let _ = whole_retirement(&mut text, retirement);
    text
}

fn whole_plan(text: &mut String, plan: &RetirePlan) -> Written {
    writeln!(text, "key {}", plan.key_id)?;
    scanned(text, plan)?;
    needed(text, &plan.needed_by)?;
    for note in &plan.notes {
        writeln!(text, "\n{}", printable(note))?;
    }
    if plan.objections.is_empty() {
        writeln!(
            text,
            "\nNothing that was scanned needs it, and all else was waived."
        )?;
    } else {
        in_the_way(text, &plan.objections)?;
    }
    steps(text, &plan.next_steps)
}

fn scanned(text: &mut String, plan: &RetirePlan) -> Written {
    writeln!(text, "\nscanned:")?;
    for source in plan.evidence.sources() {
        let live = match source.role() {
            SourceRole::Backup => "a backup",
            _ if source.is_live() => "live",
            _ => "a copy",
        };
        writeln!(
            text,
            "  {} {}, {live}, revision {}: {} objects, {} changes of history",
            source.kind(),
            printable(source.name()),
            source.revision(),
            thousands(source.objects()),
            thousands(source.changes()),
        )?;
    }
    for replica in plan.evidence.replicas() {
        let (name, key) = (printable(replica.name()), printable(replica.writes_with()));
        writeln!(text, "  replica {name}, which writes with {key}")?;
    }
    let waived = plan.evidence.waivers();
    if !waived.is_empty() {
        writeln!(text, "\nwaived:")?;
    }
    for waiver in waived {
        let (name, reason) = (printable(waiver.name()), printable(waiver.reason()));
        writeln!(text, "  {name}: {reason}")?;
    }
    Ok(())
}

fn needed(text: &mut String, needed: &NeededBy) -> Written {
    writeln!(
        text,
        "\nneeded by live objects: {}",
        thousands(needed.live.objects)
    )?;
    resources(text, &needed.live.by_resource)?;
    writeln!(
        text,
        "needed by history alone: {}",
        thousands(needed.history.records)
    )?;
    resources(text, &needed.history.by_resource)?;
    writeln!(text, "needed by backups: {}", needed.backups.len())?;
    for it in &needed.backups {
        let waived = if it.waived { ", waived" } else { "" };
        let (live, history) = (thousands(it.live), thousands(it.history));
        writeln!(
            text,
            "  {}: {live} objects, {history} values of history{waived}",
            printable(&it.name)
        )?;
    }
    writeln!(text, "written with by replicas: {}", needed.replicas.len())?;
    for it in &needed.replicas {
        writeln!(text, "  {}", printable(&it.name))?;
    }
    let unknown = &needed.unknown;
    let (objects, records) = (thousands(unknown.objects), thousands(unknown.records));
    writeln!(
        text,
        "cannot be known, and so in the way of every key: {objects} objects, {records} values of history"
    )?;
    for it in &unknown.groups {
        let waived = if it.waived { ", waived" } else { "" };
        writeln!(
            text,
            "  {} {} in {} under {} ({}{waived}){}",
            thousands(it.objects.saturating_add(it.records)),
            named(&it.resource),
            printable(&it.source),
            printable(it.prefix.trim_end_matches(':')),
            it.reason.as_str(),
            such_as(&it.examples),
        )?;
    }
    Ok(())
}

fn resources(text: &mut String, needs: &[ResourceNeed]) -> Written {
    for it in needs {
        let (count, examples) = (thousands(it.count), such_as(&it.examples));
        writeln!(
            text,
            "  {count} {} in {}{examples}",
            named(&it.resource),
            printable(&it.source)
        )?;
    }
    Ok(())
}

/// A resource; of a key outside the API server's prefix it is not known.
pub(super) const fn named(resource: &str) -> &str {
    match resource.is_empty() {
        true => "under an unknown prefix",
        false => resource,
    }
}

fn such_as(examples: &[String]) -> String {
    if examples.is_empty() {
        return String::new();
    }
    let shown = examples.get(..SHOWN).unwrap_or(examples);
    format!(", such as {}", shown.join(" "))
}

fn in_the_way(text: &mut String, objections: &[PlannedObjection]) -> Written {
    writeln!(text, "\nin the way:")?;
    for it in objections {
        writeln!(text, "  {}", it.message)?;
        match &it.waivable_as {
            Some(name) => {
                let name = printable(name);
                writeln!(text, "    to do: {} (its name: {name})", it.remedy)?;
            }
            None => writeln!(text, "    to do: {}", it.remedy)?,
        }
    }
    Ok(())
}

fn steps(text: &mut String, steps: &[Step]) -> Written {
    writeln!(text, "\nnext:")?;
    for (index, step) in steps.iter().enumerate() {
        writeln!(text, "  {}. {}", index.saturating_add(1), step.what)?;
        for command in &step.commands {
            writeln!(text, "       {command}")?;
        }
    }
    Ok(())
}

fn whole_retirement(text: &mut String, retirement: &Retirement) -> Written {
    writeln!(
        text,
        "key {} is needed by nothing that was scanned: cluster {}, revision {}",
        retirement.key_id, retirement.cluster_id, retirement.revision
    )?;
    for waiver in retirement.evidence.waivers() {
        let (name, reason) = (printable(waiver.name()), printable(waiver.reason()));
        writeln!(text, "  waived: {name}: {reason}")?;
    }
    steps(text, &retirement.next_steps)
}
