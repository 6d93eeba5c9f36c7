//! Kinds that run pods.

use super::claim::{Claim, claim};
use super::pod::{Metadata, PodSpec, metadata, pod_spec};
use super::tree::{Fields, Node, Unsupported};
use crate::Error;

/// An object that runs pods.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its own name, labels and annotations.
    pub metadata: Metadata,
    /// Those of its pods; for a Pod, its own.
    pub pod_metadata: Metadata,
    /// Its pods.
    pub pod: PodSpec,
    /// Claims that are made for each pod.
    pub claim_templates: Vec<Claim>,
}

/// A kind that runs pods.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WorkloadKind {
    /// A pod by itself.
    Pod,
    /// A Deployment.
    Deployment,
    /// A DaemonSet.
    DaemonSet,
    /// A StatefulSet.
    StatefulSet,
    /// A ReplicaSet.
    ReplicaSet,
    /// A ReplicationController.
    ReplicationController,
    /// A Job.
    Job,
    /// A CronJob.
    CronJob,
}

impl WorkloadKind {
    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Pod" => Self::Pod,
            "Deployment" => Self::Deployment,
            "DaemonSet" => Self::DaemonSet,
            "StatefulSet" => Self::StatefulSet,
            "ReplicaSet" => Self::ReplicaSet,
            "ReplicationController" => Self::ReplicationController,
            "Job" => Self::Job,
            "CronJob" => Self::CronJob,
            _ => return None,
        })
    }

    /// Its name in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::DaemonSet => "DaemonSet",
            Self::StatefulSet => "StatefulSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }

    /// Where the metadata of its pods is.
    #[must_use]
    pub const fn pod_metadata_path(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &["metadata"],
            Self::CronJob => &["spec", "jobTemplate", "spec", "template", "metadata"],
            _ => &["spec", "template", "metadata"],
        }
    }

    /// Fields of its `spec` beside the template; a policy has nothing to say about them.
    const fn spec_fields(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &[],
            Self::Deployment => &[
                "minReadySeconds",
                "paused",
                "progressDeadlineSeconds",
                "replicas",
                "revisionHistoryLimit",
                "selector",
                "strategy",
            ],
            Self::DaemonSet => &[
                "minReadySeconds",
                "revisionHistoryLimit",
                "selector",
                "updateStrategy",
            ],
            Self::StatefulSet => &[
                "minReadySeconds",
                "ordinals",
                "persistentVolumeClaimRetentionPolicy",
                "podManagementPolicy",
                "replicas",
                "revisionHistoryLimit",
                "selector",
                "serviceName",
                "updateStrategy",
            ],
            Self::ReplicaSet | Self::ReplicationController => {
                &["minReadySeconds", "replicas", "selector"]
            }
            Self::Job => &[
                "activeDeadlineSeconds",
                "backoffLimit",
                "backoffLimitPerIndex",
                "completionMode",
                "completions",
                "manualSelector",
                "maxFailedIndexes",
                "parallelism",
                "podFailurePolicy",
                "podReplacementPolicy",
                "selector",
                "successPolicy",
                "suspend",
                "ttlSecondsAfterFinished",
            ],
            Self::CronJob => &[
                "concurrencyPolicy",
                "failedJobsHistoryLimit",
                "schedule",
                "startingDeadlineSeconds",
                "successfulJobsHistoryLimit",
                "suspend",
                "timeZone",
            ],
        }
    }
}

/// Reads an object whose `apiVersion` and `kind` were taken.
pub(super) fn workload(
    kind: WorkloadKind,
    mut fields: Fields<'_>,
    unsupported: &mut Unsupported,
) -> Result<Workload, Error> {
    let missing = fields.required("spec");
    let own = fields
        .with("metadata", |node| metadata(node, unsupported))?
        .unwrap_or_default();
    let mut claim_templates = Vec::new();
    let template = fields.with("spec", |node| match kind {
        WorkloadKind::Pod => Ok((own.clone(), pod_spec(node, unsupported)?)),
        WorkloadKind::CronJob => cron_job(node, unsupported),
        _ => templated(kind, node, &mut claim_templates, unsupported),
    })?;
    fields.without_effect(&["status"]);
    fields.finish(unsupported)?;
    let (pod_metadata, pod) = template.ok_or(missing)?;
    Ok(Workload {
        kind,
        metadata: own,
        pod_metadata,
        pod,
        claim_templates,
    })
}

fn templated(
    kind: WorkloadKind,
    node: Node<'_>,
    claims: &mut Vec<Claim>,
    unsupported: &mut Unsupported,
) -> Result<(Metadata, PodSpec), Error> {
    let mut fields = node.fields()?;
    let missing = fields.required("template");
    let template = fields.with("template", |node| {
        let mut fields = node.fields()?;
        let missing = fields.required("spec");
        let metadata = fields.with("metadata", |node| metadata(node, unsupported))?;
        let spec = fields.with("spec", |node| pod_spec(node, unsupported))?;
        fields.finish(unsupported)?;
        Ok((metadata.unwrap_or_default(), spec.ok_or(missing)?))
    })?;
    if kind == WorkloadKind::StatefulSet {
        *claims = fields.list("volumeClaimTemplates", |node| claim(node, unsupported))?;
    }
    fields.without_effect(kind.spec_fields());
    fields.finish(unsupported)?;
    template.ok_or(missing)
}

fn cron_job(node: Node<'_>, unsupported: &mut Unsupported) -> Result<(Metadata, PodSpec), Error> {
    let mut fields = node.fields()?;
    let missing = fields.required("jobTemplate");
    let template = fields.with("jobTemplate", |node| {
        let mut fields = node.fields()?;
        let missing = fields.required("spec");
        let template = fields.with("spec", |node| {
            templated(WorkloadKind::Job, node, &mut Vec::new(), unsupported)
        })?;
        fields.without_effect(&["metadata"]);
        fields.finish(unsupported)?;
        template.ok_or(missing)
    })?;
    fields.without_effect(WorkloadKind::CronJob.spec_fields());
    fields.finish(unsupported)?;
    template.ok_or(missing)
}
