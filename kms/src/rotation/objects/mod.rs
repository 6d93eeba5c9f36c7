//! The objects of a cluster, in its etcd.

mod options;
mod remaining;

use std::sync::Arc;

use async_trait::async_trait;
use kms_core::layer::Coalesce;
use kms_core::object::{ObjectStore, ScanOptions, StoreIdentity};
use kms_core::{CallOptions, Clock, KeyProvider, OsRandom};
use kms_envelope::kubernetes::{ConfiguredNames, EncryptionConfiguration, ProviderKind};
use kms_envelope::reencrypt::{
    CensusOptions, ConfiguredReencryptors, Evidence, EvidenceBuilder, Migration, MigrationEnd,
    MigrationOptions, MigrationReport, MigrationScope, ObjectCheckpoints, Protection,
    ReencryptorOptions, Reencryptors, ScannedSource, SourceRole, TargetSelector, UnscannedKind,
    take_census,
};
use kms_envelope::rotation::{Scope, Target};

pub use options::ClusterObjectsOptions;

use self::remaining::Wanted;
use super::{CensusOrder, MigrationOrder, Objects, PassProgress, PassSummary, Verified};
use crate::Failure;
use crate::cluster::{CensusRequest, census};
use crate::retire::scanned;

/// Objects that are named if they could not be migrated.
const MAX_REASONS: usize = 5;

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
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the configuration names a resource of which it is not known where it is
    /// kept.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        config: EncryptionConfiguration,
        options: ClusterObjectsOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            scope: MigrationScope::configured(&options.etcd_prefix, &config)?,
            store,
            config,
            options,
            clock,
        })
    }

    /// Who opens and seals. Calls no provider.
    fn reencryptors(&self, target: &Target) -> Result<ConfiguredReencryptors, Failure> {
        let selector = match target {
            Target::Plain => TargetSelector::Plain,
            // A resource that is given to another provider stays with that one.
            _ => TargetSelector::Current,
        };
        let options = ReencryptorOptions::new(Arc::clone(&self.clock), Arc::new(OsRandom))
            .with_target(selector);
        let providers = self.options.providers.iter();
        let options = providers.fold(options, |options, (name, provider)| {
            // Many objects of one DEK source are opened at once: one call will do.
            let shared: Arc<dyn KeyProvider> = Arc::new(Coalesce::new(Arc::clone(provider)));
            options.with_kms(name, shared)
        });
        Ok(ConfiguredReencryptors::new(
            &self.config,
            &self.scope,
            &options,
        )?)
    }

    /// Gets ready to seal, and sees whether what would be sealed is what the rotation expects.
    async fn expect(
        &self,
        reencryptors: &dyn Reencryptors,
        target: &Target,
    ) -> Result<(), Failure> {
        for pair in reencryptors.all() {
            pair.refresh().await?;
        }
        let sealed = reencryptors.all().iter().filter_map(|it| it.target());
        self.is_expected(target, sealed)
    }

    /// Whether what is sealed is what the rotation expects: every resource that is given to this
    /// KMS is under the key, and there is one.
    fn is_expected(
        &self,
        target: &Target,
        sealed: impl IntoIterator<Item = Protection>,
    ) -> Result<(), Failure> {
        let Target::Key { id, .. } = target else {
            return Ok(());
        };
        let mut is_used = false;
        for sealed in sealed {
            let is_ours = sealed.provider() == ProviderKind::KmsV2
                && sealed.name() == Some(self.options.kms.as_str());
            if !is_ours {
                continue;
            }
            is_used = true;
            if sealed.key_id() != Some(id) {
                return Err(another_key(target, &sealed));
            }
        }
        if is_used {
            return Ok(());
        }
        Err(Failure::new(
            "not_written_with",
            format!(
                "no resource of the configuration is written with the KMS `{}`",
                self.options.kms
            ),
            "give the configuration that API servers use, with this KMS in the first place of a resource",
        ))
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
        self.is_expected(&order.target, report.targets.iter().cloned())?;
        summary(&report)
    }

    async fn verify(&self, order: &CensusOrder) -> Result<Verified, Failure> {
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
        let wanted = Wanted {
            config: &self.config,
            etcd_prefix: self.scope.etcd_prefix(),
            kms: &self.options.kms,
            target: &order.target,
        };
        let remaining = wanted.remaining(&report);
        Ok(Verified::new(builder.finish()?, remaining))
    }
}

fn another_key(target: &Target, found: &Protection) -> Failure {
    let expected = target.key().map_or("none", kms_core::KeyId::as_str);
    let found = found.key_id().map_or("none", kms_core::KeyId::as_str);
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
