//! What a migration through the API came to.

use core::fmt;

use kms_core::Error as CoreError;
use kms_core::object::ApiObject;
use serde::{Deserialize, Serialize, Serializer};

use super::ApiScope;
use super::place::path_of;
use crate::Error;
use crate::reencrypt::end::serialize_end;

/// Objects and places that are named; more are counted.
pub(super) const MAX_NAMED: usize = 300;

/// What a migration through the API came to. Serializes to JSON with the names of its fields.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ApiMigrationReport {
    /// How it ended.
    pub end: ApiMigrationEnd,
    /// What tells the cluster from others.
    pub cluster: String,
    /// What was to be rewritten, such as `v1 secrets` or `apps/v1 deployments in team-a`.
    pub scopes: Vec<String>,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// How many objects there were, and what became of them; before an interruption too, if the
    /// migration went on from a checkpoint.
    pub counts: ApiMigrationCounts,
    /// The same of the last pass alone.
    pub last_pass: ApiMigrationCounts,
    /// How often it went through all objects.
    pub passes: u32,
    /// Whether the last pass found nothing to write. If not, some server writes with another key
    /// than the others, or somebody's writes go through such a one.
    pub is_settled: bool,
    /// How long it took, in seconds, without what came before an interruption.
    pub seconds: f64,
    /// Objects that stay as they are, at most 300 of them.
    pub left: Vec<LeftObject>,
    /// What could not be read, and so not be rewritten; at most 300.
    pub unread: Vec<UnreadPlace>,
    /// How many places could not be read.
    pub unread_count: u64,
    /// What all of this proves: [`ApiMigrationReport::PROVES`].
    pub proves: &'static str,
}

impl ApiMigrationReport {
    /// What a settled migration proves, and what not.
    pub const PROVES: &'static str = "the API servers that answered hold every object that was read for fresh. Which key an object is under they do not tell: a census over etcd or a snapshot does, and history and backups need the old key as before";

    /// The names of scopes, as in reports.
    pub(super) fn names(scopes: &[ApiScope]) -> Vec<String> {
        scopes.iter().map(ToString::to_string).collect()
    }
}

/// How a migration ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum ApiMigrationEnd {
    /// The API servers hold every object for fresh. After a dry run: everything can be listed.
    Complete,
    /// All were gone through, and some stay as they are, or could not be read, or the last pass
    /// still found something to write.
    Incomplete,
    /// It stopped. A checkpoint tells where.
    Stopped(ApiStopReason),
}

impl ApiMigrationEnd {
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
impl Serialize for ApiMigrationEnd {
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
pub enum ApiStopReason {
    /// It was asked to.
    Asked,
    /// The server refused, or did not answer for longer than patience allows.
    Server(CoreError),
    /// The checkpoint cannot be kept, so that an interruption would lose its place.
    Checkpoint(Error),
}

impl ApiStopReason {
    /// A stable lower-case name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Server(_) => "server",
            Self::Checkpoint(_) => "checkpoint",
        }
    }

    /// What the operator should do.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match self {
            Self::Asked => "resume the migration to go on",
            Self::Server(error) => error.remedy(),
            Self::Checkpoint(error) => error.remedy(),
        }
    }
}

impl fmt::Display for ApiStopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("it was asked to stop"),
            Self::Server(error) => write!(f, "{error}"),
            Self::Checkpoint(error) => match error.provider_error() {
                Some(cause) => write!(f, "the checkpoint: {error}: {cause}"),
                None => write!(f, "the checkpoint: {error}"),
            },
        }
    }
}

/// How many objects there were, and what became of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ApiMigrationCounts {
    /// Objects that were listed.
    pub objects: u64,
    /// Were stored anew.
    pub written: u64,
    /// Were held for fresh.
    pub fresh: u64,
    /// Were deleted meanwhile.
    pub gone: u64,
    /// Stay as they are.
    pub left: u64,
    /// Rewrites that found an object changed since it was listed, and left it as it was found.
    pub conflicts: u64,
    /// How often the server asked to slow down.
    pub throttled: u64,
    /// How often a list was begun again, since the server did not hold the rest of it any more.
    pub restarts: u64,
}

impl ApiMigrationCounts {
    /// What a later pass adds: what it has written, and what it has met. The rest was counted in
    /// the first.
    pub(super) fn add_later(&mut self, pass: Self) {
        for (to, more) in [
            (&mut self.written, pass.written),
            (&mut self.conflicts, pass.conflicts),
            (&mut self.throttled, pass.throttled),
            (&mut self.restarts, pass.restarts),
        ] {
            *to = to.saturating_add(more);
        }
    }
}

/// An object that stays as it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LeftObject {
    /// Its resource, as an `EncryptionConfiguration` names it.
    pub resource: String,
    /// Its namespace and name, with a slash between; the name alone if it has no namespace.
    pub path: String,
    /// Why it stays.
    pub reason: LeftReason,
}

impl LeftObject {
    pub(super) fn new(object: &ApiObject, reason: LeftReason) -> Self {
        Self {
            resource: object.resource().to_string(),
            path: path_of(object),
            reason,
        }
    }
}

/// Why an object stays as it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "message")]
#[non_exhaustive]
pub enum LeftReason {
    /// The server refused it (admission, validation, quota); why, in its words.
    Refused(String),
    /// The server fails at it and not at others: as a rule, no key that it has opens it.
    Failed(String),
    /// It changed each time it was to be rewritten.
    AlwaysChanging,
}

impl fmt::Display for LeftReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "was refused: {why}"),
            Self::Failed(why) => write!(f, "fails: {why}"),
            Self::AlwaysChanging => f.write_str("changed each time it was to be rewritten"),
        }
    }
}

/// What could not be read or rewritten as a whole: a resource, or a namespace of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UnreadPlace {
    /// The resource, as an `EncryptionConfiguration` names it.
    pub resource: String,
    /// The namespace, if it is one.
    pub namespace: Option<String>,
    /// A stable lower-case name of what is wrong: that of a [`kms_core::ErrorKind`].
    pub kind: String,
    /// What is wrong.
    pub message: String,
    /// What the operator should do.
    pub remedy: String,
}

impl UnreadPlace {
    pub(super) fn new(scope: &ApiScope, namespace: Option<&str>, error: &CoreError) -> Self {
        Self {
            resource: scope.resource.to_string(),
            namespace: namespace.map(str::to_owned),
            kind: error.kind().as_str().to_owned(),
            message: error.to_string(),
            remedy: error.remedy().to_owned(),
        }
    }
}

impl fmt::Display for UnreadPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in {namespace}")?;
        }
        write!(f, ": {}", self.message)
    }
}
