//! What came out.

use core::fmt;

/// How a rule came out when it was not violated.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It was checked and holds.
    Held,
    /// It could not be checked or does not apply, for this reason.
    Skipped(&'static str),
}

/// How a rule was violated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation(String);

impl Violation {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Violation {}

pub(super) type Outcome = Result<Verdict, Violation>;

pub(super) const fn skip(reason: &'static str) -> Outcome {
    Ok(Verdict::Skipped(reason))
}

pub(super) fn violation(what: impl Into<String>) -> Outcome {
    Err(Violation::new(what))
}

/// Returns the violation unless the condition holds.
pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation::new(what()))
    }
}

/// Takes the value of a call that must succeed.
pub(super) fn succeeds<T>(answer: Result<T, kms_core::Error>, what: &str) -> Result<T, Violation> {
    answer.map_err(|error| Violation::new(format!("{what} fails: {error:?}")))
}

/// Takes the error of a call that must fail with one of these kinds.
pub(super) fn fails_with<T>(
    answer: Result<T, kms_core::Error>,
    kinds: &[kms_core::ErrorKind],
    what: &str,
) -> Result<kms_core::Error, Violation> {
    match answer {
        Ok(_) => Err(Violation::new(format!("{what} succeeds"))),
        Err(error) if kinds.contains(&error.kind()) => Ok(error),
        Err(error) => Err(Violation::new(format!(
            "{what} fails with {error:?}, not with {kinds:?}"
        ))),
    }
}

/// One rule and how it came out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuleResult {
    /// The name of the rule's function.
    pub rule: &'static str,
    /// How it came out.
    pub outcome: Result<Verdict, Violation>,
}

/// How every rule came out. `Display` is one line for each.
#[derive(Clone, Debug)]
#[must_use = "look at what was skipped, or call assert_passed"]
pub struct Report {
    provider: String,
    results: Vec<RuleResult>,
}

impl Report {
    pub(super) const fn new(provider: String) -> Self {
        Self {
            provider,
            results: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, rule: &'static str, outcome: Outcome) {
        self.results.push(RuleResult { rule, outcome });
    }

    /// The rules in the order they were checked in.
    #[must_use]
    pub fn results(&self) -> &[RuleResult] {
        &self.results
    }

    /// The names of the violated rules.
    pub fn violated(&self) -> impl Iterator<Item = &'static str> {
        self.results
            .iter()
            .filter(|result| result.outcome.is_err())
            .map(|result| result.rule)
    }

    /// The names of the skipped rules.
    pub fn skipped(&self) -> impl Iterator<Item = &'static str> {
        self.results
            .iter()
            .filter(|result| matches!(result.outcome, Ok(Verdict::Skipped(_))))
            .map(|result| result.rule)
    }

    /// Panics if a rule is violated.
    ///
    /// # Panics
    ///
    /// With the whole report, if a rule is violated.
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion, for tests")]
    pub fn assert_passed(&self) {
        if self.violated().next().is_some() {
            panic!("{self}");
        }
    }

    /// Panics if a rule is violated or skipped: for a provider whose harness has every hook.
    ///
    /// # Panics
    ///
    /// With the whole report, if a rule is violated or skipped.
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion, for tests")]
    pub fn assert_complete(&self) {
        self.assert_passed();
        if self.skipped().next().is_some() {
            panic!("{self}");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conformance of {}:", self.provider)?;
        for RuleResult { rule, outcome } in &self.results {
            match outcome {
                Ok(Verdict::Held) => write!(f, "\n  held     {rule}")?,
                Ok(Verdict::Skipped(reason)) => write!(f, "\n  skipped  {rule}: {reason}")?,
                Err(violation) => write!(f, "\n  VIOLATED {rule}: {violation}")?,
            }
        }
        Ok(())
    }
}
