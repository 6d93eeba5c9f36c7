//! `kms policy explain`, `diff` and `lint`

use std::path::PathBuf;

use clap::Args;

use super::PolicySource;

#[derive(Args, Debug)]
pub(crate) struct PolicyExplain {
    #[command(flatten)]
    pub(crate) source: PolicySource,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PolicyLint {
    #[command(flatten)]
    pub(crate) source: PolicySource,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PolicyDiff {
    /// The policy before: its text, or the value of its annotation.
    #[arg(value_name = "A")]
    pub(crate) before: PathBuf,
    /// The policy after.
    #[arg(value_name = "B")]
    pub(crate) after: PathBuf,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
