//! `kms rotation watch`

use core::time::Duration;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kms::cluster::{ClusterSource, KekArgument, ROTATION_CHECKPOINT};
use kms::provider::{Environment, ProviderUri};
use kms::rotation::{
    ClusterObjects, ClusterObjectsOptions, Driver, DriverOptions, News, Outcome, Parts,
    ProviderKeys, ReplicaWriters, StatePlace, Until, event_line,
};
use kms::{Failure, read_text};
use kms_cluster::etcd::EtcdStore;
use kms_core::Clock;
use kms_core::object::{ObjectKey, ObjectStore};
use kms_envelope::kubernetes::EncryptionConfiguration;
use kms_envelope::reencrypt::Evidence;
use kms_envelope::rotation::Effect;

use crate::args::rotation::Watch;
use crate::command::cluster::etcd_options;
use crate::command::print_line;
use crate::command::replicas::replicas;
use crate::command::signals::StopSignals;

pub(super) async fn run(args: Watch, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let driver = driver(&args, &clock).await?;
    if args.dry_run {
        return dry_run(&driver, args.json).await;
    }
    let stop = StopSignals::catch()?;
    let mut teller = Teller {
        as_json: args.json,
        evidence: args.evidence.clone(),
        clock: Arc::clone(&clock),
        failure: None,
        undone: Undone::default(),
    };
    let outcome = driver
        .run(stop.received(), |news| teller.tell(news))
        .await?;
    if let Some(failure) = teller.failure {
        return Err(failure);
    }
    match outcome {
        Outcome::Doubt(doubt) => Err(Failure::new(
            "doubt",
            format!("the rotation stopped in doubt: {doubt}"),
            doubt.remedy(),
        )),
        outcome if args.once => waits(&outcome, teller.undone),
        _ => Ok(()),
    }
}

/// Whether one run of a timer has left only time to wait for.
fn waits(outcome: &Outcome, undone: Undone) -> Result<(), Failure> {
    let asked = outcome.waits_for().into_iter().map(|effect| {
        Said::of(&match effect {
            Effect::Alert(alert) => News::Alert(alert),
            effect => News::Asked(effect),
        })
    });
    let all: Vec<_> = asked.chain(undone.provider).chain(undone.task).collect();
    let Some(first) = all.first() else {
        return Ok(());
    };
    let sentences: Vec<_> = all.iter().map(|said| said.what.as_str()).collect();
    Err(Failure::waits(
        format!(
            "the rotation waits for an operator: {}",
            sentences.join("; ")
        ),
        &first.remedy,
    ))
}

/// What was told, and what to do about it.
struct Said {
    what: String,
    remedy: String,
}

impl Said {
    fn of(news: &News) -> Self {
        Self {
            what: news.to_string(),
            remedy: news.remedy().unwrap_or("see above").to_owned(),
        }
    }
}

/// What could not be done, and was not done since.
#[derive(Default)]
struct Undone {
    provider: Option<Said>,
    task: Option<Said>,
}

impl Undone {
    fn note(&mut self, news: &News) {
        match news {
            News::ProviderFails(_) => self.provider = Some(Said::of(news)),
            News::ProviderAnswers => self.provider = None,
            News::Failed { .. } => self.task = Some(Said::of(news)),
            News::Checked { .. } | News::Migrated(_) | News::Census { .. } => self.task = None,
            _ => {}
        }
    }
}

