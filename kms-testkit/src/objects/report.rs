//! What a suite found.

use core::fmt;

/// What every check of a suite found.
#[derive(Clone, Debug)]
pub struct Report {
    suite: &'static str,
    checks: Vec<CheckResult>,
}

/// What one check found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckResult {
    /// The check, as a statement that should be true.
    pub name: &'static str,
    /// Whether it is.
    pub verdict: Verdict,
}

/// Whether a check's statement is true.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is.
    Passed,
    /// The harness or the implementation cannot do what the check needs.
    Skipped(String),
    /// It is not.
    Failed(String),
}

impl Report {
    pub(crate) const fn new(suite: &'static str) -> Self {
        Self {
            suite,
            checks: Vec::new(),
        }
    }

    pub(crate) fn record(&mut self, name: &'static str, result: Checked) {
        let verdict = match result {
            Ok(Done::Checked) => Verdict::Passed,
            Ok(Done::Skipped(why)) => Verdict::Skipped(why.to_owned()),
            Err(Fault(what)) => Verdict::Failed(what),
        };
        self.checks.push(CheckResult { name, verdict });
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        self.checks.extend(other.checks);
    }

    /// Every check, in the order they ran.
    #[must_use]
    pub fn checks(&self) -> &[CheckResult] {
        &self.checks
    }

    /// Whether no check failed, and at least one ran.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        !self.checks.is_empty() && self.failures().next().is_none()
    }

    /// The names of the checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &'static str> {
        self.checks
            .iter()
            .filter(|check| matches!(check.verdict, Verdict::Failed(_)))
            .map(|check| check.name)
    }

    /// The names of the checks that were skipped.
    pub fn skipped(&self) -> impl Iterator<Item = &'static str> {
        self.checks
            .iter()
            .filter(|check| matches!(check.verdict, Verdict::Skipped(_)))
            .map(|check| check.name)
    }
}

/// A line for each check.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} suite", self.suite)?;
        for check in &self.checks {
            let name = check.name;
            match &check.verdict {
                Verdict::Passed => write!(f, "\n  passed   {name}")?,
                Verdict::Skipped(why) => write!(f, "\n  skipped  {name}: {why}")?,
                Verdict::Failed(what) => write!(f, "\n  FAILED   {name}: {what}")?,
            }
        }
        Ok(())
    }
}

/// How a check ends.
pub(crate) type Checked = Result<Done, Fault>;

/// A check that found no fault.
pub(crate) enum Done {
    Checked,
    Skipped(&'static str),
}

/// Why a check failed.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) String);

impl From<kms_core::Error> for Fault {
    fn from(error: kms_core::Error) -> Self {
        Self(format!("{error} ({})", error.kind()))
    }
}

/// Fails unless the condition holds.
pub(crate) fn ensure(condition: bool, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if condition {
        Ok(())
    } else {
        Err(Fault(what()))
    }
}

/// Fails unless both are equal.
pub(crate) fn ensure_eq<T: fmt::Debug + PartialEq>(
    found: &T,
    expected: &T,
    what: &str,
) -> Result<(), Fault> {
    ensure(found == expected, || {
        format!("{what}: found {found:?}, expected {expected:?}")
    })
}

/// Fails unless the call was refused with this kind.
pub(crate) fn ensure_refused<T: fmt::Debug>(
    result: Result<T, kms_core::Error>,
    kind: kms_core::ErrorKind,
    what: &str,
) -> Result<(), Fault> {
    match result {
        Ok(answer) => Err(Fault(format!(
            "{what}: answered {answer:?} instead of refusing"
        ))),
        Err(error) => ensure_eq(&error.kind(), &kind, what),
    }
}
