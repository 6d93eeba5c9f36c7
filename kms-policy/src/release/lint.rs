//! What is doubtful in a release policy.

use core::fmt;

use serde::Serialize;

use super::claims::normal;
use super::{ClaimCondition, Condition, Operator, ReleasePolicy, Scalar};

/// One thing that is doubtful.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReleaseFinding {
    /// Which check found it, such as `hostdata-missing`.
    pub code: &'static str,
    /// The authority, if it is about one.
    pub authority: Option<String>,
    /// What is doubtful.
    pub message: String,
}

impl fmt::Display for ReleaseFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code)?;
        if let Some(authority) = &self.authority {
            write!(f, "{authority}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything doubtful in a policy; `immutable` is what the vault holds beside it, if that is known.
#[must_use]
pub fn lint(policy: &ReleasePolicy, immutable: Option<bool>) -> Vec<ReleaseFinding> {
    let mut findings = Vec::new();
    if immutable == Some(false) {
        findings.push(ReleaseFinding {
            code: "mutable",
            authority: None,
            message: "whoever may update the key may change its policy".to_owned(),
        });
    }
    for (index, authority) in policy.authorities.iter().enumerate() {
        let mut find = |code, message: String| {
            findings.push(ReleaseFinding {
                code,
                authority: Some(authority.url.clone()),
                message,
            });
        };
        if !authority.url.starts_with("https://") {
            find(
                "not-https",
                "the vault fetches its keys over https alone".to_owned(),
            );
        }
        let mut before = policy.authorities.iter().take(index);
        if before.any(|other| normal(&other.url) == normal(&authority.url)) {
            find(
                "authority-twice",
                "the conditions of both count: the weaker release".to_owned(),
            );
        }
        conditions(&authority.condition, &mut find);
    }
    findings
}

/// What a claim is called at the top, and within the part that guests of virtual machines have.
fn is_claim(condition: &ClaimCondition, name: &str) -> bool {
    let tee = condition.claim.strip_prefix("x-ms-isolation-tee.");
    tee.unwrap_or(&condition.claim) == name
}

fn conditions(all: &Condition, find: &mut dyn FnMut(&'static str, String)) {
    let needs = |name: &str| {
        requires(all, &|one| {
            is_claim(one, name) && one.operator == Operator::Equals
        })
    };
    let has_tee = requires(all, &|one| {
        let proves = ["x-ms-attestation-type", "x-ms-compliance-status"];
        one.operator == Operator::Equals
            && (proves.iter().any(|name| is_claim(one, name)) || one.claim.contains("sevsnpvm"))
            && !is_text(one, "azurevm")
    });
    if !has_tee {
        find(
            "no-tee",
            "no claim of confidential hardware is needed: an ordinary machine gets tokens, too"
                .to_owned(),
        );
    }
    if !needs("x-ms-sevsnpvm-hostdata") {
        find(
            "hostdata-missing",
            "any pod gets the key, whatever its policy".to_owned(),
        );
    }
    if !needs("x-ms-sevsnpvm-is-debuggable") {
        find(
            "debuggable-missing",
            "a guest whose memory the host may read gets the key".to_owned(),
        );
    }
    if !needs("x-ms-sevsnpvm-vmpl") {
        find(
            "vmpl-missing",
            "software below the guest's firmware gets the key".to_owned(),
        );
    }
    let is_vm = requires(all, &|one| {
        one.claim == "x-ms-attestation-type" && is_text(one, "azurevm")
    });
    let is_bare = requires(all, &|one| one.claim.starts_with("x-ms-sevsnpvm-"));
    if is_vm && is_bare {
        find(
            "impossible",
            "tokens of type azurevm have claims of hardware under x-ms-isolation-tee alone"
                .to_owned(),
        );
    }
    each(all, 0, &mut |one, depth| {
        if one.operator != Operator::Equals {
            find(
                "operator",
                format!("`{one}`: the first versions of the service know `equals` alone"),
            );
        }
        if depth > 1 {
            find(
                "nesting",
                format!(
                    "`{one}`: not every page of the service's documents allows conditions in conditions"
                ),
            );
        }
        let Scalar::Text(text) = &one.value else {
            return;
        };
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        let is_hash = text.len() == 64 && text.bytes().all(is_digit);
        if is_claim(one, "x-ms-sevsnpvm-hostdata") && !is_hash {
            find(
                "hostdata-form",
                format!("`{text}` is not 64 lower-case hexadecimal digits, and so never the claim"),
            );
        }
        if is_claim(one, "x-ms-sevsnpvm-hostdata")
            && is_hash
            && text.bytes().all(|digit| digit == b'0')
        {
            find(
                "hostdata-zero",
                "zero is the hash of every pod without a policy".to_owned(),
            );
        }
    });
}

fn is_text(condition: &ClaimCondition, text: &str) -> bool {
    condition.value == Scalar::Text(text.to_owned())
}

/// Whether no token gets by without such a condition.
fn requires(condition: &Condition, wanted: &dyn Fn(&ClaimCondition) -> bool) -> bool {
    match condition {
        Condition::AllOf(all) => all.iter().any(|one| requires(one, wanted)),
        Condition::AnyOf(any) => any.iter().all(|one| requires(one, wanted)),
        Condition::Claim(one) => wanted(one),
    }
}

fn each(condition: &Condition, depth: usize, visit: &mut dyn FnMut(&ClaimCondition, usize)) {
    match condition {
        Condition::AllOf(list) | Condition::AnyOf(list) => {
            for one in list {
                each(one, depth.saturating_add(1), visit);
            }
        }
        Condition::Claim(one) => visit(one, depth),
    }
}
