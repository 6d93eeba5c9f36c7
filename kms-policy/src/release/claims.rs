//! Claims beside a policy, with a trace of every condition.

use core::cmp::Ordering;
use core::fmt;

use serde::Serialize;
use serde_json::Value;

use super::{ClaimCondition, Condition, Operator, ReleasePolicy, Scalar};

/// What became of each condition of a policy.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReleaseTrace {
    /// Whether the key would be released.
    pub released: bool,
    /// Each authority, in the policy's order.
    pub authorities: Vec<AuthorityTrace>,
}

/// What became of one authority.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuthorityTrace {
    /// Its URL.
    pub authority: String,
    /// Whether it issued the claims.
    pub is_issuer: bool,
    /// Whether its conditions hold.
    pub holds: bool,
    /// Each condition on a claim.
    pub conditions: Vec<ClaimTrace>,
}

/// What became of a condition on one claim.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClaimTrace {
    /// Where it stands, such as `anyOf[0].allOf[2]`.
    pub path: String,
    /// The condition, such as `x-ms-attestation-type equals "sevsnpvm"`.
    pub condition: String,
    /// What the claim is; none if it is not there.
    pub got: Option<String>,
    /// Whether it holds.
    pub holds: bool,
    /// Whether another condition holds in its stead, so that it does not matter.
    pub is_optional: bool,
}

impl ReleaseTrace {
    /// Why the key is not released: conditions that do not hold and would have to, of authorities
    /// that issued the claims.
    pub fn failures(&self) -> impl Iterator<Item = &ClaimTrace> {
        let issuers = self
            .authorities
            .iter()
            .filter(|it| it.is_issuer && !it.holds);
        let conditions = issuers.flat_map(|authority| &authority.conditions);
        conditions.filter(|condition| !condition.holds && !condition.is_optional)
    }
}

impl fmt::Display for ReleaseTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for authority in &self.authorities {
            let verdict = match (authority.is_issuer, authority.holds) {
                (false, _) => "did not issue the token",
                (true, true) => "releases",
                (true, false) => "refuses",
            };
            writeln!(f, "{}: {verdict}", authority.authority)?;
            if !authority.is_issuer {
                continue;
            }
            for one in &authority.conditions {
                let mark = match (one.holds, one.is_optional) {
                    (true, _) => "holds",
                    (false, true) => "another holds",
                    (false, false) => "FAILS",
                };
                let got = one.got.as_deref().unwrap_or("nothing");
                writeln!(
                    f,
                    "  {mark:13} {}: {} (the claim is {got})",
                    one.path, one.condition
                )?;
            }
        }
        f.write_str(if self.released {
            "the key is released"
        } else {
            "the key is NOT released"
        })
    }
}

impl ReleasePolicy {
    /// Whether these claims, of a token that was checked, release the key.
    ///
    /// A claim that is missing fulfils nothing but `exists: false`. `"true"` and `"false"` are the
    /// same as the flags, and a decimal text is the same as the integer; other texts are compared
    /// letter by letter. What cannot be compared exactly, such as a fraction, is neither equal nor
    /// unequal. The issuer is the claim `iss`; slashes at the end do not count.
    #[must_use]
    pub fn evaluate(&self, claims: &Value) -> ReleaseTrace {
        let issuer = claims.get("iss").and_then(Value::as_str);
        let authorities = self
            .authorities
            .iter()
            .enumerate()
            .map(|(index, authority)| {
                let is_issuer =
                    issuer.is_some_and(|issuer| normal(issuer) == normal(&authority.url));
                let mut conditions = Vec::new();
                let path = format!("anyOf[{index}]");
                let holds = group(&authority.condition, claims, &path, &mut conditions);
                AuthorityTrace {
                    authority: authority.url.clone(),
                    is_issuer,
                    holds,
                    conditions,
                }
            });
        let authorities: Vec<_> = authorities.collect();
        ReleaseTrace {
            released: authorities.iter().any(|it| it.is_issuer && it.holds),
            authorities,
        }
    }
}

/// A URL as issuers are compared: scheme and host in lower case, no slash at the end.
pub(super) fn normal(url: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let start = format!("{scheme}://{host}").to_ascii_lowercase();
            if path.is_empty() {
                start
            } else {
                format!("{start}/{path}")
            }
        }
        None => url.to_owned(),
    }
}

