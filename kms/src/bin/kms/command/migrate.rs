//! `kms migrate`

use core::time::Duration;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use kms::cluster::{
    CheckpointPlace, KekArgument, MigrateOutcome, MigrateRequest, WorkerName, migrate,
    migration_text,
};
use kms::provider::Environment;
use kms::{Failure, read_text};
use kms_cluster::etcd::EtcdStore;
use kms_core::{Clock, Tick};
use kms_envelope::kubernetes::{DekSourceType, EncryptionConfiguration};
use kms_envelope::reencrypt::{
    MigrationEnd, MigrationOptions, MigrationPhase, MigrationProgress, MigrationScope, OnKeyChange,
};

use super::cluster::etcd_options;
use super::replicas::replicas;
use super::signals::StopSignals;
use super::{print, print_line};
use crate::args::SourceType;
use crate::args::migrate::{KeyChange, Migrate};

/// The way to the objects.
enum Way {
    /// The stored bytes, in the cluster's own etcd.
    Etcd(EtcdStore),
}

impl Way {
    async fn open(args: &Migrate, clock: &Arc<dyn Clock>) -> Result<Self, Failure> {
        let options = etcd_options(&args.way.etcd, clock)?;
        Ok(Self::Etcd(EtcdStore::connect(options).await?))
    }
}

pub(crate) async fn run(args: Migrate, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let request = request(&args)?;
    let mut environment = Environment::with_azure(Arc::clone(&clock), args.azure.options());
    let Way::Etcd(store) = Way::open(&args, &clock).await?;
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
        |progress| shown.show(progress),
    )
    .await;
    shown.finish();
    let outcome = outcome?;
    if args.json {
        let json = serde_json::to_string_pretty(&outcome)
            .map_err(|e| Failure::new("internal", "writing JSON", "report this").with_source(e))?;
        print_line(&json)?;
    } else {
        print(migration_text(&outcome).as_bytes())?;
    }
    conclude(&outcome)
}

fn request(args: &Migrate) -> Result<MigrateRequest, Failure> {
    let text = read_text(&args.encryption_config)?;
    let config = EncryptionConfiguration::parse(&text)
        .map_err(|error| Failure::from(error).at(args.encryption_config.display()))?;
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

/// How far it has come: a bar on a terminal, else a line every now and then.
struct Shown {
    bar: ProgressBar,
    clock: Arc<dyn Clock>,
    writes_lines: bool,
    last_line: Tick,
}

const LINE_EVERY: Duration = Duration::from_secs(10);

impl Shown {
    fn new(is_quiet: bool, clock: Arc<dyn Clock>) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let bar = match is_terminal && !is_quiet {
            true => ProgressBar::no_length(),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            last_line: clock.now(),
            clock,
            writes_lines: !is_terminal && !is_quiet,
        }
    }

    fn show(&mut self, progress: &MigrationProgress) {
        let text = line(progress);
        if let Some(total) = progress.total {
            self.bar.set_length(total);
        }
        self.bar.set_position(progress.done);
        self.bar.set_message(text.clone());
        let now = self.clock.now();
        if self.writes_lines && now.since(self.last_line) >= LINE_EVERY {
            self.last_line = now;
            eprintln!("kms: {text}");
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn line(progress: &MigrationProgress) -> String {
    let what = match progress.phase {
        MigrationPhase::Verifying => "verifying: ",
        MigrationPhase::Waiting => "waiting for other workers: ",
        _ => "",
    };
    let counts = &progress.counts;
    let mut text = format!("{what}{}", progress.done);
    if let Some(total) = progress.total {
        text.push_str(&format!(" of {total}"));
    }
    text.push_str(&format!(
        " objects; {} rewritten, {} right already, {} conflicts, {} left",
        counts.rewritten, counts.right, counts.conflicts, counts.left
    ));
    if let Some(rate) = progress.per_second {
        text.push_str(&format!("; {rate:.0}/s"));
    }
    if let Some(eta) = progress.eta {
        let seconds = eta.as_secs();
        text.push_str(&match seconds {
            0..120 => format!(", {seconds} s to go"),
            _ => format!(", {} min to go", seconds.div_ceil(60)),
        });
    }
    text
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
