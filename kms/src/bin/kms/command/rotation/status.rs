//! `kms rotation status`

use std::sync::Arc;

use kms::Failure;
use kms::cluster::{CensusOutcome, CensusRequest, ClusterSource, census};
use kms::provider::{Environment, ProviderUri};
use kms::rotation::{Registry, RegistrySources, ReplicaWriters, RotationRecord, StatePlace};
use kms_core::state::StateVersion;
use kms_core::{CallOptions, Clock};
use kms_envelope::reencrypt::CensusOptions;

use crate::args::rotation::Status;
use crate::command::census::{show, spinner};
use crate::command::cluster::open_source;
use crate::command::print_line;
use crate::command::replicas::replicas;

pub(super) async fn run(args: Status, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let has_objects = args.source.snapshot.is_some() || !args.source.etcd.urls.is_empty();
    if args.state.is_none() && args.provider.is_none() && !has_objects {
        return Err(Failure::usage(
            "there is nothing to look at",
            "give --state PLACE, or --provider PROVIDER with --etcd URL or --snapshot FILE",
        ));
    }
    if args.kms.is_none() && !replicas(&args.replicas)?.is_empty() {
        return Err(Failure::usage(
            "it is not said through which KMS API servers write",
            "give --kms NAME, as in the `EncryptionConfiguration`",
        ));
    }
    let source = match has_objects {
        true => Some(open_source(&args.source, &clock).await?),
        false => None,
    };
    let mut sources = RegistrySources::default();
    if let Some(place) = &args.state {
        sources.record = record(place, source.as_ref(), &clock).await?;
        if sources.record.is_none() {
            let note = format!("there is no state at {place} yet");
            sources.notes.push(note);
        }
    }
    if let Some(uri) = &args.provider {
        ask_provider(uri, &args, &clock, &mut sources).await?;
    }
    if let Some(source) = &source {
        sources.cluster = Some(count(source, &args, &clock).await?);
    }
    for path in &args.backup {
        let backup = ClusterSource::snapshot(path)?;
        sources.backups.push(count(&backup, &args, &clock).await?);
    }
    ask_replicas(&args, &clock, &mut sources).await?;
    let registry = Registry::new(sources, clock.wall_time());
    if args.json {
        let json = serde_json::to_string_pretty(&registry)
            .map_err(|e| Failure::new("internal", "writing JSON", "report this").with_source(e))?;
        return print_line(&json);
    }
    print_line(&registry.to_string().trim_end())
}

async fn record(
    place: &str,
    source: Option<&ClusterSource>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<(StateVersion, RotationRecord)>, Failure> {
    let place: StatePlace = place.parse()?;
    let store = place.open_beside(source, Arc::clone(clock))?;
    let Some(found) = store.load(&CallOptions::default()).await? else {
        return Ok(None);
    };
    let record = RotationRecord::from_bytes(&found.bytes).map_err(|failure| failure.at(&store))?;
    Ok(Some((found.version, record)))
}

/// What the provider says; that it does not answer is worth a note, and no reason to show nothing.
async fn ask_provider(
    uri: &str,
    args: &Status,
    clock: &Arc<dyn Clock>,
    sources: &mut RegistrySources,
) -> Result<(), Failure> {
    let uri: ProviderUri = uri.parse()?;
    let name = uri.to_string();
    let mut environment = Environment::with_azure(Arc::clone(clock), args.azure.options());
    let provider = uri.open(&mut environment)?;
    let call = CallOptions::default();
    match provider.current_key(&call).await {
        Ok(key) => sources.current = Some(key.id),
        Err(error) => {
            sources.current = error.key_id().cloned();
            let note = format!("{name} does not name the key that it wraps with: {error}");
            sources.notes.push(note);
        }
    }
    if !provider.capabilities().lists_keys {
        sources.notes.push(format!("{name} does not list its keys"));
        return Ok(());
    }
    match provider.list_keys(&call).await {
        Ok(keys) => sources.keys = Some(keys),
        Err(error) => sources
            .notes
            .push(format!("{name} did not list its keys: {error}")),
    }
    Ok(())
}

/// What API servers and plugins write with.
async fn ask_replicas(
    args: &Status,
    clock: &Arc<dyn Clock>,
    sources: &mut RegistrySources,
) -> Result<(), Failure> {
    let replicas = replicas(&args.replicas)?;
    let Some(kms) = args.kms.as_ref().filter(|_| !replicas.is_empty()) else {
        return Ok(());
    };
    let Some(current) = sources.current_key() else {
        let note = "which key API servers should write with is not known, so none was asked";
        sources.notes.push(note.to_owned());
        return Ok(());
    };
    let writers = ReplicaWriters::new(kms, replicas, None, Arc::clone(clock))?;
    sources.writers = Some(writers.states_beside(&current).await);
    Ok(())
}

async fn count(
    source: &ClusterSource,
    args: &Status,
    clock: &Arc<dyn Clock>,
) -> Result<CensusOutcome, Failure> {
    let options = CensusOptions::default().with_etcd_prefix(args.etcd_prefix.as_bytes());
    let request = CensusRequest::new(options).with_history(true);
    let bar = spinner();
    let shown = bar.clone();
    let progress = move |progress| show(&shown, progress);
    let outcome = census(source, request, Arc::clone(clock), progress).await;
    bar.finish_and_clear();
    outcome.map_err(|failure| failure.at(source))
}
