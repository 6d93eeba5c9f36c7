//! A plan for a person: what to do, what to look at, and how to go back.

use core::fmt::Write as _;

use kms_envelope::kubernetes::plan::{
    Action, Check, Migration, Plan, Purpose, ResourceReaders, Rollout, Step, Survey, Unchecked,
    Under, WayBack,
};

use super::{CensusFacts, PlannedFile};
use crate::cluster::text::write_table;
use crate::figures::thousands;

/// What a plan was made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanContext {
    /// The file of before; `None` if nothing has been encrypted so far.
    pub from: Option<String>,
    /// The file of after.
    pub to: String,
    /// The census.
    pub census: Option<CensusFacts>,
    /// How many API servers there are.
    pub replicas: Option<u32>,
    /// How files come to them.
    pub rollout: Rollout,
    /// The files that were written.
    pub files: Vec<PlannedFile>,
}

impl PlanContext {
    /// From this file to that.
    #[must_use]
    pub fn new(from: Option<String>, to: impl Into<String>) -> Self {
        Self {
            from,
            to: to.into(),
            census: None,
            replicas: None,
            rollout: Rollout::Rolling,
            files: Vec::new(),
        }
    }

    /// Says which census it was.
    #[must_use]
    pub fn with_census(mut self, census: impl Into<Option<CensusFacts>>) -> Self {
        self.census = census.into();
        self
    }

    /// Says how many API servers there are.
    #[must_use]
    pub fn with_replicas(mut self, count: impl Into<Option<u32>>) -> Self {
        self.replicas = count.into();
        self
    }

    /// Says how files come to them.
    #[must_use]
    pub const fn with_rollout(mut self, rollout: Rollout) -> Self {
        self.rollout = rollout;
        self
    }

    /// Says which files were written.
    #[must_use]
    pub fn with_files(mut self, files: Vec<PlannedFile>) -> Self {
        self.files = files;
        self
    }

    /// The file of a step, by its number from 1; of 0, that of before.
    fn file(&self, plan: &Plan, number: usize) -> String {
        if let Some(file) = self.files.iter().find(|file| file.step == number) {
            return file.path.display().to_string();
        }
        let step = number
            .checked_sub(1)
            .and_then(|index| plan.steps.get(index));
        match step.map(|step| &step.action) {
            Some(Action::Configure(file)) if file.is_target => self.to.clone(),
            Some(_) => format!("the file of step {number} (--out-dir writes it)"),
            None => self
                .from
                .clone()
                .unwrap_or_else(|| "API servers without --encryption-provider-config".to_owned()),
        }
    }

    fn servers(&self) -> String {
        match self.replicas {
            Some(1) => "the API server".to_owned(),
            Some(count) => format!("each of the {count} API servers"),
            None => "each API server".to_owned(),
        }
    }
}

type Written = core::fmt::Result;

/// Writes a plan as text.
#[must_use]
pub fn plan_text(plan: &Plan, context: &PlanContext) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = heading(&mut text, plan, context);
    for (number, step) in (1..).zip(&plan.steps) {
        let _ = write_step(&mut text, plan, context, number, step);
    }
    text
}

/// Writes what one configuration means as text.
#[must_use]
pub fn survey_text(survey: &Survey) -> String {
    let mut text = String::new();
    let _ = write_resources(&mut text, &survey.resources, "");
    let _ = list(&mut text, "\nWorth knowing:\n", &survey.cautions);
    text
}

fn heading(text: &mut String, plan: &Plan, context: &PlanContext) -> Written {
    let from = context.from.as_deref().unwrap_or("no encryption");
    match plan.steps.len() {
        0 if plan.is_refused() => writeln!(text, "From {from} to {}: refused", context.to)?,
        0 => writeln!(text, "From {from} to {}: nothing to do", context.to)?,
        1 => writeln!(text, "From {from} to {}: one step", context.to)?,
        steps => writeln!(text, "From {from} to {}: {steps} steps", context.to)?,
    }
    if let Some(census) = &context.census {
        writeln!(
            text,
            "Checked against {} {} at revision {}; what was written since is not in it",
            census.kind, census.name, census.revision
        )?;
    }
    for objection in &plan.objections {
        writeln!(
            text,
            "\nREFUSED: {objection}.\n  To do: {}.",
            objection.remedy()
        )?;
    }
    let unchecked: Vec<_> = plan.unchecked.iter().map(unchecked).collect();
    list(text, "\nNot checked:\n", &unchecked)?;
    list(text, "\nWorth knowing:\n", &plan.cautions)?;
    if plan.steps.is_empty() || context.rollout == Rollout::AllAtOnce {
        return Ok(());
    }
    text.push_str(HOW_FILES_ARE_TAKEN);
    Ok(())
}

