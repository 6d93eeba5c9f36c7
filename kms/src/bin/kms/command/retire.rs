//! `kms key plan-retire` and `kms key retire`

use core::time::Duration;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use kms::cluster::ClusterSource;
use kms::retire::{
    Places, PlanRequest, ReplicaArgument, RetireOutcome, RetirePlan, RetireRequest, Retirement,
    parse_key_id, plan, refusal_text, retire, retirement_text, text_plan,
};
use kms::rotation::{RecordedRetirement, StatePlace};
use kms::{Failure, read_text};
use kms_core::Clock;
use kms_core::state::StateStore;
use kms_envelope::kubernetes::{ConfiguredNames, EncryptionConfiguration};
use kms_envelope::reencrypt::CensusOptions;
use serde::Serialize;

use super::census::{show, spinner};
use super::cluster::etcd_options;
use super::{print, print_line};
use crate::args::cluster::EtcdAddress;
use crate::args::retire::{Names, PlanRetire, Retire};

pub(crate) async fn run_plan(args: PlanRetire, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let mut request = PlanRequest::new(parse_key_id(&args.key_id)?, Vec::new());
    request.census = census_options(&args.names)?;
    request.replicas = parse_all(&args.replica)?;
    request.not_scanned = parse_all(&args.words.not_scanned)?;
    request.kms_v1 = parse_all(&args.words.kms_v1)?;
    request.waivers.clone_from(&args.words.waive);
    request.places = places(&args);
    let open = |path: &Path| ClusterSource::snapshot(path);
    request.cluster = args
        .snapshot
        .iter()
        .map(|path| open(path))
        .collect::<Result<_, _>>()?;
    request.backups = args
        .backup
        .iter()
        .map(|path| open(path))
        .collect::<Result<_, _>>()?;
    if !args.etcd.urls.is_empty() {
        let options = etcd_options(&args.etcd, &clock)?;
        request.cluster.push(ClusterSource::etcd(options).await?);
    }
    let bar = spinner();
    let shown = bar.clone();
    let planned = plan(request, clock, move |progress| show(&shown, progress)).await;
    bar.finish_and_clear();
    let planned = planned?;
    if let Some(path) = &args.out {
        std::fs::write(path, planned.evidence.to_json()?)
            .map_err(|error| Failure::io(format!("writing {}", path.display()), error))?;
    }
    if args.json {
        print_line(&pretty(&planned)?)?;
    } else {
        print(text_plan(&planned).as_bytes())?;
    }
    verdict(&planned)
}

fn verdict(planned: &RetirePlan) -> Result<(), Failure> {
    if planned.objections.is_empty() {
        return Ok(());
    }
    Err(in_the_way(planned.objections.len()))
}

fn in_the_way(objections: usize) -> Failure {
    Failure::new(
        "in_the_way",
        format!("the key may not go: {objections} things are in the way"),
        "see above what they are and what to do",
    )
}

pub(crate) async fn run_retire(args: Retire, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let key_id = parse_key_id(&args.key_id)?;
    let evidence = RetireRequest::read_evidence(&args.evidence)?;
    let census = census_options(&args.names)?;
    let replicas = parse_all::<ReplicaArgument>(&args.replica)?;
    let store = ClusterSource::etcd(etcd_options(&args.etcd, &clock)?).await?;
    let state = match &args.state {
        Some(place) => {
            let place: StatePlace = place.parse()?;
            Some(place.open_beside(Some(&store), Arc::clone(&clock))?)
        }
        None => None,
    };
    let mut request = RetireRequest::new(key_id, evidence, store);
    request.census = census;
    request.replicas = replicas;
    request.max_age = Duration::from_secs(60).saturating_mul(args.max_age);
    request.provider.clone_from(&args.provider);
    let bar = spinner();
    let shown = bar.clone();
    let outcome = retire(request, Arc::clone(&clock), move |progress| {
        show(&shown, progress);
    })
    .await;
    bar.finish_and_clear();
    match outcome? {
        RetireOutcome::Permitted(retirement) => {
            if let Some(state) = &state {
                write_down(&args, &retirement, &**state, &*clock).await?;
            }
            conclude(&args, &retirement)
        }
        RetireOutcome::Refused(objections) => {
            if args.json {
                print_line(&pretty(&serde_json::json!({ "objections": objections }))?)?;
            } else {
                print(refusal_text(&objections).as_bytes())?;
            }
            Err(in_the_way(objections.len()))
        }
        outcome => {
            let fault = format!("an unknown outcome: {outcome:?}");
            Err(Failure::new("internal", fault, "report this as a defect"))
        }
    }
}

