//! Looking for what is in the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use kms_core::object::{Revision, StoreIdentity};
use kms_core::{Clock, KeyId};
use kms_envelope::reencrypt::{
    CensusProgress, CensusReport, Evidence, EvidenceBuilder, Objection, ScannedSource, SourceRole,
    UnscannedKind,
};
use serde::Serialize;

use super::request::split_waiver;
use super::{NeededBy, PlanRequest, ReplicaArgument, Step, steps};
use crate::Failure;
use crate::cluster::{CensusOutcome, CensusRequest, census};
use crate::figures::printable;

/// What needs a key, what is in the way of retiring it, and what to do. Serializes to the JSON of
/// `kms key plan-retire --json`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RetirePlan {
    /// The version of this form of JSON: 1.
    pub schema_version: u32,
    /// The key.
    pub key_id: String,
    /// What needs it, and what may.
    pub needed_by: NeededBy,
    /// What is in the way; nothing if this is empty.
    pub objections: Vec<PlannedObjection>,
    /// What to do, in this order.
    pub next_steps: Vec<Step>,
    /// What could not be asked, and why.
    pub notes: Vec<String>,
    /// What was scanned and what was not.
    pub evidence: Evidence,
}

/// An objection in words.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PlannedObjection {
    /// The objection: `code`, and what it counts or names.
    #[serde(flatten)]
    pub objection: Objection,
    /// It in words.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// The name by which it can be waived; `None` if it cannot.
    pub waivable_as: Option<String>,
}

impl From<Objection> for PlannedObjection {
    fn from(objection: Objection) -> Self {
        Self {
            message: objection.to_string(),
            remedy: objection.remedy(),
            waivable_as: objection.waivable_as().map(str::to_owned),
            objection,
        }
    }
}

/// Keys that are named of each resource.
pub(super) const EXAMPLES: usize = 5;

/// Scans what is given and says what is in the way of retiring a key.
///
/// A replica that does not answer is noted and counts as not scanned.
///
/// # Errors
///
/// A [`Failure`]: a source cannot be read, or is damaged; a waiver is not `NAME=REASON`.
pub async fn plan(
    request: PlanRequest,
    clock: Arc<dyn Clock>,
    progress: impl Fn(CensusProgress) + Clone + Send + 'static,
) -> Result<RetirePlan, Failure> {
    let mut builder = Evidence::builder(clock.wall_time());
    let mut reports = BTreeMap::new();
    let sources = [
        (SourceRole::Cluster, &request.cluster),
        (SourceRole::Backup, &request.backups),
    ];
    for (role, sources) in sources {
        for source in sources {
            let options = request.census.clone().with_examples(EXAMPLES);
            let wanted = CensusRequest::new(options).with_history(true);
            let progress = progress.clone();
            let outcome = census(source, wanted, Arc::clone(&clock), progress).await;
            let outcome = outcome.map_err(|failure| failure.at(source))?;
            builder = builder.scanned(scanned(role, &outcome, &*clock));
            reports.insert(outcome.source.name, outcome.report);
        }
    }
    let mut notes = Vec::new();
    for replica in &request.replicas {
        match replica.ask(&clock).await {
            Ok(states) => {
                builder = states.into_iter().fold(builder, EvidenceBuilder::replica);
            }
            Err(failure) => {
                notes.push(format!(
                    "{replica} did not say what it writes with: {failure}"
                ));
                builder = builder.not_scanned(replica.to_string(), UnscannedKind::Replica);
            }
        }
    }
    for it in &request.not_scanned {
        builder = builder.not_scanned(&it.name, it.kind);
    }
    for said in &request.kms_v1 {
        builder = builder.kms_v1_key(&said.provider, &said.key_id);
    }
    let known = request.replicas.iter().flat_map(ReplicaArgument::known);
    builder = known.fold(builder, EvidenceBuilder::known_key);
    let known = request.known_keys.iter().cloned();
    builder = known.fold(builder, EvidenceBuilder::known_key);
    let evidence = waive(builder, &request)?.finish()?;
    Ok(concluded(&request, evidence, &reports, notes))
}

