//! What a migration came to.

use core::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{MigrationScope, Protection};
use crate::Error;
use crate::reencrypt::end::serialize_end;
use crate::reencrypt::{CensusRow, KeyIdUse};

/// What a migration came to. Serializes to JSON with the names of its fields.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct MigrationReport {
    /// How it ended.
    pub end: MigrationEnd,
    /// Which objects it was about.
    pub scope: MigrationScope,
    /// How the target was chosen.
    pub selector: String,
    /// What objects were brought to: one for each list of providers.
    pub targets: Vec<Protection>,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// How many objects were met, and what became of them; before an interruption too, if the
    /// migration went on from a checkpoint.
    pub counts: MigrationCounts,
    /// How often it went through all objects.
    pub passes: u32,
    /// How often it began again because the key had changed.
    pub restarts: u32,
    /// How long it took, in seconds, without what came before an interruption.
    pub seconds: f64,
    /// Objects that stay as they are, at most ten thousand: those that the verification found,
    /// or without one those that were met.
    pub remaining: Vec<Remaining>,
    /// How many there are.
    pub remaining_count: u64,
    /// What all objects of the scope are under in the end; none if nothing was changed or it
    /// stopped.
    pub verification: Option<MigrationVerification>,
}

/// How a migration ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum MigrationEnd {
    /// Every object of the scope opens under the target. After a dry run: every object opens.
    Complete,
    /// All were gone through, and some stay as they are.
    Incomplete,
    /// It stopped. A checkpoint tells where.
    Stopped(StopReason),
}

impl MigrationEnd {
    /// A stable lower-case name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Stopped(_) => "stopped",
        }
    }
}

/// The name, and for a stop its reason.
impl Serialize for MigrationEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reason = match self {
            Self::Stopped(reason) => Some((reason.as_str(), reason.to_string(), reason.remedy())),
            _ => None,
        };
        serialize_end(serializer, self.as_str(), reason)
    }
}

/// Why a migration stopped before its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum StopReason {
    /// It was asked to.
    Asked,
    /// The target writes with another key by now.
    KeyChanged {
        /// What it was to be.
        from: Protection,
        /// What it is.
        to: Protection,
    },
    /// A key provider refused, or did not answer for longer than patience allows.
    Kms(Error),
    /// The store refused, or did not answer for longer than patience allows.
    Store(kms_core::Error),
    /// The checkpoint cannot be kept, so that an interruption would lose its place.
    Checkpoint(Error),
    /// Another migration took over the board that workers share.
    Displaced(Error),
}

impl StopReason {
    /// A stable lower-case name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::KeyChanged { .. } => "key_changed",
            Self::Kms(_) => "kms",
            Self::Store(_) => "store",
            Self::Checkpoint(_) => "checkpoint",
            Self::Displaced(_) => "displaced",
        }
    }

    /// What the operator should do.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match self {
            Self::Asked => "resume the migration to go on",
            Self::KeyChanged { .. } => {
                "wait until every API server writes with the new key, then migrate again from the beginning"
            }
            Self::Kms(error) | Self::Checkpoint(error) | Self::Displaced(error) => error.remedy(),
            Self::Store(error) => error.remedy(),
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("it was asked to stop"),
            Self::KeyChanged { from, to } => {
                write!(f, "the target was {from}, and by now is {to}")
            }
            Self::Kms(error) => match error.provider_error() {
                Some(cause) => write!(f, "{error}: {cause}"),
                None => write!(f, "{error}"),
            },
            Self::Store(error) => write!(f, "the store: {error}"),
            Self::Checkpoint(error) => match error.provider_error() {
                Some(cause) => write!(f, "the checkpoint: {error}: {cause}"),
                None => write!(f, "the checkpoint: {error}"),
            },
            Self::Displaced(error) => write!(f, "{error}"),
        }
    }
}

/// How many objects were met, and what became of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MigrationCounts {
    /// Keys that were read, also those of other resources and namespaces.
    pub scanned: u64,
    /// Objects of the scope that were judged: the sum of `right`, `rewritten`, `by_others`,
    /// `would_rewrite`, `gone` and `left`. One that was written in each of two passes counts twice.
    pub objects: u64,
    /// Were right already.
    pub right: u64,
    /// Were rewritten.
    pub rewritten: u64,
    /// Of these, objects that were in clear.
    #[serde(default)]
    pub rewritten_from_clear: u64,
    /// Were brought to the target by somebody else who wrote them meanwhile.
    pub by_others: u64,
    /// Would have been rewritten, but for a dry run.
    pub would_rewrite: u64,
    /// Were deleted meanwhile.
    pub gone: u64,
    /// Stay as they are.
    pub left: u64,
    /// Writes that found an object changed, and left it as it was found.
    pub conflicts: u64,
}

