//! The last look before a key goes, and what is written down of it.

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kms_core::{Clock, KeyId};
use kms_envelope::reencrypt::{
    CensusOptions, CensusProgress, Evidence, EvidenceDigest, KnownKey, PermitOptions, RetirePermit,
    RetireVerdict, permit_retirement,
};
use serde::{Serialize, Serializer};

use super::commands::quoted;
use super::request::read_long_text;
use super::{PlannedObjection, ReplicaArgument, Step};
use crate::Failure;
use crate::cluster::ClusterSource;

/// Which key goes, and what says that it may.
#[derive(Debug)]
#[non_exhaustive]
pub struct RetireRequest {
    /// The key.
    pub key_id: KeyId,
    /// What `plan` found.
    pub evidence: Evidence,
    /// The cluster's live etcd.
    pub cluster: ClusterSource,
    /// How to count: as the evidence was counted.
    pub census: CensusOptions,
    /// How old the evidence may be.
    pub max_age: Duration,
    /// Whom to ask what they write with. Plugins that the evidence names are asked again anyway.
    pub replicas: Vec<ReplicaArgument>,
    /// Keys that somebody knows by now.
    pub known_keys: Vec<KnownKey>,
    /// The provider of the key, for the commands that delete it, such as `local:PATH`.
    pub provider: Option<String>,
}

impl RetireRequest {
    /// A last look at a cluster.
    #[must_use]
    pub fn new(key_id: KeyId, evidence: Evidence, cluster: ClusterSource) -> Self {
        Self {
            key_id,
            evidence,
            cluster,
            census: CensusOptions::default(),
            max_age: PermitOptions::default().max_age,
            replicas: Vec::new(),
            known_keys: Vec::new(),
            provider: None,
        }
    }

    /// Reads evidence that `kms key plan-retire --out` wrote.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file: it cannot be read, or is not what its digest says.
    pub fn read_evidence(path: &Path) -> Result<Evidence, Failure> {
        let refused = |error| Failure::from(error).at(path.display());
        Evidence::from_json(&read_long_text(path)?).map_err(|error: kms_envelope::Error| {
            refused(error).with_advice("make it again with `kms key plan-retire --out`")
        })
    }
}

/// What the last look came to.
#[derive(Debug)]
#[non_exhaustive]
pub enum RetireOutcome {
    /// The key may go.
    Permitted(Box<Retirement>),
    /// Something is in the way.
    Refused(Vec<PlannedObjection>),
}

/// That a key was found to be needed by nothing, when, and on whose word. Serializes to the
/// statement of `kms key retire`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Retirement {
    /// `kms-retirement`.
    pub format: &'static str,
    /// The version of this form of JSON: 1.
    pub version: u32,
    /// The key.
    pub key_id: String,
    /// When the last look was, to the second.
    #[serde(serialize_with = "as_text")]
    pub retired_at: SystemTime,
    /// The cluster, by its own id.
    pub cluster_id: String,
    /// The revision at which nothing needed the key.
    pub revision: u64,
    /// The digest of the evidence of the plan.
    pub plan: EvidenceDigest,
    /// What the last look found, with who waived what.
    pub evidence: Evidence,
    /// How to delete the key now.
    pub next_steps: Vec<Step>,
}

fn as_text<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let text = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    serializer.collect_str(&text)
}