/// Adds the waivers, by the names that can be waived.
fn waive(builder: EvidenceBuilder, request: &PlanRequest) -> Result<EvidenceBuilder, Failure> {
    let evidence = builder.clone().finish()?;
    let objections = objections(&evidence, &request.key_id);
    let known = |name: &str| {
        objections.iter().any(|it| it.waivable_as() == Some(name))
            || placed(request, &evidence).any(|it| it == name)
            || has_form(name)
    };
    let mut builder = builder;
    for text in &request.waivers {
        let (name, reason) = split_waiver(text, &known)?;
        if !known(name) {
            return Err(no_such_waiver(name, request, &evidence));
        }
        builder = builder.waive(name, reason);
    }
    let unseen = evidence.never_seen(&request.key_id);
    if let Some(name) = unseen.as_ref().and_then(Objection::waivable_as)
        && request.never_seen
    {
        builder = builder.waive(name, "nobody was found who has seen it (--never-seen)");
    }
    Ok(builder)
}

/// What may be waived by name, whether or not it is in the way just now.
fn placed<'a>(
    request: &'a PlanRequest,
    evidence: &'a Evidence,
) -> impl Iterator<Item = String> + 'a {
    let standing = [
        Evidence::BACKUPS,
        Evidence::OTHER_CLUSTERS,
        Evidence::REPLICAS,
    ];
    let sources = evidence.sources().iter();
    let backups = sources.filter(|source| source.role() == SourceRole::Backup);
    let backups = backups.map(|source| source.name().to_owned());
    let unscanned = evidence.unscanned().iter().map(|it| it.name().to_owned());
    let replicas = request.replicas.iter().map(ToString::to_string);
    let standing = standing.into_iter().map(str::to_owned);
    standing.chain(backups).chain(unscanned).chain(replicas)
}

/// Whether it is the name of values whose key cannot be known. Those of before may be gone by now,
/// and their waiver is repeated with the command.
fn has_form(name: &str) -> bool {
    let forms = [
        "kms-v1:",
        "damaged:",
        "unknown-provider:",
        "history:",
        "never-seen:",
    ];
    name == "history" || forms.iter().any(|form| name.starts_with(form))
}

fn no_such_waiver(name: &str, request: &PlanRequest, evidence: &Evidence) -> Failure {
    let mut names: Vec<_> = placed(request, evidence).collect();
    let objections = objections(evidence, &request.key_id);
    let raised = objections.iter().filter_map(Objection::waivable_as);
    names.extend(raised.map(str::to_owned));
    names.sort();
    names.dedup();
    Failure::usage(
        printable(&format!("--waive names nothing that can be waived: {name}")),
        printable(&format!("give one of these: {}", names.join(", "))),
    )
}

/// All that is in the way.
fn objections(evidence: &Evidence, key_id: &KeyId) -> Vec<Objection> {
    let mut objections = evidence.objections(key_id);
    objections.extend(evidence.never_seen(key_id));
    objections
}

fn concluded(
    request: &PlanRequest,
    evidence: Evidence,
    reports: &BTreeMap<String, CensusReport>,
    notes: Vec<String>,
) -> RetirePlan {
    let objections = objections(&evidence, &request.key_id);
    let needed_by = NeededBy::new(&evidence, &request.key_id, reports);
    RetirePlan {
        schema_version: 1,
        key_id: request.key_id.to_string(),
        next_steps: steps::next(&request.key_id, &objections, &needed_by, &request.places),
        needed_by,
        objections: objections.into_iter().map(PlannedObjection::from).collect(),
        notes,
        evidence,
    }
}

pub(crate) fn scanned(
    role: SourceRole,
    outcome: &CensusOutcome,
    clock: &dyn Clock,
) -> ScannedSource {
    let facts = &outcome.source;
    let revision = Revision::new(facts.revision);
    let mut identity = StoreIdentity::new(&facts.kind, &facts.name, revision, facts.live);
    identity.cluster_id.clone_from(&facts.cluster_id);
    let now = clock.wall_time();
    let source = match role {
        SourceRole::Backup => ScannedSource::backup(&identity, &outcome.report, revision, now),
        _ => ScannedSource::cluster(&identity, &outcome.report, revision, now),
    };
    let compacted = Revision::new(facts.compact_revision);
    source
        .with_compacted(Some(compacted).filter(|it| *it > Revision::default()))
        .with_sha256(facts.sha256.clone())
}
