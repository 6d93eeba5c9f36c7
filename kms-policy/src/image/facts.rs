//! One image.

use serde::{Deserialize, Serialize};

/// What is known of one image for one platform.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ImageFacts {
    /// The digest of the manifest that the facts are of, such as `sha256:…`; none if they were not
    /// taken from a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Operating system and architecture, such as `linux/amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layers, the lowest first.
    #[serde(default)]
    pub layers: Vec<LayerFacts>,
    /// The text of `/etc/passwd`, if the image has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passwd: Option<String>,
    /// The text of `/etc/group`, if the image has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// The part of an image's configuration that concerns the process it runs. The fields are those of
/// the OCI image specification (`config`).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ImageConfig {
    /// `NAME=VALUE`; none if the image does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Arguments, or the command if there is no `entrypoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// User, by name or number, with a group behind a colon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Paths of volumes, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
}

/// What is known of one layer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LayerFacts {
    /// The digest of the uncompressed tar, `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<String>,
    /// The layer's name: SHA-256 of its chain id, 64 hexadecimal digits. It depends on the layers
    /// below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The root hash of dm-verity over the indexed tar, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verity: Option<String>,
}
