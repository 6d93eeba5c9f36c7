//! `kms policy hash`

use clap::Args;

use super::{PolicyInputs, PolicyRules};

#[derive(Args, Debug)]
pub(crate) struct PolicyHash {
    #[command(flatten)]
    pub(crate) inputs: PolicyInputs,
    #[command(flatten)]
    pub(crate) rules: PolicyRules,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
