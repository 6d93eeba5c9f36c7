//! What is doubtful in a policy.
//!
//! Some of it the rules cannot close, as the request does not hold what would have to be checked: what
//! is in an image that the guest pulls, and what is in a file that the host copies in.

mod container;
mod text;

use core::fmt;

use serde::Serialize;

use crate::document::PolicyDocument;
use crate::{Error, Policy};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Weakens what the policy is for, or will fail somewhere.
    Warning,
    /// The pod is not protected, or will not start.
    Error,
}

impl Severity {
    /// Its name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is doubtful.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Which check found it, such as `wildcard-env`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The container, by name; none for what concerns the whole policy.
    pub container: Option<String>,
    /// What is doubtful.
    pub message: String,
    /// What to do.
    pub remedy: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.severity.as_str(), self.code)?;
        if let Some(container) = &self.container {
            write!(f, "{container}: ")?;
        }
        write!(f, "{} ({})", self.message, self.remedy)
    }
}

/// Everything doubtful in a policy, the worst first.
///
/// # Errors
///
/// [`ErrorKind::Rules`](crate::ErrorKind::Rules) as [`PolicyDocument::parse`].
///
/// ```
/// use kms_policy::Policy;
/// use kms_policy::lint::lint;
///
/// let text = r#"policy_data := {"containers": [], "request_defaults": {"ReadStreamRequest": true}}"#;
/// let findings = lint(&Policy::from_text(text)).unwrap();
/// assert!(findings.iter().any(|finding| finding.code == "open-request"));
/// ```
pub fn lint(policy: &Policy) -> Result<Vec<Finding>, Error> {
    let document = PolicyDocument::parse(policy)?;
    let mut findings = text::findings(policy, &document);
    for container in &document.data.containers {
        container::findings(&document, container, &mut findings);
    }
    findings.sort_by_key(|finding| core::cmp::Reverse(finding.severity));
    Ok(findings)
}
