//! `kms serve`

use core::time::Duration;
use std::sync::Arc;

use kms::Failure;
use kms::provider::{Environment, ProviderUri, parse_address};
use kms_core::Clock;
use kms_plugin::server::{self, Plugin};
use kms_plugin::socket::{ListenOptions, Listener};

use super::signals::StopSignals;
use crate::args::{Serve, StatusVersion};

/// kube-apiserver's own limit, unless it is told another.
const CALL_LIMIT: Duration = Duration::from_secs(3);

pub(crate) async fn run(args: Serve, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let address = parse_address(&args.listen).map_err(|failure| failure.at("--listen"))?;
    let uri: ProviderUri = args.provider.parse()?;
    let name = uri.to_string();
    let also = args.also.iter().map(|uri| uri.parse());
    let also = also
        .collect::<Result<Vec<ProviderUri>, _>>()
        .map_err(|failure: Failure| failure.at("--also"))?;
    // A call to a vault that outlasts the plugin's own limit helps nobody.
    let mut azure = args.azure.options();
    azure.budget = Some(CALL_LIMIT);
    let mut environment = Environment::with_azure(Arc::clone(&clock), azure);
    let provider = uri.open_with_older(also, &mut environment)?;
    let version = match args.status_version {
        StatusVersion::V2 => server::StatusVersion::V2,
        StatusVersion::V2Beta1 => server::StatusVersion::V2Beta1,
    };
    let plugin = Plugin::builder(provider)
        .clock(clock)
        .call_limit(CALL_LIMIT)
        .poll_interval(Duration::from_secs(args.poll))
        .serve_v1beta1(args.kms_v1)
        .status_version(version)
        .runtime_name("kms")
        .build()?;
    let mut options = ListenOptions::default().with_mode(args.socket_mode);
    if let Some(uid) = args.socket_uid {
        options = options.with_owner_uid(uid);
    }
    if let Some(gid) = args.socket_gid {
        options = options.with_owner_gid(gid);
    }
    let listener = Listener::bind(&address, &options).await?;
    let stop = StopSignals::catch()?;
    eprintln!("kms: serving {name} on {address}; stop with SIGTERM or Ctrl-C");
    Ok(plugin.serve(listener, stop.received()).await?)
}
