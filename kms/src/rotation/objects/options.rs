//! What is to be known of a cluster's objects.

use core::num::NonZeroU32;
use std::sync::Arc;

use kms_core::KeyProvider;
use kms_core::object::ObjectKey;
use kms_envelope::kubernetes::{EncryptionConfiguration, KmsApiVersion, ProviderConfiguration};

use crate::Failure;
use crate::cluster::{ClusterSource, KekArgument, open_plugins};
use crate::provider::Environment;
use crate::retire::{KmsV1Argument, UnscannedArgument};

/// What is to be known of a cluster's objects.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClusterObjectsOptions {
    /// The name of the KMS in the configuration whose key is rotated.
    pub kms: String,
    /// The key providers behind the KMS of the configuration, by name.
    pub providers: Vec<(String, Arc<dyn KeyProvider>)>,
    /// The API server's `--etcd-prefix`. `/registry` by default.
    pub etcd_prefix: String,
    /// The most objects that are rewritten in a second; as many as go, by default.
    pub rate: Option<NonZeroU32>,
    /// Where a pass keeps its place; nowhere by default, and then it begins anew after an
    /// interruption.
    pub checkpoint: Option<ObjectKey>,
    /// Copies that somebody may want to restore: they are scanned with every census.
    pub backups: Vec<ClusterSource>,
    /// What is not scanned.
    pub not_scanned: Vec<UnscannedArgument>,
    /// Which key a KMS v1 provider uses.
    pub kms_v1: Vec<KmsV1Argument>,
    /// What somebody takes responsibility for: a name and a reason.
    pub waivers: Vec<(String, String)>,
}

impl ClusterObjectsOptions {
    /// The KMS of this name, and nothing else said.
    #[must_use]
    pub fn new(kms: impl Into<String>) -> Self {
        Self {
            kms: kms.into(),
            providers: Vec::new(),
            etcd_prefix: "/registry".to_owned(),
            rate: None,
            checkpoint: None,
            backups: Vec::new(),
            not_scanned: Vec::new(),
            kms_v1: Vec::new(),
            waivers: Vec::new(),
        }
    }

    /// Opens the provider of every KMS that the configuration names: `rotated` is that of the KMS
    /// whose key is rotated, `keks` stand in for plugins of others. Dials nothing yet.
    ///
    /// # Errors
    ///
    /// A usage [`Failure`] if the configuration does not have a KMS v2 of this name, or lacks one
    /// that `keks` give; or whatever keeps a provider from being opened.
    pub fn with_plugins(
        mut self,
        config: &EncryptionConfiguration,
        rotated: Arc<dyn KeyProvider>,
        keks: Vec<KekArgument>,
        environment: &mut Environment,
    ) -> Result<Self, Failure> {
        let mut all = config.resources.iter().flat_map(|entry| &entry.providers);
        let is_there = all.any(|provider| match provider {
            ProviderConfiguration::Kms(kms) => {
                kms.name == self.kms && kms.api_version == KmsApiVersion::V2
            }
            _ => false,
        });
        if !is_there {
            return Err(Failure::usage(
                format!("the configuration has no KMS v2 `{}`", self.kms),
                "give --kms the name that stands in the configuration",
            ));
        }
        if keks.iter().any(|kek| kek.name == self.kms) {
            return Err(Failure::usage(
                format!(
                    "--kek and --provider both give the provider of `{}`",
                    self.kms
                ),
                "leave that --kek away",
            ));
        }
        let mut plugins = open_plugins(config, keks, environment)?;
        plugins.insert(self.kms.clone(), rotated);
        self.providers = plugins.into_iter().collect();
        Ok(self)
    }
}
