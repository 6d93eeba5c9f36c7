//! What a policy knows of a pod. The names and the order of fields are those of genpolicy's
//! `policy_data`: rules read them, and a hash is over them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::sections::Section;
use crate::settings::MountSettings;
use crate::{Error, ErrorKind};

/// What a policy knows of a pod.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PolicyData {
    /// Its containers, the pause container first.
    pub containers: Vec<ContainerData>,
    /// Texts that stand for others in all of it.
    pub common: Section,
    /// What the sandbox itself may have.
    pub sandbox: Section,
    /// What requests may do that name no container.
    pub request_defaults: Section,
    /// Devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Value>,
    /// How the cluster runs pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_config: Option<Value>,
}

impl PolicyData {
    /// The text that is part of a policy, without a line feed at its end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if it cannot be written as JSON.
    pub fn to_text(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
    }
}

/// One container.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ContainerData {
    /// What the runtime may be asked for.
    #[serde(rename = "OCI")]
    pub oci: OciSpec,
    /// Storages that belong to it.
    pub storages: Vec<Storage>,
    /// Devices that are passed through to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<PassedDevice>>,
    /// Whether it shares the pod's process namespace.
    pub sandbox_pidns: bool,
    /// Commands that may be run in it.
    pub exec_commands: Vec<ExecCommand>,
    /// Its variables by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_map: Option<BTreeMap<String, String>>,
    /// Annotations that the runtime adds, both parts as regular expressions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub runtime_anno_patterns: BTreeMap<String, String>,
}

/// A device that is passed through to a container.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PassedDevice {
    /// Always empty: the node chooses it.
    pub id: String,
    /// Its kind.
    pub type_: String,
    /// Always empty.
    pub vm_path: String,
    /// What its path in the guest starts with.
    pub container_path: String,
    /// Always empty.
    pub options: Vec<String>,
}

/// A command that may be run in a container.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum ExecCommand {
    /// Its words, joined by spaces.
    Joined(String),
    /// Its words.
    Words(Vec<String>),
}

/// What the runtime may be asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct OciSpec {
    /// The version of the OCI runtime specification that the node's containerd speaks.
    pub version: String,
    /// The process.
    pub process: Process,
    /// The root file system.
    pub root: Root,
    /// Mounts.
    pub mounts: Vec<MountSettings>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is particular to Linux.
    pub linux: Linux,
}

/// A process.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Process {
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whom it runs as.
    pub user: User,
    /// The command with variables replaced, where the rules still read that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated_args: Option<Vec<String>>,
    /// The command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables, `NAME=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: String,
    /// Capabilities.
    pub capabilities: CapabilitySets,
    /// Whether it and its children can gain no rights.
    pub no_new_privileges: bool,
}

/// Whom a process runs as.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct User {
    /// The user.
    #[serde(rename = "UID")]
    pub uid: u32,
    /// The group.
    #[serde(rename = "GID")]
    pub gid: u32,
    /// Further groups, sorted.
    #[serde(rename = "AdditionalGids")]
    pub additional_gids: Vec<u32>,
    /// Always empty: names mean nothing in the guest.
    #[serde(rename = "Username")]
    pub username: String,
}

/// Capabilities, set by set.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct CapabilitySets {
    /// Always empty.
    pub ambient: Vec<String>,
    /// Those it may ever have.
    pub bounding: Vec<String>,
    /// Those it has.
    pub effective: Vec<String>,
    /// Always empty.
    pub inheritable: Vec<String>,
    /// Those it may take.
    pub permitted: Vec<String>,
}

/// A root file system.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Root {
    /// Where.
    pub path: String,
    /// Whether it cannot be written.
    pub readonly: bool,
}

/// What is particular to Linux.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Linux {
    /// Namespaces of its own.
    pub namespaces: Vec<Namespace>,
    /// Paths that must be hidden.
    pub masked_paths: Vec<String>,
    /// Paths that must not be written.
    pub readonly_paths: Vec<String>,
    /// Devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<Value>>,
    /// Kernel parameters that may be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysctl: Option<BTreeMap<String, String>>,
}

/// A namespace.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Namespace {
    /// Its kind.
    pub r#type: &'static str,
    /// Always empty: a new one.
    pub path: &'static str,
}

/// A storage that the agent mounts in the guest.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Storage {
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
    /// Always null.
    pub fs_group: Option<()>,
}
