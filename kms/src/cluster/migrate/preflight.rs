//! Before anything is written: do all API servers write with the target?

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use kms_core::Clock;
use kms_envelope::kubernetes::ProviderKind;
use kms_envelope::reencrypt::{Protection, Reencryptors};

use crate::Failure;
use crate::cluster::replicas::{Replica, ReplicaReport, Replicas};

/// What is known of the API servers.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Preflight {
    pub(in crate::cluster) reports: Vec<ReplicaReport>,
    /// In sentences.
    pub(in crate::cluster) unchecked: Vec<String>,
    /// How long until those have followed of whom only the plugin was asked.
    pub(in crate::cluster) settles_in: Duration,
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
                found.add(replicas.check(name, key_id, clock).await);
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
    /// Takes in what all of them said about one key.
    pub(in crate::cluster) fn add(&mut self, report: ReplicaReport) {
        self.settles_in = self.settles_in.max(report.settles_in());
        self.unchecked.extend(report.unchecked());
        self.reports.push(report);
    }

    /// Refuses if an API server is known to write with another key, if it is not known of one that
    /// was named, or if one is missing that is known to be there. Nobody needs to be named.
    pub(in crate::cluster) fn verdict(&self) -> Result<(), Failure> {
        for report in &self.reports {
            let another = names(report.disagreeing());
            if !another.is_empty() {
                return Err(Failure::new(
                    "replicas",
                    format!(
                        "not every API server writes with {} yet: {another}",
                        report.target
                    ),
                    "wait a minute and try again; if it stays so, look at the plugin and the configuration there",
                ));
            }
            let unknown = names(report.unknown());
            if !unknown.is_empty() {
                return Err(Failure::new(
                    "replicas",
                    format!(
                        "it is not known whether every API server writes with {}: {unknown}",
                        report.target
                    ),
                    "see that each of them can be asked; `kms replicas` says why one cannot",
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

fn names<'r>(replicas: impl Iterator<Item = &'r Replica>) -> String {
    let names: Vec<_> = replicas.map(|replica| replica.name.as_str()).collect();
    names.join(", ")
}

/// Waits until API servers have followed their plugins; false if `stop` ended first.
pub(in crate::cluster) async fn settle(
    found: &Preflight,
    clock: &dyn Clock,
    notice: &mut impl FnMut(&str),
    stop: impl Future<Output = ()>,
) -> bool {
    if found.settles_in.is_zero() {
        return true;
    }
    let seconds = found.settles_in.as_secs();
    notice(&format!(
        "waiting {seconds} s: API servers follow their plugins by then"
    ));
    tokio::select! {
        () = clock.sleep_until(clock.now() + found.settles_in) => true,
        () = stop => false,
    }
}

pub(in crate::cluster) fn stopped_early() -> Failure {
    Failure::new(
        "asked",
        "it was asked to stop before it began",
        "run it again",
    )
}
