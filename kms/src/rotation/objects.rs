//! The objects of a cluster, in its etcd.

use core::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::object::{ObjectKey, ObjectStore, ScanOptions, StoreIdentity};
use kms_core::{CallOptions, Clock, KeyProvider, OsRandom};
use kms_envelope::kubernetes::{ConfiguredNames, EncryptionConfiguration, ProviderKind};
use kms_envelope::reencrypt::{
    CensusOptions, CensusReport, CensusRow, ConfiguredReencryptors, Evidence, EvidenceBuilder,
    Lookup, Migration, MigrationEnd, MigrationOptions, MigrationReport, MigrationScope,
    ObjectCheckpoints, ReencryptorOptions, Reencryptors, ScannedSource, SourceRole, TargetSelector,
    UnscannedKind, take_census,
};
use kms_envelope::rotation::{Remaining, Scope, Target};

use super::{CensusOrder, MigrationOrder, Objects, PassProgress, PassSummary, Verified};
use crate::Failure;
use crate::cluster::{CensusRequest, ClusterSource, census};
use crate::retire::{KmsV1Argument, UnscannedArgument, scanned};

/// Objects that are named if they could not be migrated.
const MAX_REASONS: usize = 5;

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
}

/// [`Objects`] in any store that can be compared and swapped.
#[derive(Debug)]
pub struct ClusterObjects {
    store: Arc<dyn ObjectStore>,
    config: EncryptionConfiguration,
    scope: MigrationScope,
    options: ClusterObjectsOptions,
    clock: Arc<dyn Clock>,
}

impl ClusterObjects {
    /// The objects of a cluster whose API servers use this configuration.
    #[must_use]
    pub fn new(
        store: Arc<dyn ObjectStore>,
        config: EncryptionConfiguration,
        options: ClusterObjectsOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            scope: MigrationScope::new(&options.etcd_prefix),
            store,
            config,
            options,
            clock,
        }
    }

    /// Who opens and seals. Calls no provider.
    fn reencryptors(&self, target: &Target) -> Result<ConfiguredReencryptors, Failure> {
        let selector = match target {
            Target::Plain => TargetSelector::Plain,
            _ => TargetSelector::Kms(self.options.kms.clone()),
        };
        let options = ReencryptorOptions::new(Arc::clone(&self.clock), Arc::new(OsRandom))
            .with_target(selector);
        let providers = self.options.providers.iter();
        let options = providers.fold(options, |options, (name, provider)| {
            options.with_kms(name, Arc::clone(provider))
        });
        Ok(ConfiguredReencryptors::new(
            &self.config,
            &self.scope,
            &options,
        )?)
    }

    /// Whether what would be sealed is what the rotation expects.
    async fn expect(
        &self,
        reencryptors: &dyn Reencryptors,
        target: &Target,
    ) -> Result<(), Failure> {
        for pair in reencryptors.all() {
            pair.refresh().await?;
            let sealed = pair.target();
            let key = sealed.as_ref().and_then(|sealed| sealed.key_id());
            if key != target.key() {
                return Err(another_key(target, key.map(ToString::to_string)));
            }
        }
        Ok(())
    }

    async fn pass(
        &self,
        order: &MigrationOrder,
        reencryptors: &dyn Reencryptors,
        resume: bool,
        progress: &(dyn Fn(PassProgress) + Send + Sync),
    ) -> Result<MigrationReport, kms_envelope::Error> {
        let options = MigrationOptions::new(self.scope.clone())
            .with_rate(self.options.rate)
            .with_renew(order.scope == Scope::Everything)
            .with_resume(resume)
            // Whether another one is worth while the census says.
            .with_passes(1);
        let migration = Migration::new(&*self.store, reencryptors, &*self.clock, &options);
        let checkpoints = self
            .options
            .checkpoint
            .clone()
            .map(|key| ObjectCheckpoints::new(&*self.store, key));
        let migration = match &checkpoints {
            Some(checkpoints) => migration.with_checkpoints(checkpoints),
            None => migration,
        };
        migration
            .run(core::future::pending(), |now| {
                let left = now.eta.map(|left| left.as_secs());
                let told = PassProgress::new(now.done, now.total, now.counts.rewritten);
                progress(told.with_seconds_left(left));
            })
            .await
    }

    fn census_options(&self) -> CensusOptions {
        let providers = self
            .config
            .resources
            .iter()
            .flat_map(|entry| &entry.providers);
        CensusOptions::default()
            .with_names(ConfiguredNames::new(providers))
            .with_etcd_prefix(self.options.etcd_prefix.as_bytes())
    }

    async fn backups(&self) -> Result<Vec<ScannedSource>, Failure> {
        let mut sources = Vec::new();
        for backup in &self.options.backups {
            let request = CensusRequest::new(self.census_options()).with_history(true);
            let outcome = census(backup, request, Arc::clone(&self.clock), |_| {}).await;
            let outcome = outcome.map_err(|failure| failure.at(backup))?;
            sources.push(scanned(SourceRole::Backup, &outcome, &*self.clock));
        }
        Ok(sources)
    }

    /// What objects are under that should be under the target.
    fn remaining(
        &self,
        report: &CensusReport,
        target: &Target,
        reencryptors: &dyn Reencryptors,
    ) -> Remaining {
        let mut remaining = Remaining::NONE;
        for row in &report.live.census {
            let is_known = row.provider.is_some() && !row.unparsable;
            if !is_known {
                remaining.unreadable = remaining.unreadable.saturating_add(row.count);
                continue;
            }
            if self.is_under(row, target) || !self.is_configured(row, reencryptors) {
                continue;
            }
            remaining.off_target = remaining.off_target.saturating_add(row.count);
            let names_no_key = !matches!(
                row.provider,
                Some(ProviderKind::KmsV2 | ProviderKind::Identity)
            );
            if names_no_key {
                remaining.unnamed = remaining.unnamed.saturating_add(row.count);
            }
        }
        remaining
    }

    fn is_under(&self, row: &CensusRow, target: &Target) -> bool {
        match target.key() {
            None => row.provider == Some(ProviderKind::Identity),
            Some(id) => {
                row.provider == Some(ProviderKind::KmsV2)
                    && row.key_id.as_deref() == Some(id.as_str())
                    && row.prefix == format!("k8s:enc:kms:v2:{}:", self.options.kms)
            }
        }
    }

    /// Whether API servers would encrypt objects of this row at all.
    fn is_configured(&self, row: &CensusRow, reencryptors: &dyn Reencryptors) -> bool {
        let prefix = self.scope.etcd_prefix();
        // Any object of the resource stands for all.
        let key = format!("{prefix}/{}/any/any", row.resource);
        reencryptors.lookup(key.as_bytes()) != Lookup::NotConfigured
    }
}