/// How to bring a file to a server, and to see that it was taken: the same in every step.
const HOW_FILES_ARE_TAKEN: &str = "
How an API server takes a file:
  With --encryption-provider-config-automatic-reload it does so by itself within a minute or two. Its metrics tell:
  apiserver_encryption_config_controller_automatic_reloads_total{status=\"success\"} has grown
  (automatic_reload_success_total before 1.30) and status=\"failure\" has not; from 1.34 on …_last_config_info has one
  hash on all servers. A server that refuses a file goes on with the one before, and only the metrics say so.
  Without it, restart one server after the other, and wait for the /readyz of each before the next.
";

/// What was not checked, and what would check it.
fn unchecked(what: &Unchecked) -> String {
    match what {
        Unchecked::Census => format!("{what} (--census, --snapshot or --etcd tells)"),
        Unchecked::Kms { .. } => format!("{what} (--probe asks, where the plugins run)"),
        _ => what.to_string(),
    }
}

fn list<T: core::fmt::Display>(text: &mut String, title: &str, items: &[T]) -> Written {
    if items.is_empty() {
        return Ok(());
    }
    text.push_str(title);
    items
        .iter()
        .try_for_each(|item| writeln!(text, "  - {item}"))
}

fn write_step(
    text: &mut String,
    plan: &Plan,
    context: &PlanContext,
    number: usize,
    step: &Step,
) -> Written {
    writeln!(
        text,
        "\nStep {number} of {}: {} ({})",
        plan.steps.len(),
        step.purpose,
        aim(step.purpose)
    )?;
    match &step.action {
        Action::Configure(file) => {
            write_resources(text, &file.resources, "  ")?;
            for check in &step.checks {
                if let Check::KmsHealthy { names } = check {
                    let names = names.join(", ");
                    writeln!(
                        text,
                        "  First: the plugin of KMS {names} runs on every server."
                    )?;
                }
            }
            write_rollout(text, context, &context.file(plan, number))?;
        }
        Action::Migrate(migration) => write_migration(text, migration)?,
        _ => {}
    }
    if !step.checks.is_empty() {
        writeln!(text, "  Before going on:")?;
        for check in &step.checks {
            writeln!(text, "    - {}", sentence(check, context))?;
        }
    }
    let before = (0..number)
        .rev()
        .find(|number| is_file(plan, *number))
        .unwrap_or_default();
    match step.way_back {
        WayBack::PreviousFile => {
            writeln!(
                text,
                "  Way back: bring back {}.",
                context.file(plan, before)
            )
        }
        WayBack::SwitchBackAndMigrate => {
            let switch = plan
                .steps
                .iter()
                .position(|step| step.purpose == Purpose::SwitchWriter);
            let before = (0..=switch.unwrap_or_default())
                .rev()
                .find(|number| is_file(plan, *number))
                .unwrap_or_default();
            writeln!(
                text,
                "  Way back: bring back {}, and rewrite the objects once more.",
                context.file(plan, before)
            )
        }
        _ => writeln!(
            text,
            "  Way back: none. What is written from now on cannot be read with the file of before."
        ),
    }
}

/// Whether a step, by its number from 1, has a file. Zero is before the first.
fn is_file(plan: &Plan, number: usize) -> bool {
    let step = number
        .checked_sub(1)
        .and_then(|index| plan.steps.get(index));
    step.is_none_or(|step| matches!(step.action, Action::Configure(_)))
}

const fn aim(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::AddReaders => "every server can read what will be written later",
        Purpose::SwitchWriter => "every server writes anew, and reads what was written before",
        Purpose::Migrate => "every object is rewritten",
        Purpose::DropReaders => "what is no longer needed goes",
        _ => "what is written stays as it is",
    }
}

