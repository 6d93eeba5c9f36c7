//! `kms migrate --kube`

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use kms::Failure;
use kms::cluster::{
    CheckpointFile, KubeAddress, KubeMigration, KubeOutcome, KubeSelection, kube_text_report,
};
use kms_core::{Clock, KeyId};
use kms_envelope::reencrypt::{
    ApiMigrationEnd, ApiMigrationPhase, ApiMigrationProgress, CheckpointStore,
};

use super::shown::{Pace, Shown};
use super::{configuration, report};
use crate::args::migrate::Migrate;
use crate::command::replicas::replicas;
use crate::command::signals::StopSignals;

pub(super) async fn run(
    args: &Migrate,
    address: &KubeAddress,
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    let selection = KubeSelection::new(configuration(args)?)
        .with_resources(args.resource.clone())
        .with_namespaces(args.namespace.clone());
    let api = address.connect(Arc::clone(&clock))?;
    let migration = KubeMigration::prepare(api, &selection, Arc::clone(&clock)).await?;
    let checkpoints = checkpoints(args, &migration)?;
    let migration = ask_replicas(migration, args).await?;
    let migration = migration
        .with_settle(!args.no_settling)
        .with_options(|options| {
            options
                .with_concurrency(usize::try_from(args.concurrency).unwrap_or(usize::MAX))
                .with_rate(args.rate)
                .with_dry_run(args.dry_run)
                .with_resume(args.resume)
                .with_patience(Duration::from_secs(args.patience))
                .with_new_kms_v1_names(args.way.kube.new_kms_v1_name)
        });
    let notice = |text: &str| {
        if !args.json {
            eprintln!("kms: {text}");
        }
    };
    for right in migration.missing_rights() {
        notice(&format!("missing right: {right}"));
    }
    for what in migration.unchecked() {
        notice(&format!("not checked: {what}"));
    }
    let stop = StopSignals::catch()?.received();
    let mut shown = Shown::new(args.json, clock);
    let kept = checkpoints
        .as_ref()
        .map(|file| file as &dyn CheckpointStore);
    let outcome = migration
        .run(kept, stop, notice, |progress| show(&mut shown, progress))
        .await;
    shown.finish();
    let outcome = outcome?;
    report(&outcome, args.json, kube_text_report)?;
    conclude(&outcome)
}

async fn ask_replicas(migration: KubeMigration, args: &Migrate) -> Result<KubeMigration, Failure> {
    let replicas = replicas(&args.replicas)?;
    let Some(key_id) = &args.key_id else {
        if replicas.is_empty() && replicas.expected.is_none() {
            return Ok(migration);
        }
        return Err(Failure::usage(
            "API servers are asked about a key, and through the API nothing tells it",
            "give --key-id KEY_ID and --encryption-config FILE, or leave --replica, --metrics and --replicas away",
        ));
    };
    let key = KeyId::new(key_id)
        .map_err(|error| Failure::usage(format!("--key-id: {error}"), "give a whole key id"))?;
    migration.with_key(&key, &replicas).await
}

/// Where the place is kept. A machine may have no home, as in a pod.
fn checkpoints(
    args: &Migrate,
    migration: &KubeMigration,
) -> Result<Option<CheckpointFile>, Failure> {
    if let Some(path) = &args.checkpoint {
        return Ok(Some(CheckpointFile::of_api_migration(path)));
    }
    let Some(folder) = state_folder() else {
        if args.resume {
            return Err(Failure::usage(
                "it is not known where the checkpoint is",
                "give --checkpoint FILE",
            ));
        }
        return Ok(None);
    };
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failure::io(format!("making {}", folder.display()), error))?;
    let path = folder.join(migration.checkpoint_name());
    Ok(Some(CheckpointFile::of_api_migration(path)))
}

fn state_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("kms"))
}

fn show(shown: &mut Shown, progress: &ApiMigrationProgress) {
    let what = match progress.phase {
        ApiMigrationPhase::Confirming => "confirming: ",
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
        "{} written, {} fresh already, {} conflicts, {} left",
        counts.written, counts.fresh, counts.conflicts, counts.left
    );
    shown.show(&pace, what, &text);
}

fn conclude(outcome: &KubeOutcome) -> Result<(), Failure> {
    match &outcome.report.end {
        ApiMigrationEnd::Complete => Ok(()),
        ApiMigrationEnd::Stopped(reason) => Err(Failure::new(
            "stopped",
            format!("the migration stopped: {reason}"),
            format!("{}, then go on with --resume", reason.remedy()),
        )),
        _ => Err(Failure::new(
            "incomplete",
            "something stays as it is, could not be read, or is still written anew",
            "see the reasons above",
        )),
    }
}
