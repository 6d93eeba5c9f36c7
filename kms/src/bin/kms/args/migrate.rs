//! Arguments of `kms migrate`.

use core::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::{ArgGroup, Args, ValueEnum};

use super::azure::AzureArgs;
use super::cluster::EtcdAddress;
use super::kube::Kube;
use super::replicas::ReplicaArgs;

#[derive(Args, Debug)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) way: Way,
    /// The `EncryptionConfiguration` that kube-apiserver uses. With --kube it may be left away, as
    /// on AKS, where nobody sees it.
    #[arg(long, value_name = "FILE", required_unless_present = "kube")]
    pub(crate) encryption_config: Option<PathBuf>,
    /// Use this provider for the KMS of this name instead of the plugin in the configuration.
    #[arg(long, value_name = "NAME=PROVIDER")]
    pub(crate) kek: Vec<String>,
    /// What to bring objects to: `current`, what API servers write with (the first provider of each
    /// resource); `plain`, to switch encryption off; or another provider of the configuration:
    /// `kms:NAME`, `aescbc:KEY`, `aesgcm:KEY` or `secretbox:KEY`.
    #[arg(long, value_name = "TARGET", default_value = "current")]
    pub(crate) to: String,
    /// Only this namespace; several if given several times.
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) namespace: Vec<String>,
    /// Only this resource, such as `secrets` or `gadgets.example.org`; several if given several
    /// times. Otherwise all that the configuration names.
    #[arg(long, value_name = "RESOURCE")]
    pub(crate) resource: Vec<String>,
    /// Rewrite at most so many objects a second.
    #[arg(long, value_name = "N/s", value_parser = parse_rate)]
    pub(crate) rate: Option<NonZeroU32>,
    /// Objects in work at once.
    #[arg(long, value_name = "N", default_value_t = 32, default_value_if("kube", ArgPredicate::IsPresent, "8"), value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) concurrency: u32,
    /// Open and judge every object, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Rewrite every object that was last written before this migration began, whatever it is
    /// under. For KMS v1, whose values do not tell the key: after a rotation within the same
    /// provider name nothing else, no update through an API server either, brings them to the new
    /// key. Also after a DEK may have leaked.
    #[arg(long)]
    pub(crate) renew: bool,
    /// Go on where an interrupted migration stood.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Keep the checkpoint in this file. Otherwise it is kept in the cluster's etcd, below
    /// `/kms/migrate/`, until the migration is done; with --kube below `$XDG_STATE_HOME/kms`.
    #[arg(long, value_name = "FILE", conflicts_with = "workers_shared")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Share the work with others who run the same command, on this machine or on others, through
    /// claims in the cluster's etcd.
    #[arg(long, conflicts_with_all = ["resume", "dry_run"])]
    pub(crate) workers_shared: bool,
    /// The name of this worker; random if none is given.
    #[arg(long, value_name = "NAME", requires = "workers_shared")]
    pub(crate) worker_id: Option<String>,
    #[command(flatten)]
    pub(crate) replicas: ReplicaArgs,
    /// With --kube, the key id that --replica and --metrics are asked about: what API servers are to
    /// write with. With --etcd the plugin tells it.
    #[arg(
        long,
        value_name = "KEY_ID",
        requires = "kube",
        requires = "encryption_config"
    )]
    pub(crate) key_id: Option<String>,
    /// Begin at once, although of an API server only the plugin was asked: it has followed already.
    #[arg(long, requires = "replica")]
    pub(crate) no_settling: bool,
    /// What to do when the key changes while objects are rewritten.
    #[arg(long, value_enum, default_value_t = KeyChange::Stop)]
    pub(crate) on_key_change: KeyChange,
    /// How long to wait for a KMS or an etcd that does not answer before stopping, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) patience: u64,
    /// The KMS v2 source type that API servers write: `hkdf-seed` since Kubernetes 1.29.
    #[arg(long, value_enum, value_name = "TYPE", default_value = "hkdf-seed")]
    pub(crate) kms_v2_source_type: super::SourceType,
    /// The API server's `--etcd-prefix`: what the keys begin with.
    #[arg(long, value_name = "PREFIX", default_value = "/registry")]
    pub(crate) etcd_prefix: String,
    /// Answer as JSON; a refusal is JSON on standard error.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
}

/// The way to the objects.
#[derive(Args, Debug)]
#[command(group = way_is_required())]
pub(crate) struct Way {
    #[command(flatten)]
    pub(crate) etcd: EtcdAddress,
    #[command(flatten)]
    pub(crate) kube: Kube,
}

/// One of them, and not both.
fn way_is_required() -> ArgGroup {
    ArgGroup::new("way")
        .required(true)
        .multiple(false)
        .args(["etcd", "kube"])
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KeyChange {
    /// Stop and say so.
    Stop,
    /// Begin again, for the new key.
    Restart,
}

/// `N` or `N/s`.
fn parse_rate(text: &str) -> Result<NonZeroU32, &'static str> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number
        .parse()
        .map_err(|_| "not a rate such as 50/s, at least one object a second")
}
