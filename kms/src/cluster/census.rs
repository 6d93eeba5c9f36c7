//! The census of a cluster.

use core::ops::ControlFlow;
use std::sync::Arc;

use kms_cluster::etcd::EtcdStore;
use kms_cluster::snapshot::Snapshot;
use kms_core::object::{Revision, ScanOptions, StoredObject};
use kms_core::{CallOptions, Clock};
use kms_envelope::reencrypt::{
    Census, CensusObserver, CensusOptions, CensusProgress, CensusReport, take_census_observed,
};
use serde::Serialize;
use tokio::runtime::Handle;

use super::checker::Checker;
use super::own::is_own_key;
use super::verify::{Verifier, check_plugins};
use super::{ClusterSource, ObjectOpener, Verification};
use crate::Failure;

/// What to count, and how.
#[derive(Debug)]
#[non_exhaustive]
pub struct CensusRequest {
    /// How to count.
    pub options: CensusOptions,
    /// Whether to count history, too.
    pub history: bool,
    /// What to open every object with, to see whether the cluster would come back after a
    /// restart; nothing is opened without.
    pub verify: Option<ObjectOpener>,
}

impl CensusRequest {
    /// A census of what is live.
    #[must_use]
    pub const fn new(options: CensusOptions) -> Self {
        Self {
            options,
            history: false,
            verify: None,
        }
    }

    /// Sets whether to count history, too.
    #[must_use]
    pub const fn with_history(mut self, history: bool) -> Self {
        self.history = history;
        self
    }

    /// Sets what to open every object with.
    #[must_use]
    pub fn with_verify(mut self, opener: impl Into<Option<ObjectOpener>>) -> Self {
        self.verify = opener.into();
        self
    }
}

/// What was counted. Serializes to the JSON of `kms census --json`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CensusOutcome {
    /// The version of this form of JSON: 1.
    pub schema_version: u32,
    /// What was read.
    pub source: SourceFacts,
    /// What was found.
    #[serde(flatten)]
    pub report: CensusReport,
    /// Of the live keys that are not under the API server's prefix, those under which this software
    /// keeps where a migration or a rotation stands. Not in the JSON.
    #[serde(skip)]
    pub own_keys: u64,
    /// Whether the cluster would come back, if that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verification>,
}

/// What was read.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SourceFacts {
    /// `snapshot` or `etcd`.
    pub kind: String,
    /// The path, or the end points.
    pub name: String,
    /// The cluster's own id; a snapshot does not hold one.
    pub cluster_id: Option<String>,
    /// The revision that was counted.
    pub revision: u64,
    /// Whether the source follows the cluster; a snapshot is a copy.
    pub live: bool,
    /// Up to where history was compacted; 0 if never.
    pub compact_revision: u64,
    /// The SHA-256 of a snapshot's content, if it was there and checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Counts what a cluster's objects are encrypted with.
///
/// # Errors
///
/// A [`Failure`]: the source cannot be read, or is damaged. An object that is damaged is counted,
/// and is no error.
pub async fn census(
    source: &ClusterSource,
    request: CensusRequest,
    clock: Arc<dyn Clock>,
    progress: impl FnMut(CensusProgress) + Send + 'static,
) -> Result<CensusOutcome, Failure> {
    let identity = source.objects().identity(&CallOptions::default()).await?;
    let CensusRequest {
        mut options,
        history,
        verify,
    } = request;
    let mut plugins = Vec::new();
    if let Some(opener) = &verify {
        options.names.get_or_insert_with(|| opener.names());
        plugins = check_plugins(opener, &*clock).await;
    }
    let mut facts = SourceFacts {
        kind: identity.kind,
        name: identity.name,
        cluster_id: identity.cluster_id,
        revision: identity.revision.get(),
        live: identity.live,
        compact_revision: 0,
        sha256: None,
    };
    let Counted {
        mut report,
        verifier,
        own_keys,
    } = match source {
        ClusterSource::Snapshot(snapshot) => {
            let info = snapshot.info();
            facts.compact_revision = info.compacted.unwrap_or_default().get();
            facts.sha256.clone_from(&info.sha256);
            sweep(snapshot.clone(), options, history, verify, progress).await?
        }
        ClusterSource::Etcd(store) => {
            let counted = scan(store, &options, history, verify, progress).await?;
            let (counted, revision) = counted;
            facts.revision = revision.get();
            // Asked last: more may have been compacted since, and nothing less.
            let compacted = store.compacted(&CallOptions::default()).await?;
            facts.compact_revision = compacted.unwrap_or_default().get();
            counted
        }
    };
    let mut outcome = verifier.map(|verifier| verifier.finish(plugins));
    if let Some((_, damaged)) = &mut outcome {
        // What does not parse does not open either: it is named once.
        damaged.retain(|object| {
            let known = &report.live.damaged;
            !known.iter().any(|known| known.etcd_key == object.etcd_key)
        });
        report.live.damaged.append(damaged);
    }
    report
        .live
        .damaged
        .sort_by(|a, b| a.etcd_key.cmp(&b.etcd_key));
    Ok(CensusOutcome {
        schema_version: 1,
        source: facts,
        report,
        own_keys,
        verify: outcome.map(|(verification, _)| verification),
    })
}

