//! `kms serve`

use core::time::Duration;
use std::sync::Arc;

use kms::Failure;
use kms::provider::{Environment, ProviderUri, parse_address};
use kms_core::Clock;
use kms_core::layer::Metered;
use kms_plugin::server::{self, Plugin};
use kms_plugin::socket::{ListenOptions, Listener};

use super::signals::StopSignals;
use crate::args::{Serve, StatusVersion};
use crate::watch::Watchpoint;

/// kube-apiserver's own limit, unless it is told another.
const CALL_LIMIT: Duration = Duration::from_secs(3);

pub(crate) async fn run(args: Serve, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let address = parse_address(&args.listen).map_err(|failure| failure.at("--listen"))?;
    let uri: ProviderUri = args.provider.parse()?;
    let name = uri.to_string();
    let prove = args.prove.map(Duration::from_secs);
    let prove = prove.unwrap_or_else(|| uri.prove_interval());
    let also = args.also.iter().map(|uri| uri.parse());
    let also = also
        .collect::<Result<Vec<ProviderUri>, _>>()
        .map_err(|failure: Failure| failure.at("--also"))?;
    // A call to a vault that outlasts the plugin's own limit helps nobody.
    let mut azure = args.azure.options();
    azure.budget = Some(CALL_LIMIT);
    let mut environment = Environment::with_azure(Arc::clone(&clock), azure);
    // Before the provider, so that what it does at the start is counted.
    let watchpoint = match args.metrics_listen {
        Some(address) => Some(Watchpoint::bind(address, args.metrics_remote).await?),
        None => None,
    };
    let mut provider = uri.open_with_older(also, &mut environment)?;
    if watchpoint.is_some() {
        provider = Arc::new(Metered::new(provider, Arc::clone(&clock), name.as_str()));
    }
    let version = match args.status_version {
        StatusVersion::V2 => server::StatusVersion::V2,
        StatusVersion::V2Beta1 => server::StatusVersion::V2Beta1,
    };
    let plugin = Plugin::builder(provider)
        .clock(clock)
        .call_limit(CALL_LIMIT)
        .poll_interval(Duration::from_secs(args.poll))
        .prove_interval(prove)
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
    let watched = plugin.clone();
    let watching = watchpoint.map(|watchpoint| {
        if let Some(address) = watchpoint.address() {
            eprintln!("kms: metrics at http://{address}/metrics");
        }
        tokio::spawn(watchpoint.serve(move || watched.health()))
    });
    let served = plugin.serve(listener, stop.received()).await;
    if let Some(watching) = watching {
        watching.abort();
    }
    Ok(served?)
}
