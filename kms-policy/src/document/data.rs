//! The data of a policy, as far as a person is told of them. A field that is missing is empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The data of a policy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DocumentData {
    /// Its containers, the pause container first.
    pub containers: Vec<DocumentContainer>,
    /// Texts that stand for others.
    pub common: Map<String, Value>,
    /// What the sandbox may have.
    pub sandbox: Map<String, Value>,
    /// What requests may do that name no container.
    pub request_defaults: Map<String, Value>,
    /// How the cluster runs pods, with the profile `kata`.
    pub cluster_config: Option<Map<String, Value>>,
}

/// A container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DocumentContainer {
    /// What the runtime may be asked for.
    #[serde(rename = "OCI")]
    pub oci: DocumentOci,
    /// Storages that belong to it.
    pub storages: Vec<DocumentStorage>,
    /// Devices that are passed through to it.
    pub devices: Vec<Value>,
    /// Whether it shares the pod's process namespace.
    pub sandbox_pidns: bool,
    /// Commands that may be run in it: a text, or a list of words.
    pub exec_commands: Vec<Value>,
    /// Annotations that the runtime may add.
    pub runtime_anno_patterns: BTreeMap<String, String>,
}

/// What the runtime may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct DocumentOci {
    /// The version of the OCI runtime specification.
    pub version: String,
    /// The process.
    pub process: DocumentProcess,
    /// The root file system.
    pub root: DocumentRoot,
    /// Mounts.
    pub mounts: Vec<DocumentMount>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// What is particular to Linux.
    pub linux: DocumentLinux,
}

/// A process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct DocumentProcess {
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whom it runs as.
    pub user: DocumentUser,
    /// The command.
    pub args: Vec<String>,
    /// Variables, `NAME=VALUE`.
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: String,
    /// Capabilities by set.
    pub capabilities: BTreeMap<String, Vec<String>>,
    /// Whether it can gain no rights.
    pub no_new_privileges: bool,
}

/// Whom a process runs as.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DocumentUser {
    /// The user.
    #[serde(rename = "UID")]
    pub uid: u64,
    /// The group.
    #[serde(rename = "GID")]
    pub gid: u64,
    /// Further groups.
    #[serde(rename = "AdditionalGids")]
    pub additional_gids: Vec<u64>,
}

/// A root file system.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct DocumentRoot {
    /// Where.
    pub path: String,
    /// Whether it cannot be written.
    pub readonly: bool,
}

/// A mount.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DocumentMount {
    /// Where it appears.
    pub destination: String,
    /// What is mounted; a regular expression if it begins with `^` or `$(sfprefix)`.
    pub source: String,
    /// Its file system.
    pub type_: String,
    /// Its options.
    pub options: Vec<String>,
}

/// A storage.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DocumentStorage {
    /// How it reaches the guest.
    pub driver: String,
    /// Options of that.
    pub driver_options: Vec<String>,
    /// What is mounted.
    pub source: String,
    /// Its file system.
    pub fstype: String,
    /// Its options.
    pub options: Vec<String>,
    /// Where.
    pub mount_point: String,
}

/// What is particular to Linux.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct DocumentLinux {
    /// Namespaces of its own.
    pub namespaces: Vec<DocumentNamespace>,
    /// Paths that must be hidden.
    pub masked_paths: Vec<String>,
    /// Paths that must not be written.
    pub readonly_paths: Vec<String>,
    /// Kernel parameters that may be set.
    pub sysctl: BTreeMap<String, String>,
}

/// A namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct DocumentNamespace {
    /// Its kind.
    pub r#type: String,
}

#[cfg(feature = "evaluate")]
impl DocumentMount {
    /// As a request has it. What is not of its form is as if it were not there.
    pub(crate) fn from_json(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }
}

#[cfg(feature = "evaluate")]
impl DocumentStorage {
    /// As a request has it. What is not of its form is as if it were not there.
    pub(crate) fn from_json(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }
}

impl DocumentContainer {
    /// Its name; `pause` for the container that only holds the sandbox.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.is_pause() {
            return "pause";
        }
        self.annotation("io.kubernetes.cri.container-name")
    }

    /// Its image, as the manifest names it; empty for the pause container.
    #[must_use]
    pub fn image(&self) -> &str {
        self.annotation("io.kubernetes.cri.image-name")
    }

    /// Whether it only holds the sandbox.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        self.annotation("io.kubernetes.cri.container-type") == "sandbox"
    }

    /// The dm-verity root hashes of its image's layers, the topmost first; none if nothing proves the
    /// image.
    #[must_use]
    pub fn root_hashes(&self) -> Vec<&str> {
        let overlay = self.storages.iter().find(|it| it.driver == "overlayfs");
        let hashes = overlay.and_then(|overlay| overlay.options.get(1));
        hashes.map_or_else(Vec::new, |hashes| hashes.split(':').collect())
    }

    /// Whether it has all rights.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        let bounding = self.oci.process.capabilities.get("Bounding");
        bounding.is_some_and(|names| names.iter().any(|name| name == "$(privileged_caps)"))
    }

    /// The commands that may be run in it, words joined by spaces.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.exec_commands.iter().map(words).collect()
    }

    fn annotation(&self, name: &str) -> &str {
        let found = self.oci.annotations.get(name);
        found.map(String::as_str).unwrap_or_default()
    }
}

/// A command as one text.
pub(crate) fn words(command: &Value) -> String {
    match command {
        Value::String(text) => text.clone(),
        Value::Array(words) => {
            let words = words.iter().map(|word| word.as_str().unwrap_or_default());
            words.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}
