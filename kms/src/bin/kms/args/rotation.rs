//! Arguments of `kms rotation`.

use core::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::azure::AzureArgs;
use super::cluster::{EtcdAddress, Source};
use super::replicas::ReplicaArgs;
use super::retire::OperatorsWord;

#[derive(Debug, Subcommand)]
pub(crate) enum Rotation {
    /// Show which keys there are, who needs them, and which may be deleted.
    #[command(after_help = "\
Example:
  kms rotation status --state etcd --etcd https://127.0.0.1:2379 --etcd-ca ca.crt \\
      --etcd-cert client.crt --etcd-key-file client.key --provider local:/var/lib/kms/keyring.json
  kms rotation status --snapshot backup.db --provider local:/var/lib/kms/keyring.json

Without --state it shows the keys of the provider beside what was counted, and claims no more.")]
    Status(Box<Status>),
    /// Carry a rotation through, unattended: see a new version, wait until every API server writes
    /// with it, re-encrypt, count, and say when the old key may go. Never makes, disables or deletes a key.
    #[command(after_help = "\
Example:
  kms rotation watch --state etcd --etcd https://127.0.0.1:2379 --etcd-ca ca.crt \\
      --etcd-cert client.crt --etcd-key-file client.key \\
      --provider https://myvault.vault.azure.net/keys/etcd --azure-identity managed:CLIENT_ID \\
      --kms my-kms --encryption-config /etc/kubernetes/encryption.yaml \\
      --metrics https://10.0.0.1:6443 --metrics https://10.0.0.2:6443 --replicas 2 \\
      --metrics-ca ca.crt --metrics-token-file token --backup /backups/newest.db \\
      --waive 'other-clusters=the key serves this cluster alone'

Several may run; one drives, the others wait for its signs of life to end.
Exit codes: 0 it was asked to stop, or has done what --once or --until-done say; 1 it stopped in
doubt, or failed; 3 with --once, all was done that could be, and not only time has to pass: an
operator has to look, or something could not be done.")]
    Watch(Box<Watch>),
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Where the state is kept: `file:PATH`, or `etcd` or `etcd:NAME` in the cluster's etcd.
    #[arg(long, value_name = "PLACE")]
    pub(crate) state: Option<String>,
    #[command(flatten)]
    pub(crate) source: Source,
    /// Who holds the keys, such as `local:PATH` or `https://VAULT/keys/NAME`.
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Option<String>,
    /// The name of the KMS v2 in the `EncryptionConfiguration`, to ask its replicas.
    #[arg(long, value_name = "NAME")]
    pub(crate) kms: Option<String>,
    #[command(flatten)]
    pub(crate) replicas: ReplicaArgs,
    /// A backup that somebody may want to restore; several if given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) backup: Vec<PathBuf>,
    /// The API server's `--etcd-prefix`: what the keys begin with.
    #[arg(long, value_name = "PREFIX", default_value = "/registry")]
    pub(crate) etcd_prefix: String,
    /// Answer as one JSON object; a refusal is JSON on standard error.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// Where the state is kept: `file:PATH`, or `etcd` or `etcd:NAME` in the cluster's etcd.
    #[arg(long, value_name = "PLACE", default_value = "etcd")]
    pub(crate) state: String,
    #[command(flatten)]
    pub(crate) etcd: EtcdAddress,
    /// Who holds the keys: `local:PATH`, `https://VAULT/keys/NAME` or `unix:PATH`.
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: String,
    /// The name of the KMS v2 in the `EncryptionConfiguration` whose key is rotated.
    #[arg(long, value_name = "NAME")]
    pub(crate) kms: String,
    /// The `EncryptionConfiguration` that kube-apiserver uses.
    #[arg(long, value_name = "FILE")]
    pub(crate) encryption_config: PathBuf,
    /// Use this provider for another KMS of this name instead of the plugin in the configuration.
    #[arg(long, value_name = "NAME=PROVIDER")]
    pub(crate) kek: Vec<String>,
    #[command(flatten)]
    pub(crate) replicas: ReplicaArgs,
    /// A backup that somebody may want to restore; several if given several times. Scanned with
    /// every census.
    #[arg(long, value_name = "FILE")]
    pub(crate) backup: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) words: OperatorsWord,
    /// Rewrite at most so many objects a second.
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<NonZeroU32>,
    /// How often to look for a new version, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) poll: u64,
    /// How long after it was made a version becomes active, in seconds: the plugins' activation
    /// delay. Without it a version is active when the provider says so.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) activation_delay: Option<u64>,
    /// How long an API server may go on with the key it has, once its plugin says another one, in
    /// seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) write_lease: u64,
    /// How far clocks may be apart, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) skew: u64,
    /// After how long without a sign of life of another driver this one takes over, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(3..=3600))]
    pub(crate) takeover: u64,
    /// Write the evidence of each census to this file, for `kms key retire`.
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: Option<PathBuf>,
    /// After how long to count again, while something still needs an old key, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) verify_again: u64,
    /// Do what can be done now and end, instead of waiting: for cron, every minute or so. The exit
    /// code is 3 if more than time has to pass.
    #[arg(long)]
    pub(crate) once: bool,
    /// End when every API server writes with the newest version and every object is under it.
    #[arg(long, conflicts_with = "once")]
    pub(crate) until_done: bool,
    /// Say what would be begun now, and change nothing.
    #[arg(long, conflicts_with_all = ["once", "until_done"])]
    pub(crate) dry_run: bool,
    /// The API server's `--etcd-prefix`: what the keys begin with.
    #[arg(long, value_name = "PREFIX", default_value = "/registry")]
    pub(crate) etcd_prefix: String,
    /// Tell of each event as one JSON object a line on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
}
