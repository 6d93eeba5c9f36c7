//! From the new version to the retired key.

use core::time::Duration;
use std::io::Write;
use std::sync::Arc;

use kms_cluster::embedded::EmbeddedStore;
use kms_core::state::{FileStateOptions, FileStateStore, StateStore as _};
use kms_core::{CallOptions, KeyId, KeyProvider as _};
use kms_envelope::kubernetes::EncryptionConfiguration;
use kms_envelope::reencrypt::{
    Evidence, KnownKey, PermitOptions, RetireVerdict, permit_retirement,
};
use kms_envelope::rotation::{Alert, Policy, Stage};
use tokio::sync::Notify;

use super::{KMS_NAME, POLL, Scene, api_server, configuration, output};
use crate::Failure;
use crate::cluster::replicas::{ReplicaSource, Replicas};
use crate::figures::thousands;
use crate::quickstart::report::{Progress, seconds};
use crate::rotation::{
    ClusterObjects, ClusterObjectsOptions, Deletion, Driver, DriverOptions, News, Outcome, Parts,
    ProviderKeys, RecordedRetirement, Registry, RegistrySources, ReplicaWriters, RotationRecord,
};

/// What nobody has to scan here, and why.
const WAIVED: [(&str, &str); 2] = [
    (Evidence::BACKUPS, "quickstart makes none"),
    (Evidence::OTHER_CLUSTERS, "the keyring is of this run alone"),
];

impl Scene {
    /// Lets a driver do what `kms rotation watch` does. Its first look finds the rotation begun; the
    /// evidence of its last census says that nothing needs the old key.
    pub(super) async fn carry_through<W: Write + Send>(
        &self,
        old: &KeyId,
        progress: &mut Progress<W>,
    ) -> Result<Evidence, Failure> {
        progress
            .step("Let a driver carry it through, as `kms rotation watch` does")
            .map_err(output)?;
        let start = self.clock.now();
        let driver = self.driver()?;
        let bar = Progress::<W>::bar(self.count());
        let (freed, mut evidence, mut told) = (Notify::new(), None, Ok(()));
        let outcome = driver
            .run(freed.notified(), |news| {
                if let News::Census { verified, .. } = news {
                    evidence = Some(verified.evidence.clone());
                }
                if let News::Progress(done) = news {
                    bar.set_position(done.done);
                }
                if is_worth_a_line(news) && told.is_ok() {
                    told = progress.line(news);
                }
                if let News::Alert(Alert::StillNeeded { .. }) = news {
                    // As kube-apiserver has it done every five minutes.
                    compact(&self.store);
                    if told.is_ok() {
                        told = progress.line("etcd is compacted, and forgets what was before");
                    }
                }
                if matches!(news, News::Key { id, to: Stage::Retirable, .. } if id == old) {
                    freed.notify_one();
                }
            })
            .await;
        bar.finish_and_clear();
        let outcome = outcome?;
        told.map_err(output)?;
        let took = self.clock.now().since(start);
        let evidence = evidence.filter(|_| outcome == Outcome::Asked);
        progress
            .line(format_args!(
                "{old} may go, after {}",
                seconds(took.as_secs_f64())
            ))
            .map_err(output)?;
        evidence.ok_or_else(|| defect("the driver ended before the key was free"))
    }

    fn driver(&self) -> Result<Driver, Failure> {
        let config = EncryptionConfiguration::parse(&configuration(&self.socket))?;
        let keys = ProviderKeys::new("quickstart".parse()?, self.keyring.clone())
            .with_activation_delay(Duration::ZERO);
        let mut about = ClusterObjectsOptions::new(KMS_NAME);
        about.providers = vec![(KMS_NAME.to_owned(), self.keyring.clone())];
        about.waivers = WAIVED
            .map(|(name, why)| (name.to_owned(), why.to_owned()))
            .into();
        let (store, clock) = (self.store.clone(), Arc::clone(&self.clock));
        let objects = ClusterObjects::new(store, config, about, clock)?;
        let parts = Parts::new(Arc::new(keys), Arc::new(self.writers()?), Arc::new(objects));
        // One machine, one clock, and an API server that has changed over: nothing to wait for.
        let policy = Policy::default()
            .with_skew(Duration::ZERO)
            .with_activation_delay(Duration::ZERO)
            .with_write_lease(Duration::ZERO)
            .with_verify_again_after(POLL);
        let options = DriverOptions::default()
            .with_policy(policy)
            .with_poll(Duration::from_secs(1))
            .with_name("quickstart");
        let state = Arc::new(self.state_store());
        Driver::new(state, parts, options, Arc::clone(&self.clock))
    }

    fn state_store(&self) -> FileStateStore {
        FileStateStore::new(&self.state, FileStateOptions::new(Arc::clone(&self.clock)))
    }

