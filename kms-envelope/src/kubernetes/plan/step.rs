//! What a plan consists of.

use core::fmt;

use kms_core::SecretBytes;
use serde::{Serialize, Serializer};

use super::caution::Caution;
use super::objection::{Objection, Unchecked};
use crate::digest::sha256_hex;

/// The way from one configuration to another, on which every API server can read every object at
/// every moment, whether it has taken a step or not yet.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// What to do, in order. Empty if there is an objection, or nothing to do.
    pub steps: Vec<Step>,
    /// Why there is no plan.
    pub objections: Vec<Objection>,
    /// What is worth knowing.
    pub cautions: Vec<Caution>,
    /// What could not be checked.
    pub unchecked: Vec<Unchecked>,
}

impl Plan {
    /// Whether the change was refused.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        !self.objections.is_empty()
    }
}

/// One step.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// What it is for.
    pub purpose: Purpose,
    /// What to do.
    pub action: Action,
    /// What must hold before the next step.
    pub checks: Vec<Check>,
    /// How to undo it.
    pub way_back: WayBack,
}

/// What a step is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Purpose {
    /// Every server can read what will be written later.
    AddReaders,
    /// Every server writes with the new provider, and still reads what the old one wrote.
    SwitchWriter,
    /// Every object is under the new provider.
    Migrate,
    /// What is no longer needed is gone.
    DropReaders,
    /// What is read and written stays; the rest becomes as it should.
    Tidy,
}

impl Purpose {
    /// A stable lower-case name, for output, JSON and file names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddReaders => "add-readers",
            Self::SwitchWriter => "switch-writer",
            Self::Migrate => "migrate",
            Self::DropReaders => "drop-readers",
            Self::Tidy => "tidy",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Purpose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What to do in a step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Bring this file to every API server, one after the other.
    Configure(ConfigFile),
    /// Have objects rewritten by the API servers, or by whoever writes as they do.
    Migrate(Migration),
}

/// A configuration file.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConfigFile {
    /// The file. It may hold the secrets of local keys.
    pub text: SecretBytes,
    /// Whether it says what the last configuration says, so that the file of that can be used.
    pub is_target: bool,
    /// What it means for each resource that is encrypted in any step.
    pub resources: Vec<ResourceReaders>,
}

impl Serialize for ConfigFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut out = serializer.serialize_struct("ConfigFile", 3)?;
        out.serialize_field("is_target", &self.is_target)?;
        out.serialize_field("sha256", &sha256_hex(self.text.expose()))?;
        out.serialize_field("resources", &self.resources)?;
        out.end()
    }
}

/// What a configuration does with a resource.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ResourceReaders {
    /// The resource, as a configuration names it; `*.*` for all that it does not.
    pub resource: String,
    /// What writes it.
    pub writes: String,
    /// What else reads it.
    pub reads: Vec<String>,
}

/// Objects that are to be rewritten.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Migration {
    /// The resources, as a configuration names them.
    pub resources: Vec<String>,
    /// How many objects are not under what they will be, by the census.
    pub objects: Option<u64>,
    /// Whether the next step depends on it. If not, it is done so that the new provider protects
    /// what the old one wrote.
    pub is_required: bool,
}

/// What must hold before the next step.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Check {
    /// Every API server has taken the file.
    ConfigurationTaken,
    /// These KMS answer every API server.
    KmsHealthy {
        /// Their names.
        names: Vec<String>,
    },
    /// Every API server writes with its provider.
    WritesWith {
        /// Names of KMS v2 providers, whose use shows in metrics.
        kms: Vec<String>,
        /// What else objects that are written now must begin with; empty for objects in clear.
        prefixes: Vec<String>,
    },
    /// A census finds no object under these any more.
    NoObjectsUnder {
        /// What they begin with, and of which resources.
        under: Vec<Under>,
    },
    /// What was rewritten is gone from etcd's history, so that a paged list that began before
    /// does not meet it.
    HistoryCompacted,
}

/// Objects of a resource with a prefix.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Under {
    /// The resource, as a configuration names it.
    pub resource: String,
    /// What they begin with; empty for objects in clear.
    pub prefix: String,
}

/// How to undo a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WayBack {
    /// Bring back the file of the step before, or the first configuration.
    PreviousFile,
    /// Bring back the file that was there before the writer was switched, and rewrite once more
    /// what was rewritten; all of it stays readable meanwhile.
    SwitchBackAndMigrate,
    /// There is none: what was written meanwhile cannot be read by the file before.
    OnlyForward,
}