#[async_trait]
impl Objects for ClusterObjects {
    async fn identity(&self) -> Result<StoreIdentity, Failure> {
        Ok(self.store.identity(&CallOptions::default()).await?)
    }

    async fn migrate(
        &self,
        order: &MigrationOrder,
        progress: &(dyn Fn(PassProgress) + Send + Sync),
    ) -> Result<PassSummary, Failure> {
        let reencryptors = self.reencryptors(&order.target)?;
        self.expect(&reencryptors, &order.target).await?;
        let first = self.pass(order, &reencryptors, true, progress).await;
        let report = match first {
            // The place that was kept is of another target: begin with this one.
            Err(error) if error.kind() == kms_envelope::ErrorKind::Checkpoint => {
                self.pass(order, &reencryptors, false, progress).await?
            }
            report => report?,
        };
        // What was sealed, and not what was meant to be.
        let other = report
            .targets
            .iter()
            .find(|it| it.key_id() != order.target.key());
        if let Some(other) = other {
            return Err(another_key(&order.target, Some(other.to_string())));
        }
        summary(&report)
    }

    async fn verify(&self, order: &CensusOrder) -> Result<Verified, Failure> {
        let reencryptors = self.reencryptors(&order.target)?;
        let now = self.clock.wall_time();
        let identity = self.identity().await?;
        let (report, revision) = take_census(
            &*self.store,
            &ScanOptions::default(),
            &self.census_options(),
            true,
            |_| {},
        )
        .await?;
        let cluster = ScannedSource::cluster(&identity, &report, revision, now);
        let mut builder = Evidence::builder(now).scanned(cluster);
        builder = self
            .backups()
            .await?
            .into_iter()
            .fold(builder, EvidenceBuilder::scanned);
        builder = order
            .writers
            .known
            .iter()
            .cloned()
            .fold(builder, EvidenceBuilder::replica);
        for name in &order.writers.unknown {
            builder = builder.not_scanned(name, UnscannedKind::Replica);
        }
        for it in &self.options.not_scanned {
            builder = builder.not_scanned(&it.name, it.kind);
        }
        for said in &self.options.kms_v1 {
            builder = builder.kms_v1_key(&said.provider, &said.key_id);
        }
        for (name, reason) in &self.options.waivers {
            builder = builder.waive(name, reason);
        }
        let remaining = self.remaining(&report, &order.target, &reencryptors);
        Ok(Verified::new(builder.finish()?, remaining))
    }
}

fn another_key(target: &Target, found: Option<String>) -> Failure {
    let expected = target.key().map_or("none", kms_core::KeyId::as_str);
    let found = found.unwrap_or_else(|| "none".to_owned());
    Failure::new(
        "another_key",
        format!(
            "the key provider writes with another key than the rotation expects: {found}, and not {expected}"
        ),
        "nothing, if a newer version has just become active; else check that the provider here is the one of the API servers",
    )
}

fn summary(report: &MigrationReport) -> Result<PassSummary, Failure> {
    if let MigrationEnd::Stopped(reason) = &report.end {
        return Err(Failure::new(
            reason.as_str(),
            format!("the migration stopped: {reason}"),
            reason.remedy(),
        ));
    }
    let reasons = report
        .remaining
        .iter()
        .take(MAX_REASONS)
        .map(|it| format!("{}: {}", it.etcd_key, it.reason))
        .collect();
    let counts = &report.counts;
    let summary = PassSummary::new(counts.objects, counts.rewritten, report.remaining_count);
    Ok(summary.with_reasons(reasons))
}
