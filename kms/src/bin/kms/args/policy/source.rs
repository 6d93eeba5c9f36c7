//! Where a policy that is looked at comes from.

use std::path::PathBuf;

use clap::Args;

use super::PolicyInputs;

/// A policy that exists, or what one is made from.
#[derive(Args, Debug)]
pub(crate) struct PolicySource {
    /// A policy: its text, or the value of its annotation. The profile is told from its data.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["yaml_file", "settings"])]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) inputs: PolicyInputs,
    /// The rules, in Rego, instead of our own.
    #[arg(
        short = 'p',
        long = "rego-rules-path",
        visible_alias = "rules",
        value_name = "FILE",
        conflicts_with = "policy"
    )]
    pub(crate) rules: Option<PathBuf>,
}