/// Looks once more at a cluster whose evidence raises no objection. Changes nothing.
///
/// # Errors
///
/// A [`Failure`]: the cluster cannot be read, or a replica does not answer.
pub async fn retire(
    request: RetireRequest,
    clock: Arc<dyn Clock>,
    progress: impl FnMut(CensusProgress),
) -> Result<RetireOutcome, Failure> {
    let mut options = PermitOptions::default()
        .with_max_age(request.max_age)
        .with_census(request.census);
    let known = request.evidence.replicas().iter();
    let known = known.filter_map(|replica| replica.name().parse::<ReplicaArgument>().ok());
    let asked_again = known.filter(ReplicaArgument::is_asked_itself);
    for replica in asked_again.chain(request.replicas) {
        let states = replica.ask(&clock).await;
        for state in states.map_err(|failure| failure.at(&replica))? {
            options = options.with_replica(state);
        }
    }
    let known = request.known_keys.into_iter();
    options = known.fold(options, PermitOptions::with_known_key);
    let objects = request.cluster.objects();
    let (evidence, key_id) = (&request.evidence, &request.key_id);
    let verdict = permit_retirement(evidence, key_id, objects, &options, &*clock, progress).await?;
    Ok(match verdict {
        RetireVerdict::Permitted(permit) => {
            let retirement = Retirement::new(*permit, request.provider.as_deref());
            RetireOutcome::Permitted(Box::new(retirement))
        }
        RetireVerdict::Refused(objections) => {
            let objections = objections.into_iter().map(PlannedObjection::from);
            RetireOutcome::Refused(objections.collect())
        }
        verdict => {
            let fault = format!("an unknown verdict: {verdict:?}");
            return Err(Failure::new("internal", fault, "report this as a defect"));
        }
    })
}

impl Retirement {
    /// The statement of a permit.
    fn new(permit: RetirePermit, provider: Option<&str>) -> Self {
        let evidence = permit.evidence().clone();
        Self {
            format: "kms-retirement",
            version: 1,
            key_id: permit.key_id().to_string(),
            retired_at: permit.permitted_at(),
            cluster_id: evidence.cluster_id().unwrap_or_default().to_owned(),
            revision: evidence.revision().get(),
            plan: permit.plan(),
            next_steps: deletion(permit.key_id(), provider),
            evidence,
        }
    }
}

/// How to delete a key, first in a way that can be undone.
fn deletion(key_id: &KeyId, provider: Option<&str>) -> Vec<Step> {
    let id = quoted(key_id.as_str());
    if key_id.as_str().starts_with("https://") {
        let note = "switch the version off. A vault deletes no single version: `az keyvault key \
                    delete` would take all versions of the key with it. On AKS, KMS holds the key of \
                    before beside the current one: rotate once more first, so that this is neither";
        let command = format!("az keyvault key set-attributes --id {id} --enabled false");
        return vec![Step::new(note, vec![command])];
    }
    let is_local = match provider {
        Some(provider) => provider.starts_with("local:"),
        None => key_id.as_str().starts_with("local/"),
    };
    if !is_local {
        let note = "switch the key off where it is kept, and destroy it when nothing has missed it \
                    for as long as API servers remember what they have unwrapped: a day or more";
        return vec![Step::new(note, Vec::new())];
    }
    let provider = quoted(provider.unwrap_or("local:KEYRING"));
    let command = |verb: &str| vec![format!("kms key {verb} --provider {provider} {id}")];
    vec![
        Step::new(
            "switch the version off, which can be undone",
            command("disable"),
        ),
        Step::new(
            "let it be destroyed when nothing has missed it for a day or more: API servers remember \
             what they have unwrapped",
            command("destroy"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R26, R27: the command names the version, and says that AKS holds two.
    #[test]
    fn the_commands_name_the_key_and_nothing_more() {
        let commands = |id: &str, provider| -> Vec<String> {
            let steps = deletion(&KeyId::new(id).unwrap(), provider);
            steps.into_iter().flat_map(|step| step.commands).collect()
        };
        let url = "https://kv1.vault.azure.net/keys/etcd/0123456789abcdef0123456789abcdef";
        assert_eq!(
            commands(url, None),
            [format!(
                "az keyvault key set-attributes --id {url} --enabled false"
            )]
        );
        assert_eq!(
            commands("local/x/1-y", Some("local:/a b")),
            [
                "kms key disable --provider 'local:/a b' local/x/1-y",
                "kms key destroy --provider 'local:/a b' local/x/1-y"
            ]
        );
        assert!(commands("kek-1", None).is_empty());
    }
}
