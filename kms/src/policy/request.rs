//! What policies are made from.

use std::path::PathBuf;

use kms_policy::generate::Profile;
use kms_policy::initdata::InitdataAlgorithm;

/// What policies are made from, beside the manifest itself.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PolicyRequest {
    /// Which agent they are for.
    pub profile: Profile,
    /// The settings, a file or a directory; the profile's own if none.
    pub settings: Option<PathBuf>,
    /// The lock file of image facts.
    pub images: PathBuf,
    /// The rules; our own if none.
    pub rules: Option<PathBuf>,
    /// Files with ConfigMaps, Secrets and claims.
    pub config_files: Vec<PathBuf>,
    /// Whether fields that a policy cannot speak about are passed over.
    pub ignore_unsupported_fields: bool,
    /// A TOML file that the policy is added to; with the profile `kata`.
    pub initdata: Option<PathBuf>,
    /// How initdata are measured, instead of as that file says.
    pub initdata_algorithm: Option<InitdataAlgorithm>,
    /// Files that become entries of initdata, by name.
    pub initdata_entries: Vec<(String, PathBuf)>,
    /// Beginnings of runtime classes whose pods get a policy; all pods if empty.
    pub runtime_classes: Vec<String>,
}

impl PolicyRequest {
    /// For this agent, with the images of this lock file.
    #[must_use]
    pub fn new(profile: Profile, images: impl Into<PathBuf>) -> Self {
        Self {
            profile,
            images: images.into(),
            ..Self::default()
        }
    }
}
