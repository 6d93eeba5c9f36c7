//! The binary: arguments in, text out.

mod args;
mod command;
mod report;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use kms::Failure;
use kms_core::{Clock, TokioClock};
use tracing_subscriber::EnvFilter;

use crate::args::config::Config;
use crate::args::doctor::Doctor;
use crate::args::rotation::Rotation;
use crate::args::{Cli, Command, Key};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let as_json = wants_json(&cli.command);
    let goes_on = matches!(cli.command, Command::Serve(_));
    log_to_stderr(cli.verbose, as_json, goes_on);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return report::failure(&Failure::io("starting the runtime", error), as_json),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report::failure(&failure, as_json),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    match command {
        Command::Quickstart(args) => command::quickstart::run(args).await,
        Command::Serve(args) => command::serve::run(args, clock).await,
        Command::Key(Key::PlanRetire(args)) => command::retire::run_plan(args, clock).await,
        Command::Key(Key::Retire(args)) => command::retire::run_retire(args, clock).await,
        Command::Key(args) => command::key::run(args, clock).await,
        Command::Inspect(args) => command::inspect::run(&args),
        Command::Decrypt(args) => command::decrypt::run(args, clock).await,
        Command::Census(args) => command::census::run(args, clock).await,
        Command::Migrate(args) => command::migrate::run(*args, clock).await,
        Command::Etcd(args) => command::etcd::run(args, clock).await,
        Command::Config(command) => command::config::run(command, clock).await,
        Command::Replicas(args) => command::replicas::run(args, clock).await,
        Command::Policy(command) => command::policy::run(command),
        Command::Rotation(command) => command::rotation::run(command, clock).await,
        #[cfg(feature = "testing")]
        Command::Testkit(args) => command::testkit::run(args, clock).await,
        Command::Doctor(command) => command::doctor::run(command, clock).await,
    }
}

fn wants_json(command: &Command) -> bool {
    match command {
        Command::Quickstart(_) | Command::Serve(_) => false,
        Command::Key(key) => key.wants_json(),
        Command::Inspect(args) => args.json,
        Command::Decrypt(args) => args.json,
        Command::Census(args) => args.json,
        Command::Migrate(args) => args.json,
        Command::Etcd(_) => false,
        Command::Config(Config::Check(args)) => args.json,
        Command::Config(Config::Plan(args)) => args.json,
        Command::Replicas(args) => args.json,
        Command::Policy(command) => command.wants_json(),
        Command::Rotation(Rotation::Status(args)) => args.json,
        Command::Rotation(Rotation::Watch(args)) => args.json,
        #[cfg(feature = "testing")]
        Command::Testkit(_) => false,
        Command::Doctor(Doctor::Azure(args)) => args.json,
    }
}

fn log_to_stderr(verbose: u8, as_json: bool, goes_on: bool) {
    let default = match verbose {
        // A refusal is one JSON object on standard error, and nothing beside it.
        0 if as_json => "off",
        0 if goes_on => "warn,kms_plugin::lifecycle=info,kms_azure::provider=info",
        // What a vault refuses is the command's own answer.
        0 => "warn,kms_azure=off",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
