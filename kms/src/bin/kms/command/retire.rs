//! `kms key plan-retire` and `kms key retire`

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use kms::cluster::ClusterSource;
use kms::provider::{Environment, ProviderUri};
use kms::retire::{
    Places, PlanRequest, PlannedObjection, ProviderListing, ReplicaArgument, RetireOutcome,
    RetirePlan, RetireRequest, Retirement, key_of_evidence, keys_of_rotation, plan, refusal_text,
    resolve_key_id, retire, retirement_text, text_plan,
};
use kms::rotation::{RecordedRetirement, StatePlace};
use kms::{Failure, read_text};
use kms_core::Clock;
use kms_envelope::kubernetes::{ConfiguredNames, EncryptionConfiguration};
use kms_envelope::reencrypt::{CensusOptions, KnownKey};
use serde::Serialize;

use super::census::{show, spinner};
use super::cluster::etcd_options;
use super::output::{Kind, NewFile};
use super::{print, print_line};
use crate::args::azure::AzureArgs;
use crate::args::cluster::EtcdAddress;
use crate::args::retire::{Names, PlanRetire, Retire};

pub(crate) async fn run_plan(args: PlanRetire, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let provider = ask_provider(args.provider.as_deref(), &args.azure, &clock).await?;
    let key_id = resolve_key_id(&args.key_id, provider.as_ref())?;
    let mut request = PlanRequest::new(key_id, Vec::new());
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
    request.never_seen = args.never_seen;
    request.known_keys = provider.iter().flat_map(ProviderListing::known).collect();
    if let Some(path) = &args.out {
        Kind::Evidence.check(path)?;
        // What is cut off or edited tells nothing any more, and is written over all the same.
        let before = RetireRequest::read_evidence(path).ok();
        let seen = before.and_then(|before| key_of_evidence(&before, &request.key_id));
        request.known_keys.extend(seen);
    }
    let state = args.state.as_deref();
    let known = rotation_keys(state, request.cluster.last(), &clock).await?;
    request.known_keys.extend(known);
    let bar = spinner();
    let shown = bar.clone();
    let planned = plan(request, clock, move |progress| show(&shown, progress)).await;
    bar.finish_and_clear();
    let planned = planned?;
    if let Some(path) = &args.out {
        Kind::Evidence.write(path, planned.evidence.to_json()?.as_bytes())?;
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
    Err(in_the_way(&planned.objections))
}

/// A key that is not the one that was meant is told here, too: nothing else counts then.
fn in_the_way(objections: &[PlannedObjection]) -> Failure {
    let is_another =
        |it: &&PlannedObjection| matches!(it.objection.code(), "never_seen" | "current_key");
    let another = objections.iter().find(is_another);
    let another = another.map_or_else(String::new, |it| format!("; {}", it.message));
    Failure::new(
        "in_the_way",
        format!(
            "the key may not go: {} things are in the way{another}",
            objections.len()
        ),
        "see above what they are and what to do",
    )
}

/// What a provider has, if one is given.
async fn ask_provider(
    uri: Option<&str>,
    azure: &AzureArgs,
    clock: &Arc<dyn Clock>,
) -> Result<Option<ProviderListing>, Failure> {
    let Some(uri) = uri else {
        return Ok(None);
    };
    let uri: ProviderUri = uri.parse()?;
    let mut environment = Environment::with_azure(Arc::clone(clock), azure.options());
    ProviderListing::ask(uri, &mut environment).await.map(Some)
}

/// The keys that the rotation knows: at the place that is given, or else where `kms rotation watch`
/// keeps it, if that can be read.
async fn rotation_keys(
    place: Option<&str>,
    source: Option<&ClusterSource>,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<KnownKey>, Failure> {
    let usual = "etcd".parse::<StatePlace>()?;
    let Some(place) = place else {
        let Some(ClusterSource::Etcd(_)) = source else {
            return Ok(Vec::new());
        };
        let store = usual.open_beside(source, Arc::clone(clock))?;
        // Not every user of etcd may read it; then it knows nothing, which is in nobody's favour.
        let found = keys_of_rotation(&*store).await.unwrap_or_default();
        return Ok(found.unwrap_or_default());
    };
    let store = place
        .parse::<StatePlace>()?
        .open_beside(source, Arc::clone(clock))?;
    keys_of_rotation(&*store).await?.ok_or_else(|| {
        Failure::new(
            "no_state",
            format!("there is no rotation at {store}"),
            "look whether --state is right, or leave it away",
        )
    })
}

pub(crate) async fn run_retire(args: Retire, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    if args.yes && args.out.is_none() && args.state.is_none() {
        return Err(Failure::usage(
            "--yes records the retirement, and it is not said where",
            "give --out FILE for a statement, --state PLACE for the rotation, or both",
        ));
    }
    let provider = ask_provider(args.provider.as_deref(), &args.azure, &clock).await?;
    let key_id = resolve_key_id(&args.key_id, provider.as_ref())?;
    let evidence = RetireRequest::read_evidence(&args.evidence)?;
    // Taken before anything is recorded elsewhere.
    let statement = args.out.as_deref().map(NewFile::create).transpose()?;
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
    let known = rotation_keys(args.state.as_deref(), Some(&store), &clock).await?;
    let mut request = RetireRequest::new(key_id.clone(), evidence, store);
    request.known_keys = provider
        .iter()
        .flat_map(ProviderListing::known)
        .chain(known)
        .collect();
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
            let text = pretty(&*retirement)?;
            let statement = statement.map(|mut file| file.write(&text).map(|()| file));
            let statement = statement.transpose()?;
            if let Some(state) = &state {
                let recorded = RecordedRetirement::new(&**state, &key_id, &retirement.evidence);
                match args.yes {
                    true => recorded.record(&*clock).await?,
                    false => recorded.check(&*clock).await?,
                }
            }
            if let Some(file) = statement {
                file.keep();
            }
            conclude(&args, &retirement, &text)
        }
        RetireOutcome::Refused(objections) => {
            if args.json {
                print_line(&pretty(&serde_json::json!({ "objections": objections }))?)?;
            } else {
                print(refusal_text(&objections).as_bytes())?;
            }
            Err(in_the_way(&objections))
        }
        outcome => {
            let fault = format!("an unknown outcome: {outcome:?}");
            Err(Failure::new("internal", fault, "report this as a defect"))
        }
    }
}

/// Says where a retirement was recorded, if it was, and how to delete the key.
fn conclude(args: &Retire, retirement: &Retirement, statement: &str) -> Result<(), Failure> {
    if args.yes {
        let out = args.out.iter().map(|path| path.display().to_string());
        let state = args
            .state
            .iter()
            .map(|place| format!("the rotation at {place}"));
        let places: Vec<_> = out.chain(state).collect();
        eprintln!("kms: recorded in {}", places.join(" and in "));
    } else {
        eprintln!(
            "kms: nothing was recorded; give --yes with --out FILE or --state PLACE to record it"
        );
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
    if args.never_seen {
        places.others.push("--never-seen".to_owned());
    }
    for (flag, value) in [("--provider", &args.provider), ("--state", &args.state)] {
        if let Some(value) = value {
            places.keys.extend([flag.to_owned(), value.clone()]);
        }
    }
    places.others.extend(places.keys.iter().cloned());
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
