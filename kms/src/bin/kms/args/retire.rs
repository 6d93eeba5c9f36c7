//! Arguments of the proof that a key may go.

use std::path::PathBuf;

use clap::Args;

use super::azure::AzureArgs;
use super::cluster::EtcdAddress;

#[derive(Args, Debug)]
pub(crate) struct PlanRetire {
    /// The key: its id as `kms census` shows it, the URL of its version in a vault, or its hash
    /// `sha256:…` as in the API server's metrics; with --provider also the number of its version.
    pub(crate) key_id: String,
    /// A snapshot that is taken for the cluster; several if given several times. What needs the
    /// key is counted, but a copy is never enough to let a key go.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "etcd",
        conflicts_with = "etcd"
    )]
    pub(crate) snapshot: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) etcd: EtcdAddress,
    /// A backup that somebody may want to restore; several if given several times. Naming some is
    /// taken for naming all.
    #[arg(long, value_name = "FILE")]
    pub(crate) backup: Vec<PathBuf>,
    /// What an API server writes with: `unix:PATH` of its plugin, or `metrics:FILE`, saved with
    /// `kubectl get --raw /metrics`; several if given several times. Naming some is taken for
    /// naming all.
    #[arg(long, value_name = "REPLICA")]
    pub(crate) replica: Vec<String>,
    #[command(flatten)]
    pub(crate) words: OperatorsWord,
    #[command(flatten)]
    pub(crate) names: Names,
    /// Who has the key, such as `local:PATH` or `https://VAULT/keys/NAME`: it is then known when
    /// nothing stored names it any more, and the one that its provider wraps with is never let go.
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Option<String>,
    /// The rotation that knows the key: `file:PATH`, `etcd` or `etcd:NAME`. With --etcd the one of
    /// `etcd` is looked at anyway.
    #[arg(long, value_name = "PLACE")]
    pub(crate) state: Option<String>,
    /// Take responsibility for a key that occurs nowhere and that nobody who was asked knows.
    #[arg(long)]
    pub(crate) never_seen: bool,
    /// Write the evidence to this file, for `kms key retire`. It may be evidence of before, which
    /// then tells that it saw the key, and nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Answer as JSON; a refusal is JSON on standard error.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
}

/// What nobody can look at, and the operator has to say.
#[derive(Args, Debug)]
pub(crate) struct OperatorsWord {
    /// Something that may hold values under the key and is not scanned here. `backup:NAME`,
    /// `cluster:NAME` and `replica:NAME` say what it is. It is in the way until it is waived.
    #[arg(long, value_name = "NAME")]
    pub(crate) not_scanned: Vec<String>,
    /// Take responsibility for something that was not scanned or cannot be known, by the name that
    /// the plan gives it. Live objects and history cannot be waived.
    #[arg(long, value_name = "NAME=REASON")]
    pub(crate) waive: Vec<String>,
    /// Say which key a KMS v1 provider uses and has always used: its values do not name it.
    #[arg(long, value_name = "PROVIDER=KEY_ID")]
    pub(crate) kms_v1: Vec<String>,
}

/// What names in stored values mean.
#[derive(Args, Debug)]
pub(crate) struct Names {
    /// The `EncryptionConfiguration` that kube-apiserver uses: it says where the name of a KMS v1
    /// provider ends that holds a colon.
    #[arg(long, value_name = "FILE")]
    pub(crate) encryption_config: Option<PathBuf>,
    /// The API server's `--etcd-prefix`: what the keys begin with.
    #[arg(long, value_name = "PREFIX", default_value = "/registry")]
    pub(crate) etcd_prefix: String,
}

#[derive(Args, Debug)]
pub(crate) struct Retire {
    /// The key, as it was given to `kms key plan-retire`.
    pub(crate) key_id: String,
    /// What `kms key plan-retire --out` wrote.
    #[arg(long, value_name = "FILE", requires = "etcd")]
    pub(crate) evidence: PathBuf,
    #[command(flatten)]
    pub(crate) etcd: EtcdAddress,
    /// What an API server writes with, as in `kms key plan-retire`. Plugins that were asked then
    /// are asked again anyway.
    #[arg(long, value_name = "REPLICA")]
    pub(crate) replica: Vec<String>,
    #[command(flatten)]
    pub(crate) names: Names,
    /// How old the evidence may be, in minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub(crate) max_age: u32,
    /// The provider of the key, such as `local:PATH`, for the commands that delete it. The key that
    /// it wraps with is refused.
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Option<String>,
    /// Record it in the rotation that is kept here, too, as `kms rotation watch --state` has it:
    /// `file:PATH`, `etcd` or `etcd:NAME`. The rotation must let the key go.
    #[arg(long, value_name = "PLACE")]
    pub(crate) state: Option<String>,
    /// Record the retirement, with --out, --state or both. Without it everything is looked at and
    /// nothing is recorded.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Write the statement to this file, which must not exist.
    #[arg(long, value_name = "FILE", requires = "yes")]
    pub(crate) out: Option<PathBuf>,
    /// Answer as JSON; a refusal is JSON on standard error.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
}