impl MigrationCounts {
    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            scanned: with(self.scanned, other.scanned),
            objects: with(self.objects, other.objects),
            right: with(self.right, other.right),
            rewritten: with(self.rewritten, other.rewritten),
            rewritten_from_clear: with(self.rewritten_from_clear, other.rewritten_from_clear),
            by_others: with(self.by_others, other.by_others),
            would_rewrite: with(self.would_rewrite, other.would_rewrite),
            gone: with(self.gone, other.gone),
            left: with(self.left, other.left),
            conflicts: with(self.conflicts, other.conflicts),
        }
    }

    /// With what stays in the end, and a sum that fits.
    pub(super) const fn settled(mut self, left: u64) -> Self {
        self.left = left;
        self.objects = self
            .right
            .saturating_add(self.rewritten)
            .saturating_add(self.by_others)
            .saturating_add(self.would_rewrite)
            .saturating_add(self.gone)
            .saturating_add(left);
        self
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }
}

/// An object that stays as it is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Remaining {
    /// Its key; what is not printable ASCII is escaped.
    pub etcd_key: String,
    /// When it was last written.
    pub revision: u64,
    /// What it is under; what it says to be under, if it does not open.
    pub under: Option<Protection>,
    /// Why it stays.
    pub reason: RemainingReason,
}

/// Why an object stays as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RemainingReason {
    /// It does not open; why, in words.
    DoesNotOpen(String),
    /// It is under something else than the target, or of an old form. A migration can change
    /// that.
    OtherProtection,
    /// Somebody wrote it under something else than the target after the migration had begun:
    /// an API server that does not use the target yet.
    WrittenSince,
    /// It was last written before the migration began, and was to be rewritten whatever it is under.
    NotRenewed,
    /// It changed each time it was to be written.
    AlwaysChanging,
    /// It cannot be told which resource it is of, and so what API servers read it with.
    UnknownResource,
    /// It cannot be stored under the target; why, in words.
    CannotBeWritten(String),
}

impl RemainingReason {
    pub(super) fn does_not_open(error: &Error) -> Self {
        Self::DoesNotOpen(match error.provider_error() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })
    }

    /// A stable lower-case name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::DoesNotOpen(_) => "does_not_open",
            Self::OtherProtection => "other_protection",
            Self::WrittenSince => "written_since",
            Self::NotRenewed => "not_renewed",
            Self::AlwaysChanging => "always_changing",
            Self::UnknownResource => "unknown_resource",
            Self::CannotBeWritten(_) => "cannot_be_written",
        }
    }

    /// Whether going through all objects once more may change that.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::OtherProtection | Self::WrittenSince | Self::NotRenewed | Self::AlwaysChanging
        )
    }
}

impl fmt::Display for RemainingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DoesNotOpen(why) => return write!(f, "does not open: {why}"),
            Self::CannotBeWritten(why) => return write!(f, "cannot be written: {why}"),
            Self::OtherProtection => "is under something else",
            Self::WrittenSince => {
                "was written under something else since the migration began: an API server does not use the target yet"
            }
            Self::NotRenewed => "was not written since the migration began",
            Self::AlwaysChanging => "changed each time it was to be written",
            Self::UnknownResource => {
                "cannot be told to be of a resource; rewrite it through the Kubernetes API"
            }
        })
    }
}

/// As `{"kind": …, "message": …}`.
impl Serialize for RemainingReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("RemainingReason", 2)?;
        map.serialize_field("kind", self.as_str())?;
        map.serialize_field("message", &self.to_string())?;
        map.end()
    }
}

/// What all objects of the scope are under, read and opened at one revision.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MigrationVerification {
    /// The revision.
    pub revision: u64,
    /// Objects of the scope.
    pub objects: u64,
    /// Of these, objects that open under the target.
    pub right: u64,
    /// By everything that tells two values apart.
    pub census: Vec<CensusRow>,
    /// Every key id of KMS that is in use, with the number of objects.
    pub key_ids: Vec<KeyIdUse>,
}

/// Objects that are named; more are counted.
const MAX_NAMED: usize = 10_000;

/// Objects that stay, named up to a bound.
#[derive(Debug, Default)]
pub(super) struct RemainingList {
    pub(super) named: Vec<Remaining>,
    pub(super) count: u64,
    /// How many of them another pass may change.
    pub(super) may_pass: u64,
}

impl RemainingList {
    pub(super) fn push(&mut self, remaining: Remaining) {
        self.count = self.count.saturating_add(1);
        let may_pass = u64::from(remaining.reason.may_pass());
        self.may_pass = self.may_pass.saturating_add(may_pass);
        if self.named.len() < MAX_NAMED {
            self.named.push(remaining);
        }
    }
}