/// What one pass found.
struct Counted {
    report: CensusReport,
    verifier: Option<Verifier>,
    own_keys: u64,
}

/// One pass over a file, on a thread of its own; what is to be opened goes to a second one.
async fn sweep(
    snapshot: Snapshot,
    options: CensusOptions,
    history: bool,
    opener: Option<ObjectOpener>,
    mut progress: impl FnMut(CensusProgress) + Send + 'static,
) -> Result<Counted, Failure> {
    const EVERY: u64 = 4096;
    let handle = Handle::current();
    let work = move || {
        let etcd_prefix = options.etcd_prefix.clone();
        let mut census = Census::new(options);
        if history {
            census.reads_history(snapshot.info().compacted);
        }
        let mut checker = opener.map(|opener| Checker::start(opener, handle));
        let mut failure = None;
        let mut own_keys = 0_u64;
        let mut changes = 0_u64;
        snapshot.sweep(None, |record| {
            let mut count = || -> Result<(), kms_envelope::Error> {
                if history {
                    let revision = record.position.revision;
                    census.change(record.key, record.value, revision, record.is_live)?;
                }
                if let (true, Some(value)) = (record.is_live, record.value) {
                    census.live(record.key, value, record.lease.is_some())?;
                    let is_own = is_own_key(record.key, &etcd_prefix);
                    own_keys = own_keys.saturating_add(is_own.into());
                    if let Some(checker) = &mut checker {
                        checker.add(record);
                    }
                }
                Ok(())
            };
            if let Err(error) = count() {
                failure = Some(error);
                return ControlFlow::Break(());
            }
            changes = changes.saturating_add(1);
            if changes.is_multiple_of(EVERY) {
                progress(CensusProgress::new(census.objects(), None, changes));
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = failure {
            return Err(Failure::from(error));
        }
        let verifier = checker.map(Checker::finish).transpose()?;
        Ok(Counted {
            report: census.report(),
            verifier,
            own_keys,
        })
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| died(error.to_string()))?
}

pub(super) fn died(what: String) -> Failure {
    Failure::new("internal", what, "report this as a defect")
}

/// Page after page of a source that is asked; and the revision that was counted.
async fn scan(
    source: &EtcdStore,
    options: &CensusOptions,
    history: bool,
    opener: Option<ObjectOpener>,
    progress: impl FnMut(CensusProgress),
) -> Result<(Counted, Revision), Failure> {
    let mut watcher = Watcher {
        etcd_prefix: &options.etcd_prefix,
        own_keys: 0,
        verifier: opener.as_ref().map(Verifier::new),
        opener,
        progress,
    };
    let all = ScanOptions::default();
    let (report, revision) =
        take_census_observed(source, &all, options, history, &mut watcher).await?;
    let counted = Counted {
        report,
        verifier: watcher.verifier,
        own_keys: watcher.own_keys,
    };
    Ok((counted, revision))
}

/// Opens what is counted, in the same pass.
struct Watcher<'p, F> {
    etcd_prefix: &'p [u8],
    own_keys: u64,
    opener: Option<ObjectOpener>,
    verifier: Option<Verifier>,
    progress: F,
}

impl<F: FnMut(CensusProgress)> CensusObserver for Watcher<'_, F> {
    fn begin(&mut self) {
        self.verifier = self.opener.as_ref().map(Verifier::new);
        self.own_keys = 0;
    }

    async fn objects(&mut self, objects: &[StoredObject]) {
        let is_own = |it: &&StoredObject| is_own_key(it.key.as_bytes(), self.etcd_prefix);
        let own = u64::try_from(objects.iter().filter(is_own).count()).unwrap_or(u64::MAX);
        self.own_keys = self.own_keys.saturating_add(own);
        let (Some(opener), Some(verifier)) = (&mut self.opener, &mut self.verifier) else {
            return;
        };
        for object in objects {
            let key = object.key.as_bytes();
            verifier.check(opener, key, &object.value).await;
        }
    }

    fn progress(&mut self, progress: CensusProgress) {
        (self.progress)(progress);
    }
}
