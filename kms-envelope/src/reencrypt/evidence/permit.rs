//! The last look before a key goes.

use core::time::Duration;
use std::time::SystemTime;

use kms_core::object::{ObjectSource, ScanOptions};
use kms_core::{CallOptions, Clock, KeyId};

use super::super::{CensusOptions, CensusProgress, take_census};
use super::{Evidence, EvidenceDigest, KnownKey, Objection, ReplicaState, ScannedSource};
use crate::Error;

/// How to look.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PermitOptions {
    /// How old the evidence may be. An hour by default.
    pub max_age: Duration,
    /// How to count: as the evidence was counted.
    pub census: CensusOptions,
    /// What replicas write with by now.
    pub replicas: Vec<ReplicaState>,
    /// Keys that somebody knows by now; what the same source said for the evidence is replaced.
    pub known_keys: Vec<KnownKey>,
    /// What every call can be told.
    pub call: CallOptions,
}

impl Default for PermitOptions {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(60 * 60),
            census: CensusOptions::default(),
            replicas: Vec::new(),
            known_keys: Vec::new(),
            call: CallOptions::default(),
        }
    }
}

impl PermitOptions {
    /// Sets how old the evidence may be.
    #[must_use]
    pub const fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets how to count.
    #[must_use]
    pub fn with_census(mut self, census: CensusOptions) -> Self {
        self.census = census;
        self
    }

    /// Adds what a replica writes with by now.
    #[must_use]
    pub fn with_replica(mut self, replica: ReplicaState) -> Self {
        self.replicas.push(replica);
        self
    }

    /// Adds a key that somebody knows by now.
    #[must_use]
    pub fn with_known_key(mut self, known: KnownKey) -> Self {
        self.known_keys.push(known);
        self
    }

    /// Sets what every call can be told.
    #[must_use]
    pub fn with_call(mut self, call: CallOptions) -> Self {
        self.call = call;
        self
    }
}

/// Leave to retire one key, given by [`permit_retirement`] alone.
///
/// It is of one moment: whoever writes under the key afterwards makes it wrong. Act on it at once.
#[derive(Debug, Eq, PartialEq)]
pub struct RetirePermit {
    key_id: KeyId,
    plan: EvidenceDigest,
    evidence: Evidence,
}

impl RetirePermit {
    /// The key.
    #[must_use]
    pub const fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The digest of the evidence that the last look was compared with.
    #[must_use]
    pub const fn plan(&self) -> EvidenceDigest {
        self.plan
    }

    /// What the last look found, with the backups, replicas, names and waivers of the plan.
    #[must_use]
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// When the last look was.
    #[must_use]
    pub const fn permitted_at(&self) -> SystemTime {
        self.evidence.taken_at()
    }
}

/// What the last look came to.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RetireVerdict {
    /// Nothing is in the way.
    Permitted(Box<RetirePermit>),
    /// Something is.
    Refused(Vec<Objection>),
}

/// Looks once more and gives leave to retire a key, or says what is in the way.
///
/// The evidence must raise no objection and not be too old; somebody must know the key (see
/// [`Evidence::never_seen`]), and nobody who was asked may wrap with it; the source must be live and of the
/// same cluster, at the revision of the evidence or later; and a census of all of it, history
/// included, must find no reference either, nor more values of an unknown key than were waived.
///
/// # Errors
///
/// What the source returns, as the cause; and as [`take_census`].
pub async fn permit_retirement(
    evidence: &Evidence,
    key_id: &KeyId,
    source: &dyn ObjectSource,
    options: &PermitOptions,
    clock: &dyn Clock,
    progress: impl FnMut(CensusProgress),
) -> Result<RetireVerdict, Error> {
    let plan = evidence.digest();
    let evidence = &evidence.with_known_keys(&options.known_keys)?;
    let mut objections = evidence.objections(key_id);
    objections.extend(evidence.never_seen(key_id));
    objections.extend(evidence.staleness(clock.wall_time(), options.max_age));
    let unread = |error| Error::provider("asking the store which it is", error);
    let identity = source.identity(&options.call).await.map_err(unread)?;
    if identity.cluster_id.is_none() || identity.cluster_id.as_deref() != evidence.cluster_id() {
        objections.push(Objection::OtherCluster {
            planned: evidence.cluster_id().map(str::to_owned),
            found: identity.cluster_id.clone(),
        });
    }
    if !objections.is_empty() {
        return Ok(RetireVerdict::Refused(objections));
    }
    let planned = evidence.content.live_source();
    let with_history = planned.is_none_or(ScannedSource::has_history);
    let scan = ScanOptions::default().with_call(options.call.clone());
    let (report, revision) =
        take_census(source, &scan, &options.census, with_history, progress).await?;
    let now = clock.wall_time();
    let found = ScannedSource::cluster(&identity, &report, revision, now);
    let fresh = evidence.renewed(found, &options.replicas, now)?;
    let mut objections = fresh.objections(key_id);
    objections.extend(fresh.never_seen(key_id));
    objections.extend(fresh.changes_since(evidence));
    if objections.is_empty() {
        return Ok(RetireVerdict::Permitted(Box::new(RetirePermit {
            key_id: key_id.clone(),
            plan,
            evidence: fresh,
        })));
    }
    Ok(RetireVerdict::Refused(objections))
}
