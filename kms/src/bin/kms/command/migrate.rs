//! `kms migrate`

mod kube;
mod shown;

use core::time::Duration;
use std::sync::Arc;

use kms::cluster::{
    CheckpointPlace, KekArgument, MigrateOutcome, MigrateRequest, WorkerName, migrate,
    migration_text,
};
use kms::provider::Environment;
use kms::{Failure, read_text};
use kms_cluster::etcd::EtcdStore;
use kms_core::Clock;
use kms_envelope::kubernetes::{DekSourceType, EncryptionConfiguration};
use kms_envelope::reencrypt::{
    MigrationEnd, MigrationOptions, MigrationPhase, MigrationProgress, MigrationScope, OnKeyChange,
};

use serde::Serialize;

use self::shown::{Pace, Shown};
use super::cluster::etcd_options;
use super::replicas::replicas;
use super::signals::StopSignals;
use super::{print, print_line};
use crate::args::SourceType;
use crate::args::migrate::{KeyChange, Migrate};

pub(crate) async fn run(args: Migrate, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    if let Some(address) = args.way.kube.address() {
        return kube::run(&args, &address, clock).await;
    }
    let request = request(&args)?;
    let mut environment = Environment::with_azure(Arc::clone(&clock), args.azure.options());
    let store = EtcdStore::connect(etcd_options(&args.way.etcd, &clock)?).await?;
    let stop = StopSignals::catch()?;
    let is_quiet = args.json;
    let notice = |text: &str| {
        if !is_quiet {
            eprintln!("kms: {text}");
        }
    };
    let mut shown = Shown::new(is_quiet, Arc::clone(&clock));
    let outcome = migrate(
        &store,
        request,
        &mut environment,
        stop.received(),
        notice,
        |progress| show(&mut shown, progress),
    )
    .await;
    shown.finish();
    let outcome = outcome?;
    report(&outcome, args.json, migration_text)?;
    conclude(&outcome)
}

/// Writes what came of it, for a person or as JSON.
fn report<T: Serialize>(
    outcome: &T,
    as_json: bool,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    if !as_json {
        return print(text(outcome).as_bytes());
    }
    let json = serde_json::to_string_pretty(outcome)
        .map_err(|e| Failure::new("internal", "writing JSON", "report this").with_source(e))?;
    print_line(&json)
}

fn configuration(args: &Migrate) -> Result<Option<EncryptionConfiguration>, Failure> {
    let Some(path) = &args.encryption_config else {
        return Ok(None);
    };
    EncryptionConfiguration::parse(&read_text(path)?)
        .map(Some)
        .map_err(|error| Failure::from(error).at(path.display()))
}

fn request(args: &Migrate) -> Result<MigrateRequest, Failure> {
    let Some(config) = configuration(args)? else {
        return Err(Failure::usage(
            "over etcd, values are opened and sealed here",
            "give --encryption-config FILE",
        ));
    };
    let usage = |what: &'static str| {
        move |error: kms_envelope::Error| {
            Failure::usage(format!("{what}: {error}"), error.remedy().to_owned())
        }
    };
    let scope = match args.resource.as_slice() {
        [] => MigrationScope::configured(&args.etcd_prefix, &config),
        some => MigrationScope::new(&args.etcd_prefix).with_resources(some),
    };
    let scope = scope
        .map_err(usage("--resource"))?
        .with_namespaces(&args.namespace)
        .map_err(usage("--namespace"))?;
    let options = MigrationOptions::new(scope)
        .with_concurrency(usize::try_from(args.concurrency).unwrap_or(usize::MAX))
        .with_rate(args.rate)
        .with_dry_run(args.dry_run)
        .with_renew(args.renew)
        .with_resume(args.resume)
        .with_patience(Duration::from_secs(args.patience))
        .with_on_key_change(match args.on_key_change {
            KeyChange::Stop => OnKeyChange::Stop,
            KeyChange::Restart => OnKeyChange::Restart,
        });
    let keks = args
        .kek
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<KekArgument>, _>>()?;
    let checkpoint = match &args.checkpoint {
        _ if args.workers_shared => {
            CheckpointPlace::Shared(WorkerName::new(args.worker_id.clone()))
        }
        Some(path) => CheckpointPlace::File(path.clone()),
        None => CheckpointPlace::Store,
    };
    Ok(MigrateRequest::new(config, options)
        .with_keks(keks)
        .with_target(args.to.parse().map_err(usage("--to"))?)
        .with_kms_v2_source_type(match args.kms_v2_source_type {
            SourceType::AesGcmKey => DekSourceType::AesGcmKey,
            SourceType::HkdfSeed => DekSourceType::HkdfSha256XnonceAesGcmSeed,
        })
        .with_replicas(replicas(&args.replicas)?)
        .with_settle(!args.no_settling)
        .with_checkpoint(checkpoint))
}

fn show(shown: &mut Shown, progress: &MigrationProgress) {
    let what = match progress.phase {
        MigrationPhase::Verifying => "verifying: ",
        MigrationPhase::Waiting => "waiting for other workers: ",
        _ => "",
    };
    let pace = Pace {
        done: progress.done,
        total: progress.total,
        per_second: progress.per_second,
        eta: progress.eta,
    };
    let counts = &progress.counts;
    let text = format!(
        "{} rewritten, {} right already, {} conflicts, {} left",
        counts.rewritten, counts.right, counts.conflicts, counts.left
    );
    shown.show(&pace, what, &text);
}

fn conclude(outcome: &MigrateOutcome) -> Result<(), Failure> {
    let report = &outcome.report;
    match &report.end {
        MigrationEnd::Complete => Ok(()),
        MigrationEnd::Stopped(reason) => Err(Failure::new(
            reason.as_str(),
            format!("the migration stopped: {reason}"),
            reason.remedy().to_owned(),
        )),
        _ => Err(Failure::new(
            "incomplete",
            format!("{} objects stay as they are", report.remaining_count),
            "see the reasons above",
        )),
    }
}
