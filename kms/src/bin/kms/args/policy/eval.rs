//! `kms policy eval` and `kms policy replay`

use std::path::PathBuf;

use clap::Args;

use super::PolicySource;

#[derive(Args, Debug)]
pub(crate) struct PolicyEval {
    #[command(flatten)]
    pub(crate) source: PolicySource,
    /// Requests: a list of test cases with `description`, `allowed`, `kind` and `request`, or the
    /// agent's log. `-` is standard input.
    #[arg(value_name = "REQUESTS")]
    pub(crate) requests: PathBuf,
    /// The kind of requests that do not say it, such as CreateContainerRequest.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PolicyReplay {
    #[command(flatten)]
    pub(crate) source: PolicySource,
    /// The agent's log, /tmp/policy.jsonl in the guest. `-` is standard input.
    #[arg(value_name = "LOG")]
    pub(crate) log: PathBuf,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
