//! Claims of persistent volumes.

use super::pod::{Metadata, metadata};
use super::tree::{Node, Unsupported};
use crate::Error;

/// A claim of a persistent volume.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Claim {
    /// Its name and labels.
    pub metadata: Metadata,
    /// What is claimed.
    pub spec: ClaimSpec,
}

/// What is claimed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClaimSpec {
    /// The storage class, which decides how the volume reaches the pod.
    pub storage_class_name: Option<String>,
    /// Whether it is a block device and not a file system.
    pub is_block: bool,
}

pub(super) fn claim(node: Node<'_>, unsupported: &mut Unsupported) -> Result<Claim, Error> {
    let mut fields = node.fields()?;
    let claim = Claim {
        metadata: fields
            .with("metadata", |node| metadata(node, unsupported))?
            .unwrap_or_default(),
        spec: fields
            .with("spec", |node| claim_spec(node, unsupported))?
            .unwrap_or_default(),
    };
    fields.without_effect(&["apiVersion", "kind", "status"]);
    fields.finish(unsupported)?;
    Ok(claim)
}

pub(super) fn claim_spec(
    node: Node<'_>,
    unsupported: &mut Unsupported,
) -> Result<ClaimSpec, Error> {
    let mut fields = node.fields()?;
    let spec = ClaimSpec {
        storage_class_name: fields.text("storageClassName")?,
        is_block: fields.text("volumeMode")?.as_deref() == Some("Block"),
    };
    fields.without_effect(&[
        "accessModes",
        "dataSource",
        "dataSourceRef",
        "resources",
        "selector",
        "volumeName",
    ]);
    fields.finish(unsupported)?;
    Ok(spec)
}
