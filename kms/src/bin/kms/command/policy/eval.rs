//! `kms policy eval` and `kms policy replay`

use std::path::Path;

use kms::{Failure, read_manifest};
use kms_policy::evaluate::{Case, Decision, Denial, Evaluator, Verdict, explain_denial, requests};
use serde_json::json;

use super::print_line;
use super::source::Source;
use crate::args::policy::{PolicyEval, PolicyReplay};

pub(super) fn eval(args: &PolicyEval) -> Result<(), Failure> {
    let source = args.source.open()?;
    let cases = read(&args.requests, args.kind.as_deref())?;
    let judged = judge(&source, cases)?;
    let is_wrong = |one: &Judged| {
        one.case
            .allowed
            .is_some_and(|allowed| allowed != one.is_allowed())
    };
    tell(&source, &judged, args.json)?;
    match judged.iter().filter(|one| is_wrong(one)).count() {
        0 => Ok(()),
        wrong => Err(Failure::new(
            "verdict",
            format!(
                "{wrong} of {} requests have another verdict than is recorded",
                judged.len()
            ),
            "see what is expected for each, and change the manifest or the settings",
        )),
    }
}

pub(super) fn replay(args: &PolicyReplay) -> Result<(), Failure> {
    let source = args.source.open()?;
    let judged = judge(&source, read(&args.log, None)?)?;
    tell(&source, &judged, args.json)?;
    match judged.iter().filter(|one| !one.is_allowed()).count() {
        0 => Ok(()),
        denied => Err(Failure::new(
            "verdict",
            format!("{denied} of {} requests are not allowed", judged.len()),
            "see what is expected for each, and change the manifest or the settings",
        )),
    }
}

struct Judged {
    case: Case,
    decision: Decision,
    /// Why, if it is not allowed.
    denial: Option<Denial>,
}

impl Judged {
    fn is_allowed(&self) -> bool {
        self.decision.verdict == Verdict::Allowed
    }
}

fn read(path: &Path, kind: Option<&str>) -> Result<Vec<Case>, Failure> {
    let text = read_manifest(path)?;
    requests(&text, kind).map_err(|error| Failure::from(error).at(path.display()))
}

fn judge(source: &Source, cases: Vec<Case>) -> Result<Vec<Judged>, Failure> {
    let mut evaluator = Evaluator::new(source.profile, &source.policy)?;
    let judged = cases.into_iter().map(|case| {
        let decision = evaluator.judge(&case.request)?;
        let is_denied = decision.verdict != Verdict::Allowed;
        let denial =
            is_denied.then(|| explain_denial(&source.document, &case.request, evaluator.state()));
        Ok(Judged {
            case,
            decision,
            denial,
        })
    });
    judged.collect()
}

fn tell(source: &Source, judged: &[Judged], as_json: bool) -> Result<(), Failure> {
    if judged.is_empty() {
        eprintln!("kms: there is no request to judge");
    }
    if as_json {
        let judged = judged.iter().map(|one| {
            json!({
                "kind": one.case.request.kind(),
                "description": one.case.description,
                "expected": one.case.allowed,
                "verdict": one.decision.verdict.as_str(),
                "let_pass": one.decision.is_lenient,
                "denial": one.denial,
                "prints": one.decision.prints,
            })
        });
        return print_line(&json!({
            "schema_version": 1,
            "profile": source.profile.as_str(),
            "requests": judged.collect::<Vec<_>>(),
        }));
    }
    for one in judged {
        let what = one.case.description.as_deref().unwrap_or_default();
        let verdict = one.decision.verdict.as_str();
        let kind = one.case.request.kind();
        let mark = match one.case.allowed {
            Some(allowed) if allowed != one.is_allowed() => "  NOT AS RECORDED",
            _ => "",
        };
        print_line(&format!("{verdict:9} {kind}  {what}{mark}").trim_end())?;
        if let Some(denial) = &one.denial {
            for line in denial.to_string().lines() {
                print_line(&format!("          {line}"))?;
            }
        }
    }
    Ok(())
}
