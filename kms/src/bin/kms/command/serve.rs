//! `kms serve`

use core::time::Duration;
use std::sync::Arc;

use kms::Failure;
use kms::provider::{ProviderUri, parse_address};
use kms_core::Clock;
use kms_plugin::server::{self, Plugin};
use kms_plugin::socket::{ListenOptions, Listener};

use super::signals::StopSignals;
use crate::args::{Serve, StatusVersion};

pub(crate) async fn run(args: Serve, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let address = parse_address(&args.listen).map_err(|failure| failure.at("--listen"))?;
    let uri: ProviderUri = args.provider.parse()?;
    let name = uri.to_string();
    let provider = uri.open(Arc::clone(&clock))?;
    let version = match args.status_version {
        StatusVersion::V2 => server::StatusVersion::V2,
        StatusVersion::V2Beta1 => server::StatusVersion::V2Beta1,
    };
    let plugin = Plugin::builder(provider)
        .clock(clock)
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
