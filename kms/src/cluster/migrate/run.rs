//! A migration from beginning to end.

use core::fmt::Write as _;
use std::sync::Arc;

use kms_core::layer::Coalesce;
use kms_core::object::{LeaseStore, ObjectKey, Scan, ScanOptions};
use kms_core::{CallOptions, Clock, ErrorKind, KeyProvider, OsRandom, SecureRandom as _};
use kms_envelope::reencrypt::{
    ConfiguredReencryptors, Migration, MigrationOptions, MigrationProgress, MigrationReport,
    ObjectCheckpoints, ReencryptorOptions, Reencryptors, SharedMigration,
};
use ring::digest;
use serde::Serialize;

use super::preflight::{preflight, settle, stopped_early};
use super::{CheckpointFile, CheckpointPlace, MigrateRequest};
use crate::Failure;
use crate::cluster::own::{MIGRATIONS, is_own_key};
use crate::cluster::plugins::open_plugins;
use crate::cluster::replicas::ReplicaReport;
use crate::provider::Environment;

/// What a migration came to. Serializes to the JSON of `kms migrate --json`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct MigrateOutcome {
    /// The version of this form of JSON: 1.
    pub schema_version: u32,
    /// What was migrated.
    pub store: StoreFacts,
    /// What API servers said of the target beforehand.
    pub replicas: Vec<ReplicaReport>,
    /// What was not checked of them, in sentences.
    pub unchecked: Vec<String>,
    /// What was done.
    #[serde(flatten)]
    pub report: MigrationReport,
}

/// What was migrated.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct StoreFacts {
    /// `etcd`.
    pub kind: String,
    /// The end points.
    pub name: String,
    /// The cluster's own id.
    pub cluster_id: Option<String>,
}

/// Migrates: opens the plugins, asks the API servers, rewrites, verifies.
///
/// `notice` is told, before it begins, what was not checked and what is waited for.
///
/// # Errors
///
/// A [`Failure`]: the configuration lacks the target, an API server writes with another key, the
/// checkpoint is another migration's, or whatever else kept it from beginning. What stopped it
/// later is in the outcome.
pub async fn migrate(
    store: &dyn LeaseStore,
    request: MigrateRequest,
    environment: &mut Environment,
    stop: impl Future<Output = ()> + Send,
    mut notice: impl FnMut(&str),
    progress: impl FnMut(&MigrationProgress) + Send,
) -> Result<MigrateOutcome, Failure> {
    let clock = environment.clock();
    let MigrateRequest {
        config,
        keks,
        target,
        options,
        kms_v2_source_type,
        replicas,
        settle: settles,
        checkpoint,
    } = request;
    let identity = store.identity(&CallOptions::default()).await?;
    let mut made = ReencryptorOptions::new(Arc::clone(&clock), Arc::new(OsRandom))
        .with_target(target)
        .with_kms_v2_source_type(kms_v2_source_type);
    for (name, plugin) in open_plugins(&config, keks, environment)? {
        // Many objects of one DEK source are opened at once: one call will do.
        let shared: Arc<dyn KeyProvider> = Arc::new(Coalesce::new(plugin));
        made = made.with_kms(name, shared);
    }
    let reencryptors = ConfiguredReencryptors::new(&config, &options.scope, &made)?;
    check_prefix(store, options.scope.etcd_prefix()).await?;
    let found = preflight(&reencryptors, &replicas, &clock).await?;
    for what in &found.unchecked {
        notice(&format!("not checked: {what}"));
    }
    let mut stop = Box::pin(stop);
    if !options.dry_run {
        found.verdict()?;
        if settles && !settle(&found, &*clock, &mut notice, &mut stop).await {
            return Err(stopped_early());
        }
    }
    let report = run(
        store,
        &reencryptors,
        &*clock,
        &options,
        &checkpoint,
        stop,
        progress,
    )
    .await?;
    let seen = match &report.verification {
        Some(verification) => verification.objects,
        None => report.counts.objects,
    };
    if seen == 0 {
        notice(&format!("no object was found: {}", report.scope));
    }
    Ok(MigrateOutcome {
        schema_version: 1,
        store: StoreFacts {
            kind: identity.kind,
            name: identity.name,
            cluster_id: identity.cluster_id,
        },
        replicas: found.reports,
        unchecked: found.unchecked,
        report,
    })
}

