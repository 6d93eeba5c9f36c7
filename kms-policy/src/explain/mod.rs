//! What a pod may do by its policy, for a person.

mod sentences;

use serde::Serialize;
use serde_json::Value;

use crate::document::{DocumentContainer, PolicyDocument};
use crate::rules::{RulesOrigin, opened};

/// What a pod may do.
///
/// Its [`Display`](core::fmt::Display) form is text: a few sentences, then a table of containers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// Whose rules it has. Under unknown ones nothing else that is said here need be true.
    pub rules: RulesOrigin,
    /// Requests that unknown rules plainly open whatever is in them.
    pub opened_by_rules: Vec<String>,
    /// Its containers, the pause container first.
    pub containers: Vec<ContainerExplanation>,
    /// Requests that the settings open whatever is in them.
    pub open_requests: Vec<String>,
    /// Commands that may be run in any container.
    pub commands_anywhere: Vec<String>,
    /// Whether the guest may pull images by itself.
    pub guest_pulls_images: bool,
}

/// What one container may do.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ContainerExplanation {
    /// Its name.
    pub name: String,
    /// Its image, as the manifest names it; empty for the pause container.
    pub image: String,
    /// What proves the image.
    pub proof: ImageProof,
    /// Its command.
    pub command: Vec<String>,
    /// Its user and group.
    pub user: u64,
    /// Its group.
    pub group: u64,
    /// Whether it has all rights.
    pub is_privileged: bool,
    /// Whether it can gain rights that it does not have at first.
    pub may_gain_privileges: bool,
    /// Its capabilities, `default` for the default ones.
    pub capabilities: Vec<String>,
    /// Whether it can write to its root file system.
    pub root_is_writable: bool,
    /// Names of its variables.
    pub variables: Vec<String>,
    /// Names of variables that may have any value.
    pub free_variables: Vec<String>,
    /// Where it sees files of the host, or what the host may change.
    pub shared_with_host: Vec<String>,
    /// Commands that may be run in it.
    pub commands: Vec<String>,
    /// How many devices are passed through to it.
    pub devices: usize,
}

/// What proves the content of an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ImageProof {
    /// A dm-verity root hash for each layer.
    RootHashes,
    /// A digest in its name, which whoever pulls it must check.
    Digest,
    /// Nothing.
    Nothing,
}

/// Variables of these placeholders may have any value.
const FREE: [&str; 2] = ["$(todo-annotation)", "$(resource-field)"];

/// Explains a policy.
///
/// ```
/// use kms_policy::Policy;
/// use kms_policy::document::PolicyDocument;
/// use kms_policy::explain::explain;
///
/// let policy = Policy::from_text("policy_data := {\"containers\": [{}]}");
/// let explanation = explain(&PolicyDocument::parse(&policy).unwrap());
/// assert_eq!(explanation.containers.len(), 1);
/// ```
#[must_use]
pub fn explain(document: &PolicyDocument) -> Explanation {
    let defaults = &document.data.request_defaults;
    let open = defaults
        .iter()
        .filter(|(_, value)| **value == Value::Bool(true));
    let exec = defaults.get("ExecProcessRequest");
    let listed = ["allowed_commands", "commands", "regex"].into_iter();
    let listed = listed.filter_map(|name| exec?.get(name)?.as_array());
    let config = document.data.cluster_config.as_ref();
    let pulls = config.and_then(|config| config.get("guest_pull"));
    let rules = RulesOrigin::of(&document.rules);
    let opened = match rules {
        RulesOrigin::Unknown => opened(&document.rules).into_iter().collect(),
        _ => Vec::new(),
    };
    Explanation {
        rules,
        opened_by_rules: opened,
        containers: document.data.containers.iter().map(container).collect(),
        open_requests: open.map(|(name, _)| name.clone()).collect(),
        commands_anywhere: listed.flatten().map(crate::document::words).collect(),
        guest_pulls_images: pulls == Some(&Value::Bool(true)),
    }
}

fn container(container: &DocumentContainer) -> ContainerExplanation {
    let process = &container.oci.process;
    let pairs = || {
        process
            .env
            .iter()
            .filter_map(|variable| variable.split_once('='))
    };
    let free = pairs().filter(|(_, value)| FREE.iter().any(|free| value.contains(free)));
    let bounding = process.capabilities.get("Bounding");
    let names = bounding.map_or(&[][..], Vec::as_slice).iter();
    let capabilities = names.map(|name| match &**name {
        "$(default_caps)" => "default".to_owned(),
        "$(privileged_caps)" => "all".to_owned(),
        name => name.strip_prefix("CAP_").unwrap_or(name).to_owned(),
    });
    let mounts = container.oci.mounts.iter();
    let shared = mounts.filter(|mount| {
        mount.type_ == "bind"
            && (mount.source.starts_with("$(sfprefix)")
                || mount.source.starts_with("/dev")
                || mount.source.starts_with("/sys"))
    });
    ContainerExplanation {
        name: container.name().to_owned(),
        image: container.image().to_owned(),
        proof: proof(container),
        command: process.args.clone(),
        user: process.user.uid,
        group: process.user.gid,
        is_privileged: container.is_privileged(),
        may_gain_privileges: !process.no_new_privileges,
        capabilities: capabilities.collect(),
        root_is_writable: !container.oci.root.readonly,
        variables: pairs().map(|(name, _)| name.to_owned()).collect(),
        free_variables: free.map(|(name, _)| name.to_owned()).collect(),
        shared_with_host: shared.map(|mount| mount.destination.clone()).collect(),
        commands: container.commands(),
        devices: container.devices.len(),
    }
}

fn proof(container: &DocumentContainer) -> ImageProof {
    if !container.root_hashes().is_empty() {
        ImageProof::RootHashes
    } else if container.image().contains("@sha256:") {
        ImageProof::Digest
    } else {
        ImageProof::Nothing
    }
}
