//! `kms policy data`

use clap::Args;

use super::PolicyInputs;

#[derive(Args, Debug)]
pub(crate) struct PolicyData {
    #[command(flatten)]
    pub(crate) inputs: PolicyInputs,
}