async fn driver(args: &Watch, clock: &Arc<dyn Clock>) -> Result<Driver, Failure> {
    if args.etcd.urls.is_empty() {
        return Err(Failure::usage(
            "it is not said where the objects are",
            "give --etcd URL",
        ));
    }
    let place: StatePlace = args.state.parse()?;
    let uri: ProviderUri = args.provider.parse()?;
    let name = uri.to_string().parse()?;
    let config = EncryptionConfiguration::parse(&read_text(&args.encryption_config)?)
        .map_err(|error| Failure::from(error).at(args.encryption_config.display()))?;
    let waivers = waivers(&args.words.waive)?;
    let waived = waivers.iter().find(|(name, _)| name == Evidence::REPLICAS);
    let waived = waived.map(|(_, reason)| reason.clone());

    let mut environment = Environment::with_azure(Arc::clone(clock), args.azure.options());
    let provider = uri.open(&mut environment)?;
    let mut options = ClusterObjectsOptions::new(&args.kms).with_plugins(
        &config,
        Arc::clone(&provider),
        parse_all::<KekArgument>(&args.kek)?,
        &mut environment,
    )?;
    options.etcd_prefix.clone_from(&args.etcd_prefix);
    options.rate = args.rate;
    options.checkpoint = Some(ObjectKey::new(ROTATION_CHECKPOINT)?);
    options.backups = args
        .backup
        .iter()
        .map(|path| ClusterSource::snapshot(path))
        .collect::<Result<_, _>>()?;
    options.not_scanned = parse_all(&args.words.not_scanned)?;
    options.kms_v1 = parse_all(&args.words.kms_v1)?;
    options.waivers = waivers;

    let replicas = replicas(&args.replicas)?;
    let writers = ReplicaWriters::new(&args.kms, replicas, waived, Arc::clone(clock))?;
    let delay = args.activation_delay.map(Duration::from_secs);
    let keys = ProviderKeys::new(name, provider).with_activation_delay(delay);
    let etcd: Arc<dyn ObjectStore> =
        Arc::new(EtcdStore::connect(etcd_options(&args.etcd, clock)?).await?);
    let objects = ClusterObjects::new(Arc::clone(&etcd), config, options, Arc::clone(clock))?;
    let parts = Parts::new(Arc::new(keys), Arc::new(writers), Arc::new(objects));
    let store = place.open(Some(etcd), Arc::clone(clock))?;
    Driver::new(store, parts, driver_options(args), Arc::clone(clock))
}

fn driver_options(args: &Watch) -> DriverOptions {
    let seconds = Duration::from_secs;
    let defaults = DriverOptions::default();
    let mut policy = defaults
        .policy
        .with_verify_again_after(seconds(args.verify_again))
        .with_skew(seconds(args.skew))
        .with_write_lease(seconds(args.write_lease));
    if let Some(delay) = args.activation_delay {
        policy = policy.with_activation_delay(seconds(delay));
    }
    let until = match (args.once, args.until_done) {
        (true, _) => Until::NothingToDo,
        (false, true) => Until::Settled,
        (false, false) => Until::Asked,
    };
    defaults
        .with_policy(policy)
        .with_poll(seconds(args.poll))
        .with_takeover(seconds(args.takeover))
        .with_name(own_name())
        .with_until(until)
}

/// A host and a process, for people.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "kms",
        host => host,
    };
    format!("{host}:{}", std::process::id())
}

fn waivers(texts: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let split = |text: &String| match text.split_once('=') {
        Some((name, reason)) if !name.is_empty() && !reason.trim().is_empty() => {
            Ok((name.to_owned(), reason.to_owned()))
        }
        _ => Err(Failure::usage(
            "--waive is not NAME=REASON",
            "give for example 'backups=all of them were destroyed'",
        )),
    };
    texts.iter().map(split).collect()
}

fn parse_all<T: core::str::FromStr<Err = Failure>>(texts: &[String]) -> Result<Vec<T>, Failure> {
    texts.iter().map(|text| text.parse()).collect()
}

async fn dry_run(driver: &Driver, as_json: bool) -> Result<(), Failure> {
    let plan = driver.plan().await?;
    if as_json {
        let json = serde_json::to_string(&plan)
            .map_err(|e| Failure::new("internal", "writing JSON", "report this").with_source(e))?;
        return print_line(&json);
    }
    print_line(&plan.to_string().trim_end())
}

/// Tells what happens.
struct Teller {
    as_json: bool,
    evidence: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    /// What kept it from telling; it goes on driving all the same.
    failure: Option<Failure>,
    undone: Undone,
}

impl Teller {
    fn tell(&mut self, news: &News) {
        self.undone.note(news);
        let line = event_line(news, self.clock.wall_time());
        if self.as_json {
            if let Err(failure) = print_line(&line) {
                self.failure.get_or_insert(failure);
            }
        } else {
            match news.remedy().filter(|_| news.is_urgent()) {
                Some(remedy) => eprintln!("kms: {news}. To do: {remedy}."),
                None => eprintln!("kms: {news}"),
            }
        }
        if let (News::Census { verified, .. }, Some(path)) = (news, &self.evidence)
            && let Err(failure) = write_evidence(path, &verified.evidence)
        {
            eprintln!("kms: {failure}. To do: {}.", failure.remedy());
            self.failure.get_or_insert(failure);
        }
    }
}

/// Puts the evidence there as a whole: whoever reads it finds the old one or the new one.
fn write_evidence(path: &Path, evidence: &Evidence) -> Result<(), Failure> {
    let failed = |error| Failure::io(format!("writing {}", path.display()), error);
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let json = evidence.to_json()?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(json.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
