//! `kms replicas`

use std::sync::Arc;

use kms::cluster::replicas::{MetricsAccess, ReplicaReport, ReplicaSource, Replicas};
use kms::{Failure, read_secret, read_text};
use kms_core::{Clock, KeyId};
use kms_envelope::kubernetes::convergence::Role;
use serde_json::json;

use super::print_line;
use crate::args::replicas::{ReplicaArgs, ReplicasCheck};

/// The most that is read of a token, in bytes.
const MAX_TOKEN_FILE: usize = 64 * 1024;

pub(crate) async fn run(args: ReplicasCheck, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let target = KeyId::new(&args.key_id)
        .map_err(|error| Failure::usage(format!("--key-id: {error}"), "give a whole key id"))?;
    let role = match args.as_readers {
        true => Role::Reader,
        false => Role::Writer,
    };
    let replicas = replicas(&args.replicas)?.with_role(role);
    if replicas.is_empty() {
        return Err(Failure::usage(
            "there is nobody to ask",
            "give --metrics for each API server, or --replica for each plugin",
        ));
    }
    let report = replicas.check(&args.kms, &target, &clock).await;
    if args.json {
        print_line(&json!(report))?;
    } else {
        print_line(&report.to_string().trim_end())?;
    }
    verdict(&report)
}

/// What the arguments say can be asked.
pub(crate) fn replicas(args: &ReplicaArgs) -> Result<Replicas, Failure> {
    let plugin =
        |text: &String| ReplicaSource::plugin(text).map_err(|failure| failure.at("--replica"));
    let metrics =
        |text: &String| ReplicaSource::metrics(text).map_err(|failure| failure.at("--metrics"));
    let sources = args
        .replica
        .iter()
        .map(plugin)
        .chain(args.metrics.iter().map(metrics))
        .collect::<Result<_, _>>()?;
    let access = match &args.metrics_ca {
        Some(path) => {
            let access = MetricsAccess::new(Some(read_text(path)?.as_bytes()))
                .map_err(|failure| failure.at("--metrics-ca"))?;
            Some(match &args.metrics_token_file {
                Some(file) => access
                    .with_token(read_secret(file, MAX_TOKEN_FILE)?)
                    .map_err(|failure| failure.at("--metrics-token-file"))?,
                None => access,
            })
        }
        None => None,
    };
    Ok(Replicas::new(sources)
        .with_expected(args.replicas)
        .with_access(access))
}

fn verdict(report: &ReplicaReport) -> Result<(), Failure> {
    if report.agrees() {
        return Ok(());
    }
    let another: Vec<_> = report
        .disagreeing()
        .map(|replica| replica.name.as_str())
        .collect();
    let does = match report.role {
        Role::Reader => "reads",
        _ => "writes",
    };
    let (message, remedy) = if another.is_empty() {
        (
            format!("whether every API server {does} with this key is not known"),
            "see above what could not be checked, and check it",
        )
    } else {
        (
            format!(
                "not every API server {does} with this key: {}",
                another.join(", ")
            ),
            "wait a minute and ask again; if it stays so, look at the plugin and the configuration there",
        )
    };
    Err(Failure::new("replicas", message, remedy))
}
