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

/// The part of a token that has the claims of the hardware, for virtual machines.
const WITHIN_MACHINES: &str = "x-ms-isolation-tee.";

/// What a claim is called at the top, and within the part that guests of virtual machines have.
fn is_claim(condition: &ClaimCondition, name: &str) -> bool {
    let tee = condition.claim.strip_prefix(WITHIN_MACHINES);
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
        if let Some((code, message)) = value(one) {
            find(code, message);
        }
    });
}

/// What the service says of the guests that it knows: of AKS, of Container Instances, and of virtual
/// machines.
const COMPLIANT: [&str; 3] = [
    "azure-signed-katacc-uvm",
    "azure-compliant-uvm",
    "azure-compliant-cvm",
];

/// What is wrong with the value that a claim of the hardware is compared with.
fn value(one: &ClaimCondition) -> Option<(&'static str, String)> {
    let is_equals = match one.operator {
        Operator::Equals => true,
        Operator::NotEquals => false,
        _ => return None,
    };
    let flag = match &one.value {
        Scalar::Flag(flag) => Some(*flag),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Integer(_) => None,
    };
    let name = one.claim.strip_prefix(WITHIN_MACHINES);
    match name.unwrap_or(&one.claim) {
        "x-ms-sevsnpvm-hostdata" => hostdata(one, is_equals),
        "x-ms-sevsnpvm-is-debuggable" => match flag {
            None => Some((
                "debuggable-form",
                format!(
                    "{} is neither true nor false, and so never the claim",
                    one.value
                ),
            )),
            Some(flag) if flag == is_equals => Some((
                "debuggable-allowed",
                format!("`{one}`: a guest whose memory the host may read gets the key"),
            )),
            Some(_) => None,
        },
        "x-ms-sevsnpvm-vmpl" if is_equals && !is_zero(&one.value) => Some((
            "vmpl-unexpected",
            format!(
                "`{one}`: the guest's firmware reports level 0; others are of software below it"
            ),
        )),
        "x-ms-compliance-status"
            if is_equals && !COMPLIANT.iter().any(|status| is_text(one, status)) =>
        {
            Some((
                "compliance-unknown",
                format!(
                    "`{one}`: the service is known to say {} alone",
                    COMPLIANT.join(" or ")
                ),
            ))
        }
        _ => None,
    }
}

fn hostdata(one: &ClaimCondition, is_equals: bool) -> Option<(&'static str, String)> {
    let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    match &one.value {
        Scalar::Text(text) if text.len() == 64 && text.bytes().all(is_digit) => {
            let is_zero = is_equals && text.bytes().all(|digit| digit == b'0');
            let message = "zero is the hash of every pod without a policy";
            is_zero.then(|| ("hostdata-zero", message.to_owned()))
        }
        other => Some((
            "hostdata-form",
            format!("{other} is not 64 lower-case hexadecimal digits, and so never the claim"),
        )),
    }
}

fn is_zero(value: &Scalar) -> bool {
    match value {
        Scalar::Integer(number) => *number == 0,
        Scalar::Text(text) => text == "0",
        Scalar::Flag(_) => false,
    }
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
