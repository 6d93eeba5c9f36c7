//! The settings file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::patch;
use crate::{Error, ErrorKind};

/// The longest settings file, in bytes.
const MAX_LEN: u64 = 8 * 1024 * 1024;
/// The most drop-in files.
const MAX_DROP_INS: usize = 1000;

/// Settings, as genpolicy's file has them.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) typed: Typed,
    /// The whole document, for what becomes part of a policy as it is.
    pub(crate) document: Value,
}

/// What is read here. Sections that a profile does not have are empty.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Typed {
    pub(crate) pause_container: ContainerSettings,
    pub(crate) other_container: ContainerSettings,
    pub(crate) volumes: BTreeMap<String, VolumeSettings>,
    pub(crate) mount_destinations: Vec<String>,
    #[serde(default)]
    pub(crate) common: Common,
    #[serde(default)]
    pub(crate) kata_config: KataConfig,
    #[serde(default)]
    pub(crate) cluster_config: ClusterConfig,
    #[serde(default)]
    pub(crate) request_defaults: RequestDefaults,
    #[serde(default)]
    pub(crate) devices: Devices,
}

/// Devices that may be passed through.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Devices {
    #[serde(default)]
    pub(crate) vfio: Option<Vfio>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Vfio {
    pub(crate) device_path: String,
    pub(crate) anno_key_regex: String,
    #[serde(default)]
    pub(crate) nvidia: Nvidia,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Nvidia {
    pub(crate) gpu_anno_value_regex: String,
    pub(crate) gpu_gk_device_type: String,
    pub(crate) pgpu_resource_keys: Vec<String>,
}

/// A template of an OCI container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ContainerSettings {
    /// Its root file system.
    #[serde(default)]
    pub(crate) root: SettingsRoot,
    /// Mounts that it has whatever its manifest says.
    #[serde(default)]
    pub(crate) mounts: Vec<MountSettings>,
    /// Annotations.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Its process.
    #[serde(default)]
    pub(crate) process: SettingsProcess,
    /// What is particular to Linux.
    #[serde(default)]
    pub(crate) linux: SettingsLinux,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SettingsRoot {
    #[serde(default)]
    pub(crate) path: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SettingsProcess {
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) env: Vec<String>,
    #[serde(default)]
    pub(crate) no_new_privileges: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SettingsLinux {
    #[serde(default)]
    pub(crate) masked_paths: Vec<String>,
    #[serde(default)]
    pub(crate) readonly_paths: Vec<String>,
    #[serde(default)]
    pub(crate) sysctl: BTreeMap<String, String>,
}

/// A mount, as a policy and its settings write it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MountSettings {
    /// Where it appears.
    pub destination: String,
    /// What is mounted; a regular expression if it begins with `^` or `$(sfprefix)`.
    #[serde(default)]
    pub source: String,
    /// Its file system.
    pub type_: String,
    /// Its options.
    #[serde(default)]
    pub options: Vec<String>,
}

/// A template of a volume's mount, and of the storage behind it.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct VolumeSettings {
    pub(crate) mount_type: String,
    #[serde(default)]
    pub(crate) mount_source: String,
    #[serde(default)]
    pub(crate) mount_point: String,
    #[serde(default)]
    pub(crate) driver: String,
    #[serde(default)]
    pub(crate) driver_options: Vec<String>,
    #[serde(default)]
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) fstype: String,
    #[serde(default)]
    pub(crate) options: Vec<String>,
}

/// The capabilities of a container that asks for none, and of a privileged one.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    #[serde(default)]
    pub(crate) default_caps: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Common {
    #[serde(flatten)]
    pub(crate) capabilities: Capabilities,
    #[serde(default)]
    pub(crate) virtio_blk_storage_classes: Vec<String>,
    #[serde(default)]
    pub(crate) smb_storage_classes: Vec<SmbStorageClass>,
}

/// A storage class whose volumes are shares of Azure Files that the guest mounts itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct SmbStorageClass {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) mount_options: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct KataConfig {
    #[serde(default)]
    pub(crate) oci_version: Option<String>,
    #[serde(default)]
    pub(crate) enable_configmap_secret_storages: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ClusterConfig {
    #[serde(default)]
    pub(crate) default_namespace: Option<String>,
    #[serde(default)]
    pub(crate) pause_container_image: Option<String>,
    #[serde(default)]
    pub(crate) guest_pull: bool,
    #[serde(default)]
    pub(crate) emptydir_type: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RequestDefaults {
    #[serde(default)]
    pub(crate) create_container_request: CreateContainerDefaults,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct CreateContainerDefaults {
    #[serde(default)]
    pub(crate) allow_env_regex_map: Option<BTreeMap<String, String>>,
}

impl Settings {
    /// Reads the text of a settings file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`] if it is not JSON, or lacks what policies are made of.
    pub fn parse(json: &str) -> Result<Self, Error> {
        Self::parse_with(json, core::iter::empty())
    }

    /// Reads the text of a settings file and changes it by drop-ins, each with its name, in order.
    /// A drop-in is a JSON patch (RFC 6902).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`], also if a drop-in does not fit.
    pub fn parse_with<'a>(
        json: &str,
        drop_ins: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut document: Value = serde_json::from_str(json).map_err(refused)?;
        for (name, text) in drop_ins {
            patch::apply(&mut document, text, name)?;
        }
        let typed = Typed::deserialize(&document).map_err(refused)?;
        Ok(Self { typed, document })
    }

    /// Reads a settings file; or a directory with `genpolicy-settings.json` and drop-ins in
    /// `genpolicy-settings.d/*.json`, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if a file cannot be read or is over 8 MiB; [`ErrorKind::Settings`] as
    /// [`Settings::parse_with`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        if !path.is_dir() {
            return Self::parse(&crate::file::read_text(path, MAX_LEN)?);
        }
        let base = crate::file::read_text(&path.join("genpolicy-settings.json"), MAX_LEN)?;
        let directory = path.join("genpolicy-settings.d");
        let mut files = Vec::new();
        if directory.is_dir() {
            let unread = |error: std::io::Error| crate::file::failed("reading", &directory, error);
            for entry in std::fs::read_dir(&directory).map_err(unread)? {
                let file = entry.map_err(unread)?.path();
                if file
                    .extension()
                    .is_some_and(|extension| extension == "json")
                {
                    files.push(file);
                }
            }
        }
        if files.len() > MAX_DROP_INS {
            return Err(Error::new(ErrorKind::Settings, "over 1,000 drop-in files"));
        }
        files.sort();
        let mut drop_ins = Vec::new();
        for file in files {
            let text = crate::file::read_text(&file, MAX_LEN)?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            drop_ins.push((name.into_owned(), text));
        }
        Self::parse_with(
            &base,
            drop_ins.iter().map(|(name, text)| (&**name, &**text)),
        )
    }

    pub(crate) const fn container(&self, is_pause: bool) -> &ContainerSettings {
        if is_pause {
            &self.typed.pause_container
        } else {
            &self.typed.other_container
        }
    }

    pub(crate) fn volume(&self, name: &str) -> Result<&VolumeSettings, Error> {
        self.typed.volumes.get(name).ok_or_else(|| {
            Error::new(ErrorKind::Settings, "is missing").at(format!("volumes.{name}"))
        })
    }
}

fn refused(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Settings,
        format!("the settings are not of their form: {error}"),
    )
}
