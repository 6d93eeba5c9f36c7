//! Pods: what of them a policy speaks about.

use std::collections::BTreeMap;

use super::container::{Container, container};
use super::tree::{Fields, Node, Unsupported};
use super::volume::{Volume, volume};
use crate::Error;
use crate::initdata::INITDATA_ANNOTATION;
use crate::policy::POLICY_ANNOTATION;

/// Names, labels and annotations of an object.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// Its name.
    pub name: Option<String>,
    /// What a name is generated from.
    pub generate_name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations, without that of the policy itself.
    pub annotations: BTreeMap<String, String>,
}

/// What a pod is made of.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PodSpec {
    /// Containers.
    pub containers: Vec<Container>,
    /// Containers that run before them, in turn.
    pub init_containers: Vec<Container>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// The runtime class; empty if none is named.
    pub runtime_class_name: String,
    /// The service account.
    pub service_account_name: Option<String>,
    /// Whether it uses the node's network.
    pub host_network: bool,
    /// Whether its containers see each other's processes.
    pub share_process_namespace: bool,
    /// Whom and what its containers run as, unless they say otherwise.
    pub security: PodSecurity,
}

/// `securityContext` of a pod.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PodSecurity {
    /// The user.
    pub run_as_user: Option<i64>,
    /// The group.
    pub run_as_group: Option<i64>,
    /// The group that owns volumes.
    pub fs_group: Option<i64>,
    /// Further groups.
    pub supplemental_groups: Vec<i64>,
    /// Kernel parameters by name.
    pub sysctls: Vec<(String, String)>,
    /// Whether a process may gain rights.
    pub allow_privilege_escalation: Option<bool>,
}

/// Annotations whose text is not part of a policy: they hold one.
const OF_POLICIES: [&str; 2] = [POLICY_ANNOTATION, INITDATA_ANNOTATION];

pub(super) fn metadata(node: Node<'_>, unsupported: &mut Unsupported) -> Result<Metadata, Error> {
    let mut fields = node.fields()?;
    let metadata = Metadata {
        name: fields.text("name")?,
        generate_name: fields.text("generateName")?,
        namespace: fields.text("namespace")?,
        labels: fields.with("labels", texts)?.unwrap_or_default(),
        annotations: fields.with("annotations", annotations)?.unwrap_or_default(),
    };
    fields.without_effect(&["uid"]);
    fields.finish(unsupported)?;
    Ok(metadata)
}

fn annotations(node: Node<'_>) -> Result<BTreeMap<String, String>, Error> {
    let mut annotations = texts(node)?;
    annotations.retain(|name, _| !OF_POLICIES.contains(&&**name));
    Ok(annotations)
}

pub(super) fn texts(node: Node<'_>) -> Result<BTreeMap<String, String>, Error> {
    let entries = node.entries()?.into_iter();
    entries
        .map(|(name, value)| Ok((name.to_owned(), value.text()?)))
        .collect()
}

/// Fields of a pod that a policy has nothing to say about: they concern scheduling, networking
/// outside the pod, or waiting.
const WITHOUT_EFFECT: [&str; 22] = [
    "affinity",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostname",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "resources",
    "restartPolicy",
    "schedulerName",
    "schedulingGates",
    "readinessGates",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "overhead",
];

pub(super) fn pod_spec(node: Node<'_>, unsupported: &mut Unsupported) -> Result<PodSpec, Error> {
    let mut fields = node.fields()?;
    let missing = fields.required("containers");
    let spec = PodSpec {
        containers: fields.list("containers", |node| container(node, unsupported))?,
        init_containers: fields.list("initContainers", |node| container(node, unsupported))?,
        volumes: fields.list("volumes", |node| volume(node, unsupported))?,
        runtime_class_name: fields.text("runtimeClassName")?.unwrap_or_default(),
        service_account_name: service_account(&mut fields)?,
        host_network: fields.boolean("hostNetwork")?.unwrap_or_default(),
        share_process_namespace: fields.boolean("shareProcessNamespace")?.unwrap_or_default(),
        security: fields
            .with("securityContext", |node| security(node, unsupported))?
            .unwrap_or_default(),
    };
    if spec.containers.is_empty() {
        return Err(missing);
    }
    fields.without_effect(&WITHOUT_EFFECT);
    fields.finish(unsupported)?;
    Ok(spec)
}

/// `serviceAccountName`, or what it was called before.
fn service_account(fields: &mut Fields<'_>) -> Result<Option<String>, Error> {
    let old = fields.text("serviceAccount")?;
    Ok(fields.text("serviceAccountName")?.or(old))
}

fn security(node: Node<'_>, unsupported: &mut Unsupported) -> Result<PodSecurity, Error> {
    let mut fields = node.fields()?;
    let security = PodSecurity {
        run_as_user: fields.integer("runAsUser")?,
        run_as_group: fields.integer("runAsGroup")?,
        fs_group: fields.integer("fsGroup")?,
        supplemental_groups: fields.list("supplementalGroups", |node| node.integer())?,
        sysctls: fields.list("sysctls", |node| sysctl(node, unsupported))?,
        allow_privilege_escalation: fields.boolean("allowPrivilegeEscalation")?,
    };
    // The kubelet and the runtime enforce these; what reaches the agent does not show them.
    fields.without_effect(&["runAsNonRoot", "seccompProfile", "fsGroupChangePolicy"]);
    fields.finish(unsupported)?;
    Ok(security)
}

fn sysctl(node: Node<'_>, unsupported: &mut Unsupported) -> Result<(String, String), Error> {
    let mut fields = node.fields()?;
    let missing = |fields: &Fields<'_>, name| fields.required(name);
    let name = fields.text("name")?;
    let value = fields.take("value").map(|node| node.scalar()).transpose()?;
    let pair = (
        name.ok_or_else(|| missing(&fields, "name"))?,
        value.ok_or_else(|| missing(&fields, "value"))?,
    );
    fields.finish(unsupported)?;
    Ok(pair)
}
