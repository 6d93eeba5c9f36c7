//! Kubernetes YAML, as far as a policy speaks about it.
//!
//! A field that is not known here is an error that names it, unless it is asked to be ignored: a
//! policy that leaves out what a pod asks for would be refused in the guest, or allow too much.

mod claim;
mod config;
mod container;
mod environment;
mod pod;
mod tree;
mod volume;
mod workload;

pub use claim::{Claim, ClaimSpec};
pub use config::Entries;
pub use container::{Container, ContainerSecurity, VolumeMount};
pub use environment::{EnvFrom, EnvValue, EnvVar, KeyOf};
pub use pod::{Metadata, PodSecurity, PodSpec};
pub use volume::{Volume, VolumeSource};
pub use workload::{Workload, WorkloadKind};

pub(crate) use tree::Value;
use tree::{Node, Unsupported};

use crate::{Error, ErrorKind};

/// The longest manifest file, in bytes.
pub const MAX_MANIFEST_LEN: usize = 16 * 1024 * 1024;

/// How to read manifests.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ManifestOptions {
    /// Whether to ignore fields that are not supported. The policy then says nothing about them: the
    /// pod may be refused by its own policy.
    pub ignore_unsupported_fields: bool,
}

impl ManifestOptions {
    /// Sets whether to ignore fields that are not supported.
    #[must_use]
    pub const fn with_ignore_unsupported_fields(mut self, ignore: bool) -> Self {
        self.ignore_unsupported_fields = ignore;
        self
    }
}

/// A file of manifests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Manifest {
    /// Its documents, in their order.
    pub documents: Vec<Document>,
    /// Fields that were ignored, as asked.
    pub ignored_fields: Vec<String>,
}

/// One document.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Document {
    /// Something that runs pods.
    Workload(Box<Workload>),
    /// A ConfigMap or Secret.
    Entries(Entries),
    /// A claim of a persistent volume.
    Claim(Claim),
    /// A list of documents.
    List(Vec<Self>),
    /// A kind that runs nothing.
    Other {
        /// Its kind.
        kind: String,
    },
    /// An empty document.
    Empty,
}

impl Document {
    /// All that it holds: itself, or the items of the list that it is.
    #[must_use]
    pub fn flatten(&self) -> Vec<&Self> {
        match self {
            Self::List(items) => items.iter().flat_map(Self::flatten).collect(),
            other => vec![other],
        }
    }
}

/// Kinds that run nothing, so that a policy has nothing to say about them.
const WITHOUT_PODS: [&str; 14] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "LimitRange",
    "Namespace",
    "PersistentVolume",
    "PodDisruptionBudget",
    "PriorityClass",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "RuntimeClass",
    "Service",
    "ServiceAccount",
    "StorageClass",
];

impl Manifest {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Manifest`] if it is over [`MAX_MANIFEST_LEN`], not YAML, or a field is not what
    /// Kubernetes has there; [`ErrorKind::Unsupported`] for a kind or field that a policy cannot
    /// speak about. The error names the field, with the number of its document if there are several.
    pub fn parse(text: &str, options: &ManifestOptions) -> Result<Self, Error> {
        if text.len() > MAX_MANIFEST_LEN {
            return Err(Error::new(
                ErrorKind::Manifest,
                "the manifest is over 16 MiB",
            ));
        }
        let values = Value::parse_all(text)?;
        let several = values.len() > 1;
        let mut unsupported = Unsupported::new(options.ignore_unsupported_fields);
        let documents = values.iter().enumerate().map(|(index, value)| {
            document(Node::new(value, String::new()), &mut unsupported).map_err(|error| match error
                .path()
            {
                Some(path) if several => {
                    let path = format!("document {}: {path}", index.saturating_add(1));
                    error.at(path)
                }
                _ => error,
            })
        });
        let documents = documents.collect::<Result<_, _>>()?;
        Ok(Self {
            documents,
            ignored_fields: unsupported.into_ignored(),
        })
    }

    /// Everything that runs pods, in order.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.documents
            .iter()
            .flat_map(Document::flatten)
            .filter_map(|document| match document {
                Document::Workload(workload) => Some(&**workload),
                _ => None,
            })
    }
}

fn document(node: Node<'_>, unsupported: &mut Unsupported) -> Result<Document, Error> {
    if node.is_null() {
        return Ok(Document::Empty);
    }
    let mut fields = node.fields()?;
    let missing = fields.required("kind");
    let kind = fields.text("kind")?.ok_or(missing)?;
    fields.without_effect(&["apiVersion"]);
    if let Some(kind) = WorkloadKind::named(&kind) {
        let path = fields.path().to_owned();
        let workload = workload::workload(kind, fields, unsupported)?;
        check(&workload, &path)?;
        return Ok(Document::Workload(Box::new(workload)));
    }
    match &*kind {
        "ConfigMap" => config::config_map(fields, unsupported).map(Document::Entries),
        "Secret" => config::secret(fields, unsupported).map(Document::Entries),
        "PersistentVolumeClaim" => {
            let claim = Claim {
                metadata: fields
                    .with("metadata", |node| pod::metadata(node, unsupported))?
                    .unwrap_or_default(),
                spec: fields
                    .with("spec", |node| claim::claim_spec(node, unsupported))?
                    .unwrap_or_default(),
            };
            fields.without_effect(&["status"]);
            fields.finish(unsupported)?;
            Ok(Document::Claim(claim))
        }
        "List" => {
            let items = fields.list("items", |node| document(node, unsupported))?;
            fields.without_effect(&["metadata"]);
            fields.finish(unsupported)?;
            Ok(Document::List(items))
        }
        other if WITHOUT_PODS.contains(&other) => Ok(Document::Other { kind }),
        other => Err(Error::new(
            ErrorKind::Unsupported,
            format!("`{other}` is no kind that is known here: it might run pods without a policy"),
        )
        .with_remedy("give a file without it, and see to the policies of what it makes")
        .at(tree::join(fields.path(), "kind"))),
    }
}

fn check(workload: &Workload, path: &str) -> Result<(), Error> {
    let init = workload.pod.init_containers.iter();
    for (index, container) in workload.pod.containers.iter().chain(init).enumerate() {
        container.check(&tree::join(path, &format!("containers[{index}]")))?;
    }
    Ok(())
}
