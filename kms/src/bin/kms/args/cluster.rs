//! Arguments of the commands over a whole cluster.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::azure::AzureArgs;

/// Where a cluster's objects are.
#[derive(Args, Debug)]
pub(crate) struct Source {
    /// A snapshot that `etcdctl snapshot save` made, or the database (`member/snap/db`) of a
    /// member that is stopped. It is only read.
    #[arg(long, value_name = "FILE", conflicts_with = "etcd")]
    pub(crate) snapshot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) etcd: EtcdAddress,
}

/// How to reach a live etcd.
#[derive(Args, Debug)]
pub(crate) struct EtcdAddress {
    /// A live etcd: a member of the cluster, such as `https://127.0.0.1:2379`; several if given
    /// several times.
    #[arg(id = "etcd", long = "etcd", value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// The certificate authority of etcd, in PEM.
    #[arg(long, value_name = "FILE", requires = "etcd")]
    pub(crate) etcd_ca: Option<PathBuf>,
    /// The client certificate for etcd, in PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "etcd_ca",
        requires = "etcd_key_file"
    )]
    pub(crate) etcd_cert: Option<PathBuf>,
    /// The private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    pub(crate) etcd_key_file: Option<PathBuf>,
    /// The name in etcd's certificate, if it is not that of the URL.
    #[arg(long, value_name = "NAME", requires = "etcd_ca")]
    pub(crate) etcd_server_name: Option<String>,
    /// The user to log in to etcd as.
    #[arg(long, value_name = "NAME", requires = "etcd_password_file")]
    pub(crate) etcd_user: Option<String>,
    /// The file whose first line is that user's password; only its owner may read it.
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    pub(crate) etcd_password_file: Option<PathBuf>,
}

/// For the commands that are nothing without objects.
fn source_is_required() -> ArgGroup {
    ArgGroup::new("objects")
        .required(true)
        .multiple(true)
        .args(["snapshot", "etcd"])
}

/// What opens the objects.
#[derive(Args, Debug)]
pub(crate) struct Keys {
    /// The `EncryptionConfiguration` that kube-apiserver uses.
    #[arg(long, value_name = "FILE")]
    pub(crate) encryption_config: Option<PathBuf>,
    /// Use this provider for the KMS of this name instead of the plugin in the configuration.
    #[arg(long, value_name = "NAME=PROVIDER")]
    pub(crate) kek: Vec<String>,
    /// The API server's `--etcd-prefix`: what the keys begin with.
    #[arg(long, value_name = "PREFIX", default_value = "/registry")]
    pub(crate) etcd_prefix: String,
    /// What the keys began with when their values were written, if they were restored under
    /// another `--etcd-prefix`: AES-GCM and KMS values are bound to the whole key.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) rebind_prefix: Option<String>,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
}

#[derive(Args, Debug)]
#[command(group = source_is_required())]
pub(crate) struct Census {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// Count history, too: what was superseded or deleted and not compacted.
    #[arg(long)]
    pub(crate) history: bool,
    /// Open every object and ask each KMS for Status and Encrypt: would this cluster come back
    /// after a restart? Exits with 1 if something stands in the way.
    #[arg(long, requires = "encryption_config")]
    pub(crate) verify: bool,
    /// Count by namespace, too.
    #[arg(long)]
    pub(crate) by_namespace: bool,
    /// Put a digest of its keys beside each row of `--json`, to compare two censuses by. Holds
    /// every key in memory.
    #[arg(long)]
    pub(crate) key_digests: bool,
    /// Answer as JSON; a refusal is JSON on standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a page that shows the same to this file. It needs no network.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Etcd {
    /// Print one object, decrypted.
    #[command(after_help = "\
Example:
  kms etcd get /registry/secrets/default/db --snapshot backup.db \\
      --encryption-config encryption.yaml --kek my-kms=local:/var/lib/kms/keyring.json")]
    Get(EtcdGet),
    /// Write objects as something `kubectl apply` takes, decrypted.
    #[command(after_help = "\
Example:
  kms etcd export --snapshot backup.db --prefix /registry/secrets/team-a/ \\
      --encryption-config encryption.yaml --kek my-kms=local:/var/lib/kms/keyring.json > team-a.yaml

What cannot be opened is reported on standard error, the rest goes on, and the exit code is 1.")]
    Export(EtcdExport),
}

#[derive(Args, Debug)]
#[command(group = source_is_required())]
pub(crate) struct EtcdGet {
    /// The etcd key, such as `/registry/secrets/default/db`.
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// Read at this revision instead of the newest.
    #[arg(long, value_name = "REVISION")]
    pub(crate) at_revision: Option<u64>,
    /// How to write it. `raw` is the bytes that kube-apiserver serialized.
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    pub(crate) format: Format,
    /// Keep what a server fills in, such as `uid` and `resourceVersion`.
    #[arg(long)]
    pub(crate) keep_metadata: bool,
}

#[derive(Args, Debug)]
#[command(group = source_is_required())]
pub(crate) struct EtcdExport {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// Only keys that begin with this, such as `/registry/secrets/`.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<OsString>,
    /// Read at this revision instead of the newest.
    #[arg(long, value_name = "REVISION")]
    pub(crate) at_revision: Option<u64>,
    /// How to write them. `json` and `raw` are one object a line; `raw` holds the etcd key and
    /// the plaintext in base64, and is the only one for kinds other than Secrets, ConfigMaps and
    /// custom resources.
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    pub(crate) format: Format,
    /// Keep what a server fills in, such as `uid` and `resourceVersion`.
    #[arg(long)]
    pub(crate) keep_metadata: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    Yaml,
    Json,
    Raw,
}
