//! Before anything is written: do all API servers write with the target?

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use kms_core::Clock;
use kms_envelope::kubernetes::ProviderKind;
use kms_envelope::reencrypt::{Protection, Reencryptors};

use crate::Failure;
use crate::cluster::replicas::{ReplicaReport, Replicas};

/// What is known of the API servers.
#[derive(Debug, Default)]
pub(super) struct Preflight {
    pub(super) reports: Vec<ReplicaReport>,
    /// In sentences.
    pub(super) unchecked: Vec<String>,
    /// How long until those have followed of whom only the plugin was asked.
    pub(super) settles_in: Duration,
}

/// Gets the targets ready, and asks the API servers about each.
pub(super) async fn preflight(
    reencryptors: &dyn Reencryptors,
    replicas: &Replicas,
    clock: &Arc<dyn Clock>,
) -> Result<Preflight, Failure> {
    let mut targets = BTreeSet::new();
    for reencryptor in reencryptors.all() {
        reencryptor.refresh().await?;
        targets.extend(reencryptor.target());
    }
    let mut found = Preflight::default();
    for target in &targets {
        match (target.provider(), target.name(), target.key_id()) {
            (ProviderKind::KmsV2, Some(name), Some(key_id)) => {
                let report = replicas.check(name, key_id, clock).await;
                found.settles_in = found.settles_in.max(report.settles_in());
                found.unchecked.extend(report.unchecked());
                found.reports.push(report);
            }
            _ => found.unchecked.push(cannot_be_asked(target)),
        }
    }
    found.unchecked.dedup();
    Ok(found)
}

fn cannot_be_asked(target: &Protection) -> String {
    format!(
        "whether all API servers write {}: only a KMS v2 tells its key",
        match target.provider() {
            ProviderKind::Identity => "in clear".to_owned(),
            _ => format!("with {target}"),
        }
    )
}

impl Preflight {
    /// Refuses if an API server is known to write with another key, or one is missing that is
    /// known to be there.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        for report in &self.reports {
            let another: Vec<_> = report
                .disagreeing()
                .map(|replica| replica.name.as_str())
                .collect();
            if !another.is_empty() {
                return Err(Failure::new(
                    "replicas",
                    format!(
                        "not every API server writes with {} yet: {}",
                        report.target,
                        another.join(", ")
                    ),
                    "wait a minute and try again; if it stays so, look at the plugin and the configuration there",
                ));
            }
            match report.missing() {
                0 => {}
                missing => {
                    return Err(Failure::new(
                        "replicas",
                        format!("{missing} API servers were not asked which key they write with"),
                        "name them with --replica or --metrics, or correct --replicas",
                    ));
                }
            }
        }
        Ok(())
    }
}
