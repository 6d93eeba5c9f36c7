//! API servers and their plugins, as those who write.

use std::sync::Arc;

use async_trait::async_trait;
use kms_core::{Clock, KeyId};
use kms_envelope::kubernetes::convergence::{Judgement, Verdict};
use kms_envelope::reencrypt::{Evidence, ReplicaState};
use kms_envelope::rotation::{Expectation, Target};

use super::{Convergence, WriterStates, Writers};
use crate::Failure;
use crate::cluster::replicas::{ReplicaReport, Replicas};

/// [`Writers`] that are asked through their metrics and plugins.
#[derive(Debug)]
pub struct ReplicaWriters {
    kms: String,
    replicas: Replicas,
    clock: Arc<dyn Clock>,
    waived: Option<String>,
}

impl ReplicaWriters {
    /// Those who write through the KMS v2 of this name in the configuration. `waived` is why nobody
    /// has to be asked, if nobody can.
    ///
    /// # Errors
    ///
    /// A usage [`Failure`] if nobody can be asked and nobody took responsibility for that.
    pub fn new(
        kms: impl Into<String>,
        replicas: Replicas,
        waived: Option<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        if replicas.is_empty() && waived.is_none() {
            return Err(Failure::usage(
                "no API server can be asked which key it writes with",
                "give --metrics for each API server or --replica for each plugin, or take responsibility: --waive replicas=REASON",
            ));
        }
        Ok(Self {
            kms: kms.into(),
            replicas,
            clock,
            waived,
        })
    }

    /// Asks each which key it writes with: whether that is this one or which other.
    pub async fn states_beside(&self, key: &KeyId) -> WriterStates {
        let mut states = WriterStates::default();
        if self.replicas.is_empty() {
            return states;
        }
        let report = self.ask(key).await;
        let now = self.clock.wall_time();
        for replica in &report.replicas {
            for evidence in &replica.evidence {
                match written_with(&evidence.judgement, key) {
                    Some(key) => {
                        let state = ReplicaState::new(&evidence.source, &key, now);
                        states.known.push(state);
                    }
                    None => states.unknown.push(evidence.source.clone()),
                }
            }
        }
        if report.missing() > 0 {
            states.unknown.push(Evidence::REPLICAS.to_owned());
        }
        states
    }

    async fn ask(&self, key: &KeyId) -> ReplicaReport {
        self.replicas.check(&self.kms, key, &self.clock).await
    }
}

#[async_trait]
impl Writers for ReplicaWriters {
    async fn check(&self, expectation: &Expectation) -> Result<Convergence, Failure> {
        let Expectation::Writes(Target::Key { id, .. }) = expectation else {
            return Err(Failure::new(
                "unsupported",
                "API servers do not tell what their configuration reads by",
                "compare their configurations with `kms config check`, and carry this change out with `kms config plan`",
            ));
        };
        if let (true, Some(reason)) = (self.replicas.is_empty(), &self.waived) {
            return Ok(Convergence::new(
                0,
                vec![format!("nobody was asked: {reason}")],
            ));
        }
        let report = self.ask(id).await;
        let is_other = |verdict| verdict != Verdict::Target;
        let others = report.replicas.iter().filter(|it| is_other(it.verdict()));
        let others = u32::try_from(others.count()).unwrap_or(u32::MAX);
        let lagging = others.saturating_add(report.missing());
        // An agreement is the report's to declare.
        let lagging = match report.agrees() {
            true => 0,
            false => lagging.max(1),
        };
        Ok(Convergence::new(lagging, findings(&report)))
    }

    async fn states(&self, target: &Target) -> WriterStates {
        match target {
            Target::Key { id, .. } => self.states_beside(id).await,
            _ => WriterStates::default(),
        }
    }
}

/// The key that a judgement speaks of, or its hash.
fn written_with(judgement: &Judgement, target: &KeyId) -> Option<KeyId> {
    match judgement {
        Judgement::Wrote { .. } | Judgement::PluginTells => Some(target.clone()),
        Judgement::PluginTellsAnother { key_id } => Some(key_id.clone()),
        Judgement::ToldAnother { key_id_hash, .. }
        | Judgement::WroteAnother { key_id_hash, .. } => KeyId::new(key_id_hash).ok(),
        _ => None,
    }
}

/// What stands in the way, and what could not be checked; nothing of those that are as they should
/// be.
fn findings(report: &ReplicaReport) -> Vec<String> {
    let another = report.replicas.iter().flat_map(|replica| {
        let evidence = replica.evidence.iter();
        let of_another = evidence.filter(|it| it.judgement.verdict() == Verdict::Another);
        of_another.map(|it| format!("{}: {}", replica.name, it.judgement))
    });
    another.chain(report.unchecked()).collect()
}