fn write_resources(text: &mut String, resources: &[ResourceReaders], indent: &str) -> Written {
    let mut table = vec![["RESOURCE", "WRITTEN WITH", "READ WITH, TOO"].map(String::from)];
    table.extend(resources.iter().map(|resource| {
        [
            resource.resource.clone(),
            resource.writes.clone(),
            resource.reads.join(", "),
        ]
    }));
    let mut lines = String::new();
    write_table(&mut lines, &table)?;
    lines
        .lines()
        .try_for_each(|line| writeln!(text, "{indent}{line}"))
}

fn write_rollout(text: &mut String, context: &PlanContext, file: &str) -> Written {
    let servers = context.servers();
    match context.rollout {
        Rollout::AllAtOnce if context.replicas != Some(1) => writeln!(
            text,
            "  Do: stop all API servers, give {servers} {file} as its --encryption-provider-config, and start them again."
        ),
        Rollout::AllAtOnce => writeln!(
            text,
            "  Do: give {servers} {file} as its --encryption-provider-config, and restart it."
        ),
        _ => writeln!(
            text,
            "  Do: give {servers} {file} as its --encryption-provider-config, one after the other."
        ),
    }
}

fn write_migration(text: &mut String, migration: &Migration) -> Written {
    let resources = migration.resources.join(", ");
    match migration.objects {
        Some(0) => writeln!(
            text,
            "  The census found nothing to rewrite of {resources}. Count again: somebody may have written since."
        )?,
        Some(objects) => writeln!(
            text,
            "  Do: have {} objects of {resources} rewritten, with `kms migrate`; or",
            thousands(objects)
        )?,
        None => writeln!(
            text,
            "  Do: have all objects of {resources} rewritten, with `kms migrate`; or"
        )?,
    }
    if migration.objects != Some(0) {
        for resource in &migration.resources {
            match resource.strip_prefix("*.") {
                None => writeln!(
                    text,
                    "    kubectl get {resource} --all-namespaces -o json | kubectl replace -f -"
                )?,
                Some(_) => writeln!(
                    text,
                    "    the same for each resource of {resource} that `kubectl api-resources --verbs=list,update -o name` tells"
                )?,
            }
        }
    }
    if !migration.is_required {
        writeln!(
            text,
            "  All of them stay readable without that; but the old key protects them until then."
        )?;
    }
    Ok(())
}

fn sentence(check: &Check, context: &PlanContext) -> String {
    let servers = context.servers();
    match check {
        Check::ConfigurationTaken => format!("{servers} has taken the file"),
        Check::KmsHealthy { names } => {
            let asked = names.iter().map(|name| replicas(name, " --as-readers", context));
            format!(
                "KMS {} answers {servers}: /readyz?verbose names no kms-provider that fails; of KMS v2 {}",
                names.join(", "),
                asked.collect::<Vec<_>>().join(" and ")
            )
        }
        Check::WritesWith { kms, prefixes } => {
            let mut parts = Vec::new();
            for name in kms {
                parts.push(format!(
                    "{} (write one object through each first)",
                    replicas(name, "", context)
                ));
            }
            for prefix in prefixes {
                parts.push(match prefix.as_str() {
                    "" => "an object that is created through each server is in clear in etcd".to_owned(),
                    prefix => format!(
                        "an object that is created through each server begins with {prefix} in etcd (`kms inspect`)"
                    ),
                });
            }
            parts.join("; ")
        }
        Check::NoObjectsUnder { under } => {
            let under: Vec<_> = under.iter().map(describe).collect();
            format!(
                "`kms census --etcd URL…` finds no object of {}",
                under.join(", none of ")
            )
        }
        Check::HistoryCompacted => {
            "ten minutes have passed, or etcd was compacted: paged lists that began before read old values. \
             Keep the old key while backups need it (`kms census --history`, and every backup)"
                .to_owned()
        }
        other => format!("{other:?}"),
    }
}

/// The command that asks all of them.
fn replicas(kms: &str, role: &str, context: &PlanContext) -> String {
    let count = context
        .replicas
        .map_or_else(|| "N".to_owned(), |count| count.to_string());
    format!(
        "`kms replicas{role} --kms {kms} --key-id KEY_ID --replicas {count} --metrics URL…` agrees"
    )
}

fn describe(under: &Under) -> String {
    match under.prefix.as_str() {
        "" => format!("{} in clear", under.resource),
        prefix => format!("{} under {prefix}", under.resource),
    }
}