/// Refuses a prefix under which there is nothing, if there is something elsewhere: it is not the
/// one that API servers write under, and a migration of nothing would seem to have succeeded.
async fn check_prefix(store: &dyn LeaseStore, etcd_prefix: &str) -> Result<(), Failure> {
    let root = match etcd_prefix {
        "/" => "/".to_owned(),
        prefix => format!("{prefix}/"),
    };
    let under = ScanOptions::default()
        .with_prefix(root.as_bytes())
        .with_page_limit(1);
    if !store.scan(&under).await?.objects.is_empty() {
        return Ok(());
    }
    let mut all = Scan::new(store, ScanOptions::default().with_page_limit(16));
    loop {
        // Whoever may not read elsewhere cannot be told more.
        let page = match all.next_page().await {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut keys = page.objects.iter().map(|object| &object.key);
        let is_other = |key: &&ObjectKey| !is_own_key(key.as_bytes(), etcd_prefix.as_bytes());
        if let Some(other) = keys.find(is_other) {
            return Err(Failure::new(
                "no_objects",
                format!("no key begins with `{root}`, and there are others, such as {other}"),
                "give the API server's own prefix with --etcd-prefix",
            ));
        }
    }
}

async fn run(
    store: &dyn LeaseStore,
    reencryptors: &dyn Reencryptors,
    clock: &dyn Clock,
    options: &MigrationOptions,
    checkpoint: &CheckpointPlace,
    stop: impl Future<Output = ()> + Send,
    progress: impl FnMut(&MigrationProgress) + Send,
) -> Result<MigrationReport, Failure> {
    let place = place_of(options, &reencryptors.selector());
    let migration = Migration::new(store, reencryptors, clock, options);
    Ok(match checkpoint {
        CheckpointPlace::Store => {
            let key = ObjectKey::new(format!("{place}/checkpoint"))?;
            let kept = ObjectCheckpoints::new(store, key);
            let migration = migration.with_checkpoints(&kept);
            migration.run(stop, progress).await?
        }
        CheckpointPlace::File(path) => {
            let kept = CheckpointFile::new(path);
            let migration = migration.with_checkpoints(&kept);
            migration.run(stop, progress).await?
        }
        CheckpointPlace::Shared(worker) => {
            let worker = worker.options(random_name, place)?;
            SharedMigration::new(store, reencryptors, clock, options, &worker)?
                .run(stop, progress)
                .await?
        }
    })
}

/// One place for each scope and target, so that two migrations of different namespaces do not meet.
fn place_of(options: &MigrationOptions, selector: &str) -> String {
    let scope = &options.scope;
    let parts = [
        vec![scope.etcd_prefix().to_owned(), selector.to_owned()],
        scope.resources().to_vec(),
        scope.namespaces().to_vec(),
    ];
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        for name in part {
            context.update(&(name.len() as u64).to_be_bytes());
            context.update(name.as_bytes());
        }
    }
    context.update(&[u8::from(options.renew)]);
    let digest = context.finish();
    let mut place = MIGRATIONS.to_owned();
    for byte in digest.as_ref().iter().take(8) {
        // Writing to a string cannot fail.
        let _ = write!(place, "{byte:02x}");
    }
    place
}

fn random_name() -> Result<String, Failure> {
    let mut bytes = [0; 8];
    OsRandom.fill(&mut bytes)?;
    Ok(format!("worker-{:016x}", u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use kms_envelope::reencrypt::MigrationScope;

    use super::*;

    #[test]
    fn each_scope_and_target_has_a_place_of_its_own() {
        let scope = |resources: &[&str], namespaces: &[&str]| {
            MigrationScope::new("/registry")
                .with_resources(resources)
                .and_then(|scope| scope.with_namespaces(namespaces))
                .unwrap()
        };
        let options = |scope| MigrationOptions::new(scope);
        let secrets = options(scope(&["secrets"], &[]));
        let places = [
            place_of(&secrets, "current"),
            place_of(&secrets, "plain"),
            place_of(&secrets.clone().with_renew(true), "current"),
            place_of(&options(scope(&["secrets"], &["a"])), "current"),
            place_of(&options(scope(&["secrets"], &["a", "b"])), "current"),
            place_of(&options(scope(&[], &["secrets"])), "current"),
        ];
        let different: std::collections::BTreeSet<_> = places.iter().collect();
        assert_eq!(different.len(), places.len());
        assert_eq!(places[0], place_of(&secrets, "current"));
        assert!(places[0].starts_with("/kms/migrate/"));
    }
}
