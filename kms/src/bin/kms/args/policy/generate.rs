//! `kms policy generate`

use clap::Args;

use super::{PolicyInputs, PolicyRules};

#[derive(Args, Debug)]
pub(crate) struct PolicyGenerate {
    #[command(flatten)]
    pub(crate) inputs: PolicyInputs,
    #[command(flatten)]
    pub(crate) rules: PolicyRules,
    /// Print the annotation's value, too: base64 in one line. Refused if several workloads get a
    /// policy.
    #[arg(short = 'b', long = "print-policy", visible_alias = "base64-out")]
    pub(crate) print_policy: bool,
    /// Print the policy's text, too, and no line feed behind it. Refused if several workloads get a
    /// policy.
    #[arg(
        short = 'r',
        long = "raw-out",
        visible_alias = "outraw",
        conflicts_with = "print_policy"
    )]
    pub(crate) raw_out: bool,
}