fn group(condition: &Condition, claims: &Value, path: &str, traces: &mut Vec<ClaimTrace>) -> bool {
    let (name, conditions, needs_all) = match condition {
        Condition::AllOf(conditions) => ("allOf", conditions, true),
        Condition::AnyOf(conditions) => ("anyOf", conditions, false),
        Condition::Claim(condition) => {
            let trace = one(condition, claims, path);
            let holds = trace.holds;
            traces.push(trace);
            return holds;
        }
    };
    let before = traces.len();
    let mut holding: usize = 0;
    for (index, condition) in conditions.iter().enumerate() {
        let path = format!("{path}.{name}[{index}]");
        holding = holding.saturating_add(usize::from(group(condition, claims, &path, traces)));
    }
    if needs_all {
        return holding == conditions.len();
    }
    if holding > 0 {
        for trace in traces.iter_mut().skip(before) {
            trace.is_optional = true;
        }
    }
    holding > 0
}

fn one(condition: &ClaimCondition, claims: &Value, path: &str) -> ClaimTrace {
    let mut parts = condition.claim.split('.');
    let found = parts.try_fold(claims, |value, part| value.get(part));
    // Null is how some issuers leave a claim out.
    let found = found.filter(|value| !value.is_null());
    let holds = match (condition.operator, found) {
        (Operator::Exists, found) => match as_flag(&condition.value) {
            Some(wanted) => found.is_some() == wanted,
            None => false,
        },
        (_, None) => false,
        (Operator::Equals, Some(claim)) => is_equal(&condition.value, claim) == Some(true),
        (Operator::NotEquals, Some(claim)) => is_equal(&condition.value, claim) == Some(false),
        (operator, Some(claim)) => {
            let order = integer_of_claim(claim).zip(as_integer(&condition.value));
            order.is_some_and(|(claim, value)| is_ordered(operator, claim.cmp(&value)))
        }
    };
    ClaimTrace {
        path: path.to_owned(),
        condition: condition.to_string(),
        got: found.map(Value::to_string),
        holds,
        is_optional: false,
    }
}

const fn is_ordered(operator: Operator, order: Ordering) -> bool {
    match operator {
        Operator::Less => order.is_lt(),
        Operator::LessOrEquals => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEquals => order.is_ge(),
        Operator::Equals | Operator::NotEquals | Operator::Exists => false,
    }
}

/// Whether a claim is a value; none if they cannot be compared exactly: lists and objects, which the
/// grammar does not have, fractions, and numbers that are written otherwise than integers are.
fn is_equal(value: &Scalar, claim: &Value) -> Option<bool> {
    match claim {
        Value::Bool(claim) => Some(as_flag(value) == Some(*claim)),
        Value::Number(_) => {
            let claim = integer_of_claim(claim)?;
            match value {
                Scalar::Integer(number) => Some(i128::from(*number) == claim),
                Scalar::Text(text) => is_integer(text, claim),
                Scalar::Flag(_) => Some(false),
            }
        }
        Value::String(claim) => match value {
            Scalar::Text(text) => Some(text == claim),
            Scalar::Integer(number) => is_integer(claim, i128::from(*number)),
            Scalar::Flag(flag) => Some(flag_of(claim) == Some(*flag)),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether a text is an integer; none if it may be a number and is not written as integers are.
fn is_integer(text: &str, number: i128) -> Option<bool> {
    match integer(text) {
        Some(integer) => Some(integer == number),
        None if text.trim().parse::<f64>().is_ok() => None,
        None => Some(false),
    }
}

fn as_flag(value: &Scalar) -> Option<bool> {
    match value {
        Scalar::Flag(flag) => Some(*flag),
        Scalar::Text(text) => flag_of(text),
        Scalar::Integer(_) => None,
    }
}

fn flag_of(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn as_integer(value: &Scalar) -> Option<i128> {
    match value {
        Scalar::Integer(number) => Some(i128::from(*number)),
        Scalar::Text(text) => integer(text),
        Scalar::Flag(_) => None,
    }
}

/// JSON has no whole number over 64 bits that keeps its digits.
fn integer_of_claim(claim: &Value) -> Option<i128> {
    match claim {
        Value::Number(number) => {
            let signed = number.as_i64().map(i128::from);
            signed.or_else(|| number.as_u64().map(i128::from))
        }
        Value::String(text) => integer(text),
        _ => None,
    }
}

/// A decimal text, without plus sign, spaces or zeros before it.
fn integer(text: &str) -> Option<i128> {
    let number: i128 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