/// Records a retirement in the rotation, which has a say in it; without `--yes` it is only asked.
async fn write_down(
    args: &Retire,
    retirement: &Retirement,
    state: &dyn StateStore,
    clock: &dyn Clock,
) -> Result<(), Failure> {
    let key = parse_key_id(&args.key_id)?;
    let recorded = RecordedRetirement::new(state, &key, &retirement.evidence);
    match args.yes {
        true => recorded.record(clock).await,
        false => recorded.check(clock).await,
    }
}

/// Records a retirement, if that was asked for, and says how to delete the key.
fn conclude(args: &Retire, retirement: &Retirement) -> Result<(), Failure> {
    let statement = pretty(retirement)?;
    if let Some(path) = &args.out {
        let written = File::create_new(path).and_then(|mut file| {
            file.write_all(statement.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
        written.map_err(|error| Failure::io(format!("writing {}", path.display()), error))?;
    }
    if !args.yes {
        eprintln!("kms: nothing was recorded; give --yes to record it");
    }
    if args.json {
        return print_line(&statement);
    }
    print(retirement_text(retirement).as_bytes())
}

fn pretty(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map_err(|e| Failure::new("internal", "writing JSON", "report this").with_source(e))
}

fn parse_all<T: core::str::FromStr<Err = Failure>>(texts: &[String]) -> Result<Vec<T>, Failure> {
    texts.iter().map(|text| text.parse()).collect()
}

fn census_options(names: &Names) -> Result<CensusOptions, Failure> {
    let options = CensusOptions::default().with_etcd_prefix(names.etcd_prefix.as_bytes());
    let Some(path) = &names.encryption_config else {
        return Ok(options);
    };
    let config = EncryptionConfiguration::parse(&read_text(path)?)
        .map_err(|error| Failure::from(error).at(path.display()))?;
    let providers = config.resources.iter().flat_map(|entry| &entry.providers);
    Ok(options.with_names(ConfiguredNames::new(providers)))
}

/// The words that the plan's commands take over from this command.
fn places(args: &PlanRetire) -> Places {
    let mut places = Places::default();
    if !args.etcd.urls.is_empty() {
        (places.etcd, places.etcdctl) = etcd_words(&args.etcd);
    }
    let path = |path: &Path| path.display().to_string();
    let mut add = |flag: &str, value: String| places.others.extend([flag.to_owned(), value]);
    for it in &args.backup {
        add("--backup", path(it));
    }
    for (flag, values) in [
        ("--replica", &args.replica),
        ("--not-scanned", &args.words.not_scanned),
        ("--kms-v1", &args.words.kms_v1),
        ("--waive", &args.words.waive),
    ] {
        values.iter().for_each(|value| add(flag, value.clone()));
    }
    if let Some(config) = &args.names.encryption_config {
        places.configuration = vec!["--encryption-config".to_owned(), path(config)];
        places.others.extend(places.configuration.iter().cloned());
    }
    if args.names.etcd_prefix != "/registry" {
        let prefix = ["--etcd-prefix".to_owned(), args.names.etcd_prefix.clone()];
        places.configuration.extend(prefix.clone());
        places.others.extend(prefix);
    }
    places.evidence = args.out.as_deref().map(path);
    places
}

/// How `kms` and `etcdctl` are told of an etcd.
fn etcd_words(etcd: &EtcdAddress) -> (Vec<String>, Vec<String>) {
    let mut ours = Vec::new();
    let mut theirs = vec![format!("--endpoints={}", etcd.urls.join(","))];
    for url in &etcd.urls {
        ours.extend(["--etcd".to_owned(), url.clone()]);
    }
    let files = [
        ("--etcd-ca", "--cacert", &etcd.etcd_ca),
        ("--etcd-cert", "--cert", &etcd.etcd_cert),
        ("--etcd-key-file", "--key", &etcd.etcd_key_file),
    ];
    for (our, their, file) in files {
        if let Some(file) = file {
            ours.extend([our.to_owned(), file.display().to_string()]);
            theirs.push(format!("{their}={}", file.display()));
        }
    }
    if let Some(name) = &etcd.etcd_server_name {
        ours.extend(["--etcd-server-name".to_owned(), name.clone()]);
    }
    if let (Some(user), Some(file)) = (&etcd.etcd_user, &etcd.etcd_password_file) {
        let file = file.display().to_string();
        ours.extend(["--etcd-user".to_owned(), user.clone()]);
        ours.extend(["--etcd-password-file".to_owned(), file]);
        // It asks for the password.
        theirs.push(format!("--user={user}"));
    }
    (ours, theirs)
}
