//! `kms policy explain`, `diff` and `lint`

use kms::Failure;
use kms_policy::diff::diff as compare;
use kms_policy::explain::explain as describe;
use kms_policy::lint::{Severity, lint as check};
use serde_json::json;

use super::print_line;
use super::source::read;
use crate::args::policy::{PolicyDiff, PolicyExplain, PolicyLint};

pub(super) fn explain(args: &PolicyExplain) -> Result<(), Failure> {
    let source = args.source.open()?;
    let explanation = describe(&source.document);
    if !args.json {
        return print_line(&explanation);
    }
    print_line(&json!({
        "schema_version": 1,
        "profile": source.profile.as_str(),
        "explanation": explanation,
    }))
}

pub(super) fn diff(args: &PolicyDiff) -> Result<(), Failure> {
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    let changes = compare(&before.document, &after.document);
    if args.json {
        return print_line(&json!({ "schema_version": 1, "changes": changes }));
    }
    if changes.is_empty() {
        return print_line(&"the policies mean the same");
    }
    changes.iter().try_for_each(print_line)
}

pub(super) fn lint(args: &PolicyLint) -> Result<(), Failure> {
    let source = args.source.open()?;
    let findings = check(&source.policy)?;
    if args.json {
        print_line(&json!({ "schema_version": 1, "findings": findings }))?;
    } else {
        findings.iter().try_for_each(print_line)?;
    }
    let mut errors = findings.iter().filter(|it| it.severity == Severity::Error);
    match errors.next() {
        None => Ok(()),
        Some(first) => Err(Failure::new("lint", first.message.clone(), first.remedy)),
    }
}
