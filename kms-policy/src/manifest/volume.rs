//! Volumes of a pod.

use super::claim::{ClaimSpec, claim_spec};
use super::tree::{Node, Unsupported};
use crate::{Error, ErrorKind};

/// A volume.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
    /// Where it stands in the manifest.
    pub(crate) path: String,
}

/// What a volume is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum VolumeSource {
    /// An empty directory.
    EmptyDir {
        /// Whether it is in memory.
        in_memory: bool,
    },
    /// A path of the node.
    HostPath {
        /// Which one.
        path: String,
    },
    /// A claim by name.
    PersistentVolumeClaim {
        /// Which one.
        claim: String,
        /// Whether it cannot be written.
        read_only: bool,
    },
    /// A claim that is made with the pod.
    Ephemeral(ClaimSpec),
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
    /// Several of these together.
    Projected,
    /// Fields of the pod as files.
    DownwardApi,
    /// A share of Azure Files.
    AzureFile {
        /// Whether it cannot be written.
        read_only: bool,
    },
}

pub(super) fn volume(node: Node<'_>, unsupported: &mut Unsupported) -> Result<Volume, Error> {
    let path = node.path().to_owned();
    let mut fields = node.fields()?;
    let missing = fields.required("name");
    let name = fields.text("name")?.ok_or(missing)?;
    let mut sources = vec![
        fields.with("emptyDir", |node| empty_dir(node, unsupported))?,
        fields.with("hostPath", |node| host_path(node, unsupported))?,
        fields.with("persistentVolumeClaim", |node| {
            named_claim(node, unsupported)
        })?,
        fields.with("ephemeral", |node| ephemeral(node, unsupported))?,
        fields.with("azureFile", |node| azure_file(node, unsupported))?,
    ];
    // What such files hold never reaches the agent in a request.
    for (field, source) in [
        ("configMap", VolumeSource::ConfigMap),
        ("secret", VolumeSource::Secret),
        ("projected", VolumeSource::Projected),
        ("downwardAPI", VolumeSource::DownwardApi),
    ] {
        sources.push(fields.take(field).map(|_| source));
    }
    fields.finish(unsupported)?;
    let mut sources = sources.into_iter().flatten();
    match (sources.next(), sources.next()) {
        (Some(source), None) => Ok(Volume { name, source, path }),
        (None, _) => Err(Error::new(
            ErrorKind::Unsupported,
            "is of a kind that is not supported: the policy could not tell its mount from another",
        )
        .with_remedy("use a persistentVolumeClaim, or one of the supported kinds")
        .at(path)),
        (Some(_), Some(_)) => {
            Err(Error::new(ErrorKind::Manifest, "is of two kinds at once").at(path))
        }
    }
}

fn empty_dir(node: Node<'_>, unsupported: &mut Unsupported) -> Result<VolumeSource, Error> {
    let mut fields = node.fields()?;
    let medium = fields.text("medium")?;
    fields.without_effect(&["sizeLimit"]);
    fields.finish(unsupported)?;
    Ok(VolumeSource::EmptyDir {
        in_memory: medium.as_deref() == Some("Memory"),
    })
}

fn host_path(node: Node<'_>, unsupported: &mut Unsupported) -> Result<VolumeSource, Error> {
    let mut fields = node.fields()?;
    let missing = fields.required("path");
    let path = fields.text("path")?.ok_or(missing)?;
    fields.without_effect(&["type"]);
    fields.finish(unsupported)?;
    Ok(VolumeSource::HostPath { path })
}

fn named_claim(node: Node<'_>, unsupported: &mut Unsupported) -> Result<VolumeSource, Error> {
    let mut fields = node.fields()?;
    let missing = fields.required("claimName");
    let claim = fields.text("claimName")?.ok_or(missing)?;
    let read_only = fields.boolean("readOnly")?.unwrap_or_default();
    fields.finish(unsupported)?;
    Ok(VolumeSource::PersistentVolumeClaim { claim, read_only })
}

fn ephemeral(node: Node<'_>, unsupported: &mut Unsupported) -> Result<VolumeSource, Error> {
    let mut fields = node.fields()?;
    let missing = fields.required("volumeClaimTemplate");
    let spec = fields.with("volumeClaimTemplate", |node| {
        let mut fields = node.fields()?;
        let missing = fields.required("spec");
        let spec = fields.with("spec", |node| claim_spec(node, unsupported))?;
        fields.without_effect(&["metadata"]);
        fields.finish(unsupported)?;
        spec.ok_or(missing)
    })?;
    fields.finish(unsupported)?;
    spec.map(VolumeSource::Ephemeral).ok_or(missing)
}

fn azure_file(node: Node<'_>, unsupported: &mut Unsupported) -> Result<VolumeSource, Error> {
    let mut fields = node.fields()?;
    let read_only = fields.boolean("readOnly")?.unwrap_or_default();
    fields.without_effect(&["secretName", "shareName"]);
    fields.finish(unsupported)?;
    Ok(VolumeSource::AzureFile { read_only })
}
