//! What was found.

use core::fmt;
use std::collections::BTreeMap;

use serde::Serialize;

use super::check::{CheckId, Finding, Status};

/// One check and how it ended.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// Which.
    pub id: CheckId,
    /// What it asks, for people.
    pub title: &'static str,
    /// The rows of the project's requirements that it covers.
    pub rows: &'static [&'static str],
    /// How it ended.
    pub status: Status,
    /// What was seen: numbers, codes and names.
    pub evidence: String,
    /// What mends it, or tells more: a command where there is one.
    pub remedy: Option<String>,
}

/// How many checks ended in which way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// All is well.
    pub ok: usize,
    /// Works now, and may not for long.
    pub warn: usize,
    /// Cannot serve like this.
    pub fail: usize,
    /// Cannot be told from here.
    pub unknown: usize,
    /// Not looked at, since another check failed.
    pub skipped: usize,
}

impl Summary {
    /// Whether any check failed.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.fail > 0
    }
}

/// What [`run`](super::run) found. `Display` is a table for people.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The key that was examined.
    pub key: String,
    /// Who asked, without any secret.
    pub identity: String,
    /// Every check, in order.
    pub checks: Vec<Check>,
    /// How many ended in which way.
    pub summary: Summary,
}

impl Report {
    /// Every check that nothing was found for is skipped, because of `blocked_by`.
    pub(super) fn new(
        key: String,
        identity: String,
        mut found: BTreeMap<CheckId, Finding>,
        blocked_by: Option<CheckId>,
    ) -> Self {
        let checks: Vec<Check> = CheckId::ALL
            .into_iter()
            .map(|id| {
                let finding = found.remove(&id).unwrap_or_else(|| {
                    Finding::skipped(match blocked_by {
                        Some(other) => format!("waits for the check `{other}`"),
                        None => "not looked at".to_owned(),
                    })
                });
                Check {
                    id,
                    title: id.title(),
                    rows: id.rows(),
                    status: finding.status,
                    evidence: finding.evidence,
                    remedy: finding.remedy,
                }
            })
            .collect();
        let count = |status| checks.iter().filter(|check| check.status == status).count();
        let summary = Summary {
            ok: count(Status::Ok),
            warn: count(Status::Warn),
            fail: count(Status::Fail),
            unknown: count(Status::Unknown),
            skipped: count(Status::Skipped),
        };
        Self {
            key,
            identity,
            checks,
            summary,
        }
    }

    /// One check. Every report has all of them.
    #[must_use]
    pub fn check(&self, id: CheckId) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, as {}", self.key, self.identity)?;
        for check in &self.checks {
            writeln!(f, "{:<8} {:<17} {}", check.status, check.id, check.evidence)?;
            if let Some(remedy) = &check.remedy {
                writeln!(f, "{:<27}to do: {remedy}", "")?;
            }
        }
        let Summary {
            ok,
            warn,
            fail,
            unknown,
            skipped,
        } = self.summary;
        write!(
            f,
            "{ok} ok, {warn} warn, {fail} fail, {unknown} unknown, {skipped} skipped"
        )
    }
}
