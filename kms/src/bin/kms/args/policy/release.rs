//! `kms policy release`

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PolicyRelease {
    #[command(subcommand)]
    pub(crate) command: Option<ReleaseCommand>,
    /// The hash of the pod's policy, from `kms policy hash`.
    #[arg(long, value_name = "HEX", required = true)]
    pub(crate) hash: Option<String>,
    /// An attestation service that may vouch for the pod, an https URL. May be given several times.
    #[arg(long, value_name = "URL", required = true)]
    pub(crate) authority: Vec<String>,
    /// Make a policy that can never be changed again.
    #[arg(long)]
    pub(crate) immutable: bool,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Say whether claims release the key, and which condition fails.
    #[command(after_help = "\
Example:
  kms policy release check policy.json claims.json")]
    Check(ReleaseCheck),
}

#[derive(Args, Debug)]
pub(crate) struct ReleaseCheck {
    /// The release policy, JSON.
    #[arg(value_name = "POLICY")]
    pub(crate) policy: PathBuf,
    /// The claims of an attestation token, JSON: the middle part of the token, decoded.
    #[arg(value_name = "CLAIMS")]
    pub(crate) claims: PathBuf,
    /// Read the policy as people write it, too: with commas at the end, older versions and forms.
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
