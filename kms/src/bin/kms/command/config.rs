//! `kms config`

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use kms::cluster::plan::{
    CensusFacts, PlanContext, plan_text, probe_kms, read_census, survey_text, take_stock,
    write_files,
};
use kms::{Failure, read_text};
use kms_core::Clock;
use kms_envelope::kubernetes::plan::{
    Action, Plan, PlanRequest, Rollout, StoredObjects, plan as make_plan, survey,
};
use kms_envelope::kubernetes::{EncryptionConfiguration, ProviderConfiguration};
use serde_json::{Value, json};

use super::cluster::open_source;
use super::{print, print_line};
use crate::args::config::{Config, ConfigCheck, ConfigPlan};

pub(crate) async fn run(command: Config, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    match command {
        Config::Check(args) => check(&args),
        Config::Plan(args) => plan(&args, clock).await,
    }
}

fn check(args: &ConfigCheck) -> Result<(), Failure> {
    let configuration = parse(&read_text(&args.file)?, &args.file)?;
    let survey = survey(&configuration);
    let open_to = is_open_to_others(&args.file, &configuration);
    if args.json {
        let mut json = json!(survey);
        if let Some(json) = json.as_object_mut() {
            json.insert("schema_version".to_owned(), json!(1));
            json.insert("is_open_to_others".to_owned(), json!(open_to));
        }
        return print_line(&json);
    }
    let mut text = survey_text(&survey);
    if open_to {
        text.push_str("\nThe file holds keys, and others than its owner may read it: chmod 600\n");
    }
    print(text.as_bytes())
}

/// Whether the file holds secrets and its mode lets others than its owner read them.
fn is_open_to_others(path: &Path, configuration: &EncryptionConfiguration) -> bool {
    let providers = configuration.resources.iter().flat_map(|it| &it.providers);
    let mut local = providers.filter(|provider| {
        !matches!(
            provider,
            ProviderConfiguration::Identity | ProviderConfiguration::Kms(_)
        )
    });
    local.next().is_some()
        && path
            .metadata()
            .is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

async fn plan(args: &ConfigPlan, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let from_name = (args.from != Path::new("none")).then(|| args.from.display().to_string());
    let from = match &from_name {
        Some(_) => Some(parse(&read_text(&args.from)?, &args.from)?),
        None => None,
    };
    let target = read_text(&args.to)?;
    let to = parse(&target, &args.to)?;
    let both: Vec<_> = from.iter().chain([&to]).collect();
    let stock = stock(args, &both, &clock).await?;
    let rollout = if args.all_at_once || args.replicas == Some(1) {
        Rollout::AllAtOnce
    } else {
        Rollout::Rolling
    };
    let mut request = PlanRequest::new(from.as_ref(), &to)
        .with_stored(stock.as_ref().map(|(stored, _)| stored))
        .with_rollout(rollout);
    for name in &args.same_keys {
        if !both.iter().all(|it| has_kms(it, name)) {
            return Err(Failure::usage(
                format!("--same-keys names the KMS `{name}`, which is not in both files"),
                "give the name of a KMS that stays and moves to another socket",
            ));
        }
        request = request.with_same_keys(name);
    }
    if args.probe {
        request.kms = probe_kms(&both, &clock).await;
    }
    let plan = make_plan(&request);
    let files = match &args.out_dir {
        Some(directory) if !plan.is_refused() => write_files(&plan, directory, &target)?,
        _ => Vec::new(),
    };
    let context = PlanContext::new(from_name, args.to.display().to_string())
        .with_census(stock.map(|(_, facts)| facts))
        .with_replicas(args.replicas)
        .with_rollout(rollout)
        .with_files(files);
    if args.json {
        print_line(&as_json(&plan, &context))?;
    } else {
        print(plan_text(&plan, &context).as_bytes())?;
    }
    if args.show_files {
        show_files(&plan, &target)?;
    }
    verdict(&plan)
}

fn has_kms(configuration: &EncryptionConfiguration, name: &str) -> bool {
    let mut providers = configuration.resources.iter().flat_map(|it| &it.providers);
    providers.any(|it| matches!(it, ProviderConfiguration::Kms(kms) if kms.name == name))
}

fn parse(text: &str, path: &Path) -> Result<EncryptionConfiguration, Failure> {
    EncryptionConfiguration::parse(text).map_err(|error| Failure::from(error).at(path.display()))
}

/// What is stored, from where the arguments say; `None` if they do not.
async fn stock(
    args: &ConfigPlan,
    configurations: &[&EncryptionConfiguration],
    clock: &Arc<dyn Clock>,
) -> Result<Option<(StoredObjects, CensusFacts)>, Failure> {
    if let Some(path) = &args.census {
        return read_census(path).map(Some);
    }
    if args.source.snapshot.is_none() && args.source.etcd.urls.is_empty() {
        return Ok(None);
    }
    let source = open_source(&args.source, clock).await?;
    let clock = Arc::clone(clock);
    take_stock(&source, configurations, &args.etcd_prefix, clock, |_| {})
        .await
        .map(Some)
}

fn as_json(plan: &Plan, context: &PlanContext) -> Value {
    let mut json = json!(plan);
    let files = context.files.iter().map(|file| (file.step, &file.path));
    for (number, path) in files {
        let step = number
            .checked_sub(1)
            .and_then(|index| json.get_mut("steps")?.get_mut(index)?.as_object_mut());
        if let Some(step) = step {
            step.insert("file".to_owned(), json!(path));
        }
    }
    if let Some(json) = json.as_object_mut() {
        json.insert("schema_version".to_owned(), json!(1));
        json.insert("refused".to_owned(), json!(plan.is_refused()));
        json.insert("from".to_owned(), json!(context.from));
        json.insert("to".to_owned(), json!(context.to));
        json.insert("census".to_owned(), json!(context.census));
        json.insert("replicas".to_owned(), json!(context.replicas));
    }
    json
}

fn show_files(plan: &Plan, target: &str) -> Result<(), Failure> {
    for (number, step) in (1..).zip(&plan.steps) {
        let Action::Configure(file) = &step.action else {
            continue;
        };
        print_line(&format_args!("\n# {number}-{}.yaml", step.purpose))?;
        print(match file.is_target {
            true => target.as_bytes(),
            false => file.text.expose(),
        })?;
    }
    Ok(())
}

fn verdict(plan: &Plan) -> Result<(), Failure> {
    if !plan.is_refused() {
        return Ok(());
    }
    let kinds: Vec<_> = plan.objections.iter().map(|it| it.kind()).collect();
    Err(Failure::new(
        "refused",
        format!("the change cannot be planned: {}", kinds.join(", ")),
        "do what is said beside each reason, and plan again",
    ))
}
