//! Why a request was denied: which container came nearest, and which of its fields differ.
//!
//! This is a comparison of its own, over the policy's data; it asks no rules, and so it explains the
//! policies of other tools as well. It never says that a request is allowed.

mod container;
mod others;
mod storages;
mod text;

use core::fmt;

use serde::Serialize;
use serde_json::Value;

use super::request::Request;
use super::shape;
use crate::document::PolicyDocument;

/// Why a request was denied, as far as the policy's data tell.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Denial {
    /// The container that came nearest, by name; none if the request is for none.
    pub nearest: Option<String>,
    /// What differs. If it is empty the data alone do not tell; then it is the state, or the rules.
    pub differences: Vec<Difference>,
}

/// One field that differs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The field, such as `OCI.Process.Cwd`.
    pub field: String,
    /// What the policy expects. Values of variables are not shown.
    pub expected: String,
    /// What the request has. Values of variables are not shown.
    pub got: String,
}

impl Difference {
    fn new(field: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            expected: text::shorten(expected.into()),
            got: text::shorten(got.into()),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.nearest {
            writeln!(f, "nearest container: {name}")?;
        }
        if self.differences.is_empty() {
            return f.write_str("the policy's data allow it: it is the state, or the rules");
        }
        let mut is_first = true;
        for difference in &self.differences {
            if !is_first {
                f.write_str("\n")?;
            }
            is_first = false;
            let Difference {
                field,
                expected,
                got,
            } = difference;
            write!(f, "{field}: expected {expected}, got {got}")?;
        }
        Ok(())
    }
}

/// Explains why a policy denies a request. `state` is what the rules remember
/// ([`Evaluator::state`](super::Evaluator::state)), if the agent has that.
///
/// ```
/// use kms_policy::Policy;
/// use kms_policy::document::PolicyDocument;
/// use kms_policy::evaluate::{Request, explain_denial};
///
/// let policy = Policy::from_text("policy_data := {\"request_defaults\": {\"WriteStreamRequest\": false}}");
/// let document = PolicyDocument::parse(&policy).unwrap();
/// let request = Request::parse("WriteStreamRequest", "{}").unwrap();
/// let denial = explain_denial(&document, &request, None);
/// assert_eq!(denial.differences[0].field, "request_defaults.WriteStreamRequest");
/// ```
#[must_use]
pub fn explain_denial(
    document: &PolicyDocument,
    request: &Request,
    state: Option<&Value>,
) -> Denial {
    let mut body = request.body().clone();
    shape::complete(request.kind(), &mut body, true);
    match request.kind() {
        "CreateContainerRequest" => container::explain(document, &body, state),
        "ExecProcessRequest" => others::exec(document, &body, state),
        kind => Denial {
            nearest: None,
            differences: others::explain(document, kind, &body),
        },
    }
}
