//! Arguments that say how API servers are asked which key they write with, and `kms replicas`.

use std::path::PathBuf;

use clap::Args;

/// API servers and their plugins, as far as they can be asked.
#[derive(Args, Debug)]
pub(crate) struct ReplicaArgs {
    /// The socket of an API server's KMS v2 plugin, to ask which key it gives. May be given several
    /// times. With NAME= in front, what is of one replica counts once.
    #[arg(long, value_name = "[NAME=]unix:PATH")]
    pub(crate) replica: Vec<String>,
    /// The metrics of an API server, to see which key it writes with: `https://HOST:PORT`, a file
    /// that holds what `/metrics` answered a moment ago, or `http://` on this machine (`kubectl
    /// proxy`). May be given several times.
    #[arg(long, value_name = "[NAME=]URL|FILE")]
    pub(crate) metrics: Vec<String>,
    /// The certificate authority of the API servers, in PEM, such as `/etc/kubernetes/pki/ca.crt`.
    #[arg(long, value_name = "FILE", requires = "metrics")]
    pub(crate) metrics_ca: Option<PathBuf>,
    /// The file that holds the token of an account whose role may get the non-resource URL
    /// `/metrics`.
    #[arg(long, value_name = "FILE", requires = "metrics_ca")]
    pub(crate) metrics_token_file: Option<PathBuf>,
    /// How many API servers there are, so that one that was not asked is missed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) replicas: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct ReplicasCheck {
    /// The KMS's name in the `EncryptionConfiguration`.
    #[arg(long, value_name = "NAME")]
    pub(crate) kms: String,
    /// The key id that they should write with, as `kms key list` shows it.
    #[arg(long, value_name = "KEY_ID")]
    pub(crate) key_id: String,
    #[command(flatten)]
    pub(crate) replicas: ReplicaArgs,
    /// Ask only whether each of them has the KMS in its configuration, and was named the key: whether
    /// it can read what the others will write. Nothing needs to have been written.
    #[arg(long)]
    pub(crate) as_readers: bool,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
