//! What concerns the whole policy.

use serde_json::Value;

use super::{Finding, Severity};
use crate::Policy;
use crate::document::{PolicyDocument, words};
use crate::policy::MAX_ANNOTATIONS_LEN;
use crate::rules::{RulesOrigin, opened};

/// The longest line that engines with default limits take, in bytes.
const MAX_LINE: usize = 1024;

pub(super) fn findings(policy: &Policy, document: &PolicyDocument) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |code, severity, message: String, remedy| {
        findings.push(Finding {
            code,
            severity,
            container: None,
            message,
            remedy,
        });
    };
    let long = policy.text().lines().enumerate();
    if let Some((index, line)) = long.into_iter().find(|(_, line)| line.len() > MAX_LINE) {
        find(
            "long-line",
            Severity::Warning,
            format!(
                "line {} has {} columns, and engines with default limits take 1,024",
                index.saturating_add(1),
                line.len()
            ),
            "put long arguments or variables in a file",
        );
    }
    let len = policy.to_base64().len();
    if len > MAX_ANNOTATIONS_LEN / 4 * 3 {
        let severity = if len > MAX_ANNOTATIONS_LEN {
            Severity::Error
        } else {
            Severity::Warning
        };
        find(
            "size",
            severity,
            format!(
                "its annotation has {len} bytes of the {MAX_ANNOTATIONS_LEN} that all annotations of a pod may have together"
            ),
            "shorten arguments, or split the pod",
        );
    }
    for (name, value) in &document.data.request_defaults {
        if *value == Value::Bool(true) {
            find(
                "open-request",
                Severity::Warning,
                format!("the host may always ask for {name}"),
                "set it to false in the settings' request_defaults",
            );
        }
    }
    let exec = document.data.request_defaults.get("ExecProcessRequest");
    for (field, what) in [
        ("allowed_commands", "command"),
        ("commands", "command"),
        ("regex", "expression"),
    ] {
        let listed = exec.and_then(|exec| exec.get(field)?.as_array());
        for command in listed.into_iter().flatten() {
            find(
                "exec-allowed",
                Severity::Warning,
                format!(
                    "the host may run the {what} `{}` in every container",
                    words(command)
                ),
                "take it out of the settings' ExecProcessRequest",
            );
        }
    }
    let defaults = document.data.request_defaults.get("CreateContainerRequest");
    let patterns = defaults.and_then(|defaults| defaults.get("allow_env_regex")?.as_array());
    for pattern in patterns.into_iter().flatten().filter_map(Value::as_str) {
        if !pattern.starts_with('^') || !pattern.ends_with('$') || pattern.contains(".*") {
            find(
                "wildcard-env",
                Severity::Warning,
                format!("the expression `{pattern}` lets the host set variables to what it likes"),
                "anchor it with ^ and $, and say which letters it may have",
            );
        }
    }
    if document
        .data
        .request_defaults
        .contains_key("CopyFileRequest")
    {
        find(
            "files-unchecked",
            Severity::Note,
            "what is in ConfigMaps, Secrets and other files that the host copies in is never checked".to_owned(),
            "take secrets from a key broker, and verify what matters in the pod",
        );
    }
    if RulesOrigin::of(&document.rules) == RulesOrigin::Unknown {
        find(
            "unknown-rules",
            Severity::Warning,
            "its rules are not known: what is found here is about its data, and rules need not heed those".to_owned(),
            "see how they judge with `kms policy eval`, or generate it anew with rules that you trust",
        );
        for name in opened(&document.rules) {
            find(
                "open-rule",
                Severity::Error,
                format!("its rules allow {name}, whatever is in the request"),
                "take the line out of the rules",
            );
        }
    }
    if document
        .rules
        .contains("AllowRequestsFailingPolicy := true")
    {
        find(
            "lenient",
            Severity::Error,
            "requests that the policy denies are let pass (AllowRequestsFailingPolicy)".to_owned(),
            "set it to false",
        );
    }
    // Older engines take the word for a name, warn, and make another rule of it.
    let has_import = document.rules.lines().map(str::trim).any(|line| {
        [
            "import future.keywords.if",
            "import future.keywords",
            "import rego.v1",
        ]
        .contains(&line)
    });
    let code = document.rules.lines().map(str::trim);
    let mut code = code.filter(|line| !line.starts_with('#'));
    if !has_import && code.any(|line| line.split_whitespace().any(|word| word == "if")) {
        find(
            "dialect",
            Severity::Error,
            "engines of the older dialect of Rego (AKS) misread `if`, which is not imported"
                .to_owned(),
            "import future.keywords.if",
        );
    }
    #[cfg(feature = "evaluate")]
    findings.extend(dialects(policy));
    findings
}

/// Whether engines of both dialects take the policy.
#[cfg(feature = "evaluate")]
fn dialects(policy: &Policy) -> Vec<Finding> {
    use crate::evaluate::Evaluator;
    use crate::generate::Profile;

    let engines = [
        (Profile::AksAzl3, "the older dialect of Rego (AKS)"),
        (
            Profile::Kata,
            "the newer dialect of Rego (Kata Containers 4)",
        ),
    ];
    let refused = engines.into_iter().filter_map(|(profile, dialect)| {
        let error = Evaluator::new(profile, policy).err()?;
        let lines = error.message().lines().map(str::trim);
        let why = lines
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        Some(Finding {
            code: "dialect",
            severity: Severity::Warning,
            container: None,
            message: format!("an engine of {dialect} does not take it: {why}"),
            remedy: "import future.keywords, and write `if` before every body",
        })
    });
    refused.collect()
}
