//! `kms config`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::cluster::Source;

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say what an `EncryptionConfiguration` means: what writes each resource, what reads it, and
    /// what may not have been meant. The file is checked as kube-apiserver checks it.
    #[command(after_help = "Example:\n  kms config check /etc/kubernetes/encryption.yaml")]
    Check(ConfigCheck),
    /// Plan the way from one `EncryptionConfiguration` to another, on which every API server can read
    /// every object at every moment: the files, their order, what to check, and the way back.
    #[command(after_help = "\
Example:
  kms census --etcd https://127.0.0.1:2379 --etcd-ca ca.crt --json > census.json
  kms config plan --from encryption.yaml --to wanted.yaml --census census.json --replicas 3 \\
      --out-dir plan
  kms config plan --from none --to wanted.yaml --snapshot backup.db

What would make an object unreadable is refused, and says why. Files hold the secrets of local
keys: they are written for their owner alone, and none is overwritten. Exit code 1 if refused.")]
    Plan(Box<ConfigPlan>),
}

#[derive(Args, Debug)]
pub(crate) struct ConfigCheck {
    /// The `EncryptionConfiguration`; `-` is standard input.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ConfigPlan {
    /// The `EncryptionConfiguration` that all API servers have now; `none` if they have none.
    #[arg(long, value_name = "FILE|none")]
    pub(crate) from: PathBuf,
    /// The one that they are to have.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// What is stored: what `kms census --json` printed, taken with the present
    /// --encryption-config. Without this, --snapshot or --etcd nothing is known of it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["snapshot", "etcd"])]
    pub(crate) census: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: Source,
    /// The API server's `--etcd-prefix`, for --snapshot and --etcd.
    #[arg(long, value_name = "PREFIX", default_value = "/registry")]
    pub(crate) etcd_prefix: String,
    /// How many API servers there are.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) replicas: Option<u32>,
    /// All API servers will be stopped for each new file. That allows what cannot be done one by
    /// one, at the price of a time without an API. One server is always at once.
    #[arg(long)]
    pub(crate) all_at_once: bool,
    /// The plugin of this KMS moves to another socket and has the same keys there. May be given
    /// several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) same_keys: Vec<String>,
    /// Ask every KMS of both files for Status and Encrypt, as an API server does that starts. For a
    /// machine on which the plugins run.
    #[arg(long)]
    pub(crate) probe: bool,
    /// Write the file of each step into this directory, which is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) out_dir: Option<PathBuf>,
    /// Print the file of each step, too, with the secrets of local keys.
    #[arg(long, conflicts_with = "json")]
    pub(crate) show_files: bool,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