    fn writers(&self) -> Result<ReplicaWriters, Failure> {
        let plugin = ReplicaSource::plugin(&format!("unix:{}", self.socket.display()))?;
        let replicas = Replicas::new(vec![plugin]).with_expected(Some(1));
        ReplicaWriters::new(KMS_NAME, replicas, None, Arc::clone(&self.clock))
    }

    /// Looks once more, writes down that the key was retired and why, and switches it off.
    pub(super) async fn retire<W: Write + Send>(
        &self,
        old: &KeyId,
        evidence: &Evidence,
        progress: &mut Progress<W>,
    ) -> Result<(), Failure> {
        progress
            .step("Retire the old key: look once more, write down why, switch it off")
            .map_err(output)?;
        let writers = self.writers()?.states_beside(&self.current_key_id()?).await;
        let options = writers
            .known
            .into_iter()
            .fold(PermitOptions::default(), PermitOptions::with_replica);
        let listed = self.keyring.list()?.into_iter().map(|version| {
            KnownKey::new("keyring", &version.info.id).with_current(version.current)
        });
        let options = listed.fold(options, PermitOptions::with_known_key);
        let clock = &*self.clock;
        let verdict =
            permit_retirement(evidence, old, &*self.store, &options, clock, |_| {}).await?;
        let RetireVerdict::Permitted(permit) = verdict else {
            return Err(defect("the last look found something in the way"));
        };
        let store = self.state_store();
        let recorded = RecordedRetirement::new(&store, old, permit.evidence());
        recorded.record(clock).await?;
        for version in self.keyring.list()? {
            if version.info.id == *old {
                self.keyring.disable(version.version)?;
            }
        }
        progress
            .line(format_args!(
                "nothing needs it at revision {}, evidence {}",
                permit.evidence().revision(),
                permit.evidence().digest()
            ))
            .map_err(output)
    }

    /// Whoever starts now remembers nothing, and has no use for the old key.
    pub(super) async fn see_that_all_opens<W: Write + Send>(
        &mut self,
        old: &KeyId,
        progress: &mut Progress<W>,
    ) -> Result<(), Failure> {
        progress
            .step("See that everything opens without it, after a restart of kube-apiserver")
            .map_err(output)?;
        self.transformer = api_server(&self.socket, &self.clock)?;
        self.transformer.refresh().await?;
        let tally = self.tally().await?;
        tally.print(progress).map_err(output)?;
        let (left, stale) = (tally.under(old.as_str()), self.verify().await?);
        if left != 0 || stale != 0 {
            let what = format!("{left} Secrets are still under {old} and {stale} are stale");
            return Err(defect(what));
        }
        progress
            .line(format_args!(
                "0 under {old}; all {} open",
                thousands(self.count())
            ))
            .map_err(output)
    }

    /// What `kms rotation status` shows.
    pub(super) async fn show_keys<W: Write + Send>(
        &self,
        progress: &mut Progress<W>,
    ) -> Result<(), Failure> {
        progress
            .step("Which keys there are, and which may be deleted: `kms rotation status`")
            .map_err(output)?;
        let call = CallOptions::default();
        let found = self.state_store().load(&call).await?;
        let found = found.ok_or_else(|| defect("the rotation is gone"))?;
        let record = RotationRecord::from_bytes(&found.bytes)?;
        let sources = RegistrySources {
            record: Some((found.version, record)),
            keys: Some(self.keyring.list_keys(&call).await?),
            ..RegistrySources::default()
        };
        let registry = Registry::new(sources, self.clock.wall_time());
        for key in &registry.keys {
            // Counted a moment ago; the registry by itself says what is stored.
            let may_go = match (key.deletion, key.safe_until) {
                (Deletion::Yes | Deletion::NotCounted, Some(until)) => {
                    let left = until.duration_since(self.clock.wall_time());
                    let minutes = left.unwrap_or_default().as_secs().div_ceil(60);
                    format!("may be deleted, for {minutes} minutes from now")
                }
                (Deletion::No, _) => "is needed".to_owned(),
                _ => "must be looked at again".to_owned(),
            };
            let phase = key
                .phase
                .map_or("?", kms_envelope::rotation::KeyPhase::as_str);
            progress
                .line(format_args!("{}  {phase}, {may_go}", key.key_id))
                .map_err(output)?;
        }
        Ok(())
    }
}

/// What a person who looks on wants to see.
fn is_worth_a_line(news: &News) -> bool {
    match news {
        News::Checked { .. } | News::Migrated(_) | News::Census { .. } => true,
        News::Key { to, .. } => matches!(to, Stage::Active | Stage::Retirable),
        News::Failed { .. } | News::ProviderFails(_) | News::StoreFails(_) => true,
        _ => false,
    }
}

fn compact(store: &EmbeddedStore) {
    // It was compacted already, if this is refused.
    let _ = store.compact(store.revision());
}

fn defect(what: impl Into<String>) -> Failure {
    Failure::new("internal", what.into(), "report this as a defect")
}
