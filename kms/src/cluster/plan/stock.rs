//! What a plan is told: what is stored, and what the KMS answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use kms_core::Clock;
use kms_envelope::kubernetes::plan::{KmsAnswer, StoredObjects};
use kms_envelope::kubernetes::{
    ConfiguredNames, EncryptionConfiguration, KmsConfiguration, ProviderConfiguration,
};
use kms_envelope::reencrypt::{CensusOptions, CensusProgress};

use super::CensusFacts;
use crate::Failure;
use crate::cluster::census::{CensusRequest, census};
use crate::cluster::source::ClusterSource;
use crate::cluster::verify::check_plugin;
use crate::provider::open_endpoint;

/// Counts what a cluster's objects are encrypted with, by the names of both configurations.
///
/// # Errors
///
/// As [`census`](crate::cluster::census()).
pub async fn take_stock(
    source: &ClusterSource,
    configurations: &[&EncryptionConfiguration],
    etcd_prefix: &str,
    clock: Arc<dyn Clock>,
    progress: impl FnMut(CensusProgress) + Send + 'static,
) -> Result<(StoredObjects, CensusFacts), Failure> {
    let options = CensusOptions::default()
        .with_names(ConfiguredNames::new(providers(configurations)))
        .with_etcd_prefix(etcd_prefix.as_bytes());
    let outcome = census(source, CensusRequest::new(options), clock, progress).await?;
    let facts = CensusFacts {
        kind: outcome.source.kind,
        name: outcome.source.name,
        revision: outcome.source.revision,
    };
    Ok((StoredObjects::from(&outcome.report), facts))
}

/// Asks every KMS of these configurations what an API server asks it when it starts: Status and
/// Encrypt, of KMS v1 Encrypt and Decrypt. This is to run where the plugins are.
pub async fn probe_kms(
    configurations: &[&EncryptionConfiguration],
    clock: &Arc<dyn Clock>,
) -> BTreeMap<String, KmsAnswer> {
    let probe = |kms: KmsConfiguration| async move {
        let reason = match open_endpoint(&kms, Arc::clone(clock)) {
            Ok(provider) => check_plugin(&kms, &*provider, &**clock).await.reason,
            Err(failure) => Some(failure.to_string()),
        };
        let answer = reason.map_or(KmsAnswer::Answers, KmsAnswer::Silent);
        (kms.name, answer)
    };
    let mut asked = Vec::<KmsConfiguration>::new();
    for provider in providers(configurations) {
        let ProviderConfiguration::Kms(kms) = provider else {
            continue;
        };
        if !asked.contains(kms) {
            asked.push(kms.clone());
        }
    }
    let mut answers = BTreeMap::new();
    for (name, answer) in futures_util::future::join_all(asked.into_iter().map(probe)).await {
        // One that is silent anywhere is silent.
        let known = answers.entry(name).or_insert(KmsAnswer::Answers);
        if *known == KmsAnswer::Answers {
            *known = answer;
        }
    }
    answers
}

fn providers<'a>(
    configurations: &[&'a EncryptionConfiguration],
) -> impl Iterator<Item = &'a ProviderConfiguration> {
    let entries = configurations.iter().copied().flat_map(|it| &it.resources);
    entries.flat_map(|entry| &entry.providers)
}
