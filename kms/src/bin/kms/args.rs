//! The command line: what can be said, and the help text.

pub(crate) mod azure;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod kube;
pub(crate) mod migrate;
pub(crate) mod policy;
pub(crate) mod replicas;
pub(crate) mod retire;
pub(crate) mod rotation;
#[cfg(feature = "testing")]
pub(crate) mod testkit;

use core::net::SocketAddr;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use azure::AzureArgs;

/// Encrypt a Kubernetes cluster's etcd under a key you control, rotate that key without a restart,
/// and see which key encrypts what.
#[derive(Debug, Parser)]
#[command(name = "kms", version, max_term_width = 100)]
#[command(
    after_help = "Example:\n  kms quickstart\n\nExit codes: 0 done, 1 refused or failed, 2 wrong usage; 3 with rotation watch --once: somebody has to look."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Say more on standard error; twice for everything. `RUST_LOG` is honoured too.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole thing working, on embedded defaults, in seconds.
    #[command(after_help = "Example:\n  kms quickstart --secrets 5000")]
    Quickstart(Quickstart),
    /// Serve the Kubernetes KMS v2 API on a socket, for kube-apiserver.
    #[command(after_help = "\
Example:
  kms key create --provider local:/var/lib/kms/keyring.json
  kms serve --provider local:/var/lib/kms/keyring.json --listen unix:/run/kms/kms.sock
  kms serve --provider https://myvault.vault.azure.net/keys/etcd \\
      --azure-identity managed:CLIENT_ID --listen unix:/run/kms/kms.sock

A rotation, by `kms key rotate` or in the vault, is picked up without a restart.")]
    Serve(Serve),
    /// Create, list, rotate and disable keys of an embedded keyring; prove that a key may go.
    #[command(
        subcommand,
        after_help = "Example:\n  kms key list --provider local:/var/lib/kms/keyring.json"
    )]
    Key(Key),
    /// Say what a stored value is encrypted with. Needs no key.
    #[command(after_help = "\
Example:
  etcdctl get /registry/secrets/default/db --print-value-only | head -c -1 | kms inspect --json -
  etcdctl get /registry/secrets/default/db -w json | kms inspect --encoding etcd-json -")]
    Inspect(Inspect),
    /// Decrypt a stored value, with the plugin that the configuration names or a provider given.
    #[command(after_help = "\
Example:
  kms decrypt --encryption-config /etc/kubernetes/encryption.yaml \\
      --etcd-key /registry/secrets/default/db --value-file value.bin
  etcdctl get /registry/secrets/default/db -w json | kms decrypt --encoding etcd-json \\
      --encryption-config encryption.yaml --kek my-kms=local:/var/lib/kms/keyring.json

The plaintext is what kube-apiserver serialized: for a Secret that is protobuf behind `k8s\\0`.")]
    Decrypt(Decrypt),
    /// Count what a cluster's objects are encrypted with, and name what is damaged. Needs no key.
    #[command(after_help = "\
Example:
  kms census --snapshot backup.db --history
  kms census --snapshot backup.db --verify --encryption-config encryption.yaml \\
      --kek my-kms=local:/var/lib/kms/keyring.json

Exit codes: 0 whatever was counted; with --verify, 1 if something stands in the way of a restart.")]
    Census(cluster::Census),
    /// Rewrite a cluster's objects under the key that is written with now, under another provider,
    /// or in clear.
    #[command(after_help = "\
Example:
  kms migrate --etcd https://127.0.0.1:2379 --etcd-ca ca.crt --etcd-cert client.crt \\
      --etcd-key-file client.key --encryption-config encryption.yaml --dry-run
  kms migrate --etcd https://127.0.0.1:2379 --etcd-ca ca.crt --etcd-cert client.crt \\
      --etcd-key-file client.key --encryption-config encryption.yaml --resource secrets --rate 200/s
  kms migrate --kube ~/.kube/config --context aks --resource secrets --rate 50/s

An object is swapped only if nobody has changed it meanwhile, and only after what is to be stored
was seen to open. What does not open is named and left alone. An interrupted migration goes on with
--resume.

It does not begin while an API server that is named with --replica or --metrics writes with another
key, or cannot be asked, or is missing of --replicas. If none is named it begins, and says so.

Exit codes: 0 all that was asked for is under the target, 1 something stayed, it was stopped, or it
did not begin.")]
    Migrate(Box<migrate::Migrate>),
    /// Read objects of a backup or an etcd, decrypted.
    #[command(subcommand)]
    Etcd(cluster::Etcd),
    /// Check an `EncryptionConfiguration`, and plan the way from one to another.
    #[command(
        subcommand,
        after_help = "Example:\n  kms config plan --from encryption.yaml --to wanted.yaml --census census.json"
    )]
    Config(config::Config),
    /// Say whether every API server writes with a key already. Nothing may be rewritten before.
    #[command(after_help = "\
Example:
  kms replicas --kms my-kms --key-id KEY_ID --replicas 3 --metrics-ca /etc/kubernetes/pki/ca.crt \\
      --metrics-token-file token --metrics https://10.0.0.1:6443 --metrics https://10.0.0.2:6443 \\
      --metrics https://10.0.0.3:6443

Ask each API server by its own address: behind a load balancer one of them answers for all. Exit
codes: 0 all of them do, 1 one does not or it is not known.")]
    Replicas(replicas::ReplicasCheck),
    /// Make the policy of a confidential pod, offline: what its virtual machine's agent will obey.
    #[command(
        subcommand,
        after_help = "Example:\n  kms policy images lock -y pod.yaml\n  kms policy generate -y pod.yaml && kms policy hash -y pod.yaml"
    )]
    Policy(policy::Policy),
    /// Show a rotation, and carry it through unattended.
    #[command(
        subcommand,
        after_help = "Example:\n  kms rotation status --snapshot backup.db --provider local:/var/lib/kms/keyring.json"
    )]
    Rotation(rotation::Rotation),
    /// Say whether a key can serve a cluster, and if not, why, and what to do.
    #[command(
        subcommand,
        after_help = "Example:\n  kms doctor azure --key-id https://myvault.vault.azure.net/keys/etcd --azure-identity managed:CLIENT_ID"
    )]
    Doctor(doctor::Doctor),
    /// Stand-ins for cloud services, to test against. Never for keys that matter.
    #[cfg(feature = "testing")]
    #[command(
        subcommand,
        after_help = "Example:\n  kms testkit vault --ca-out ca.pem --info-out info.json --hosts-out hosts"
    )]
    Testkit(testkit::Testkit),
}

#[derive(Args, Debug)]
pub(crate) struct Quickstart {
    /// Work in this directory, new or empty, and leave it there to look at.
    /// Otherwise a temporary one is used and removed.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// How many Secrets to store.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) secrets: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Who holds the key: `local:PATH`, `local:PATH?passphrase-file=FILE`,
    /// `https://VAULT/keys/NAME` (its newest version is followed) or `…/NAME/VERSION` in Azure Key
    /// Vault or Managed HSM, or `unix:PATH` for another KMS v2 plugin.
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: String,
    /// Another provider beside it, whose data can still be opened and that wraps nothing any more:
    /// the key of before, in another vault or of another name. May be given several times.
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) also: Vec<String>,
    /// The socket to listen on: `unix:PATH`, or `unix:@NAME` for a Linux abstract socket.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) listen: String,
    /// Serve KMS v1 as well, to read and migrate old data.
    #[arg(long)]
    pub(crate) kms_v1: bool,
    /// The version that Status reports. Kubernetes 1.27 and 1.28 take only `v2beta1`.
    #[arg(long, value_enum, default_value_t = StatusVersion::V2)]
    pub(crate) status_version: StatusVersion,
    /// The mode of the socket file, in octal.
    #[arg(long, value_name = "OCTAL", default_value = "600", value_parser = parse_mode)]
    pub(crate) socket_mode: u32,
    /// The user who owns the socket file, by number; kube-apiserver's if it is not root.
    #[arg(long, value_name = "UID")]
    pub(crate) socket_uid: Option<u32>,
    /// The group of the socket file, by number.
    #[arg(long, value_name = "GID")]
    pub(crate) socket_gid: Option<u32>,
    /// How often to look for a new key, in seconds. A vault is asked less often: --azure-poll.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) poll: u64,
    /// How often to prove that the provider still wraps and unwraps, in seconds; beside that at
    /// the start and for each new key. [default: 600, and 3600 for a key in a vault]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) prove: Option<u64>,
    /// Tell metrics at this address, in Prometheus' text format under /metrics; and how the plugin
    /// is, under /livez and /readyz. Over HTTP, to whoever asks.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Let that be an address that other machines can reach.
    #[arg(long, requires = "metrics_listen")]
    pub(crate) metrics_remote: bool,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
}

fn parse_mode(text: &str) -> Result<u32, &'static str> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode & !0o777 == 0 => Ok(mode),
        _ => Err("not an octal mode such as 600 or 660"),
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StatusVersion {
    V2,
    #[value(name = "v2beta1")]
    V2Beta1,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a new keyring with one key. An existing file is never overwritten.
    #[command(after_help = "Example:\n  kms key create --provider local:/var/lib/kms/keyring.json")]
    Create(KeyProvider),
    /// List all key versions, of any provider that can.
    #[command(after_help = "Example:\n  kms key list --provider local:keyring.json --json")]
    List(KeyLook),
    /// Make a new key version the current one. Older ones go on unwrapping.
    #[command(after_help = "Example:\n  kms key rotate --provider local:keyring.json")]
    Rotate(KeyProvider),
    /// Bring in a key of 32 bytes that was made elsewhere, and make it the current version.
    #[command(after_help = "Example:\n  kms key import --provider local:keyring.json key.bin")]
    Import(KeyImport),
    /// Put the keyring under a passphrase, another one, or none.
    #[command(
        after_help = "Example:\n  kms key passphrase --provider 'local:keyring.json?passphrase-file=old' --new-passphrase-file new"
    )]
    Passphrase(KeyPassphrase),
    /// Switch a version off: what it wrapped is not unwrapped until it is enabled again. Programs
    /// that hold its DEKs in memory go on: a running plugin until it next looks at its keys,
    /// kube-apiserver for a day or more. So that nothing breaks proves nothing.
    #[command(after_help = "Example:\n  kms key disable --provider local:keyring.json 1")]
    Disable(KeyVersion),
    /// Switch a version on again.
    #[command(after_help = "Example:\n  kms key enable --provider local:keyring.json 1")]
    Enable(KeyVersion),
    /// Take a version out of use now, and let `purge` destroy it when its grace period is over.
    /// What it wrapped can never be opened again after that: let `kms key plan-retire` and
    /// `kms key retire` prove first that nothing is under it.
    #[command(after_help = "\
Example:
  kms key plan-retire KEY_ID --etcd URL --provider local:keyring.json --out evidence.json
  kms key retire KEY_ID --evidence evidence.json --etcd URL --provider local:keyring.json \\
      --out retirement.json --yes
  kms key destroy --provider local:keyring.json 1 --grace-days 30")]
    Destroy(KeyDestroy),
    /// Save a version that is to be destroyed. It is disabled then; `enable` it to use it.
    #[command(after_help = "Example:\n  kms key restore --provider local:keyring.json 1")]
    Restore(KeyVersion),
    /// Destroy the versions whose grace period is over.
    #[command(after_help = "Example:\n  kms key purge --provider local:keyring.json")]
    Purge(KeyProvider),
    /// Prove that the provider wraps and unwraps, and say with which key.
    #[command(after_help = "Example:\n  kms key status --provider local:keyring.json --json")]
    Status(KeyLook),
    /// Say what still needs a key, and what to do until nothing does. Needs no key.
    #[command(after_help = "\
Example:
  kms key plan-retire KEY_ID --snapshot backup.db
  kms key plan-retire KEY_ID --etcd https://127.0.0.1:2379 --etcd-ca ca.crt \\
      --backup monday.db --replica unix:/run/kms/kms.sock --provider local:keyring.json \\
      --waive 'other-clusters=the key is of this one alone' --out evidence.json

What was not scanned is in the way until it is waived by name. So is what cannot be known:
KMS v1 values, which name no key, and damaged ones. A key that occurs nowhere must be known to
somebody: its provider, the rotation, or the evidence of before in --out.

Exit codes: 0 nothing is in the way, 1 something is, or it failed, 2 wrong usage.")]
    PlanRetire(retire::PlanRetire),
    /// Scan a cluster once more and record that a key may go, or refuse. Deletes nothing, and says
    /// how to.
    #[command(after_help = "\
Example:
  kms key retire KEY_ID --evidence evidence.json --etcd https://127.0.0.1:2379 --yes \\
      --out retirement.json

Exit codes: 0 it may go, 1 refused or failed, 2 wrong usage.")]
    Retire(retire::Retire),
}

impl Key {
    /// Whom it is about, if that is a provider.
    pub(crate) const fn target(&self) -> Option<&KeyProvider> {
        Some(match self {
            Self::Create(target) | Self::Rotate(target) | Self::Purge(target) => target,
            Self::List(look) | Self::Status(look) => &look.target,
            Self::Disable(key) | Self::Enable(key) | Self::Restore(key) => &key.target,
            Self::Destroy(destroy) => &destroy.key.target,
            Self::Import(import) => &import.target,
            Self::Passphrase(passphrase) => &passphrase.target,
            Self::PlanRetire(_) | Self::Retire(_) => return None,
        })
    }

    /// Whether to answer as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::PlanRetire(plan) => plan.json,
            Self::Retire(retire) => retire.json,
            _ => self.target().is_some_and(|target| target.json),
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct KeyProvider {
    /// Who holds the key, such as `local:PATH`.
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: String,
    /// Answer as JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct KeyLook {
    #[command(flatten)]
    pub(crate) target: KeyProvider,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
}

#[derive(Args, Debug)]
pub(crate) struct KeyVersion {
    #[command(flatten)]
    pub(crate) target: KeyProvider,
    /// The version: its number or its key id, as `kms key list` shows them.
    pub(crate) version: String,
}

#[derive(Args, Debug)]
pub(crate) struct KeyImport {
    #[command(flatten)]
    pub(crate) target: KeyProvider,
    /// The file that holds the 32 bytes; `-` is standard input.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct KeyPassphrase {
    #[command(flatten)]
    pub(crate) target: KeyProvider,
    /// The file whose first line is the new passphrase.
    #[arg(long, value_name = "FILE", required_unless_present = "remove")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// Let the keyring have no passphrase: whoever reads the file has its keys.
    #[arg(long, conflicts_with = "new_passphrase_file")]
    pub(crate) remove: bool,
}

#[derive(Args, Debug)]
pub(crate) struct KeyDestroy {
    #[command(flatten)]
    pub(crate) key: KeyVersion,
    /// How long it can still be saved, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(7..=3650))]
    pub(crate) grace_days: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Answer as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// How the value is written in the file.
    #[arg(long, value_enum, default_value_t = Encoding::Raw)]
    pub(crate) encoding: Encoding,
    /// With `--encoding etcd-json`, which of several keys to look at.
    #[arg(long, value_name = "KEY", requires = "encoding")]
    pub(crate) etcd_key: Option<OsString>,
    /// The file that holds the stored value; `-` is standard input.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Decrypt {
    /// The `EncryptionConfiguration` that kube-apiserver uses.
    #[arg(long, value_name = "FILE")]
    pub(crate) encryption_config: PathBuf,
    /// The etcd key of the value, such as `/registry/secrets/default/db`. It is authenticated.
    /// With `--encoding etcd-json` it is taken from there, or chooses among several.
    #[arg(long, value_name = "KEY", required_unless_present = "encoding")]
    pub(crate) etcd_key: Option<OsString>,
    /// The file that holds the stored value; `-` is standard input.
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    pub(crate) value_file: PathBuf,
    /// How the value is written in the file.
    #[arg(long, value_enum, default_value_t = Encoding::Raw)]
    pub(crate) encoding: Encoding,
    /// Use this provider for the KMS of this name instead of the plugin in the configuration.
    #[arg(long, value_name = "NAME=PROVIDER")]
    pub(crate) kek: Vec<String>,
    /// The resource whose providers to use, such as `secrets` or `deployments.apps`, where the
    /// etcd key does not tell.
    #[arg(long, value_name = "RESOURCE")]
    pub(crate) resource: Option<String>,
    /// Count a KMS v2 value of another DEK source type than this as stale, as API servers since
    /// 1.29 do of all but `hkdf-seed`. Otherwise the key id alone decides.
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) kms_v2_source_type: Option<SourceType>,
    /// The API server's `--etcd-prefix`.
    #[arg(long, value_name = "PREFIX", default_value = "/registry")]
    pub(crate) etcd_prefix: String,
    /// Answer as JSON, plaintext in base64; a refusal is JSON on standard error.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SourceType {
    /// Written by Kubernetes 1.25 to 1.28.
    AesGcmKey,
    /// Written since Kubernetes 1.29.
    HkdfSeed,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Encoding {
    /// The bytes themselves.
    Raw,
    /// Base64 text.
    Base64,
    /// Hexadecimal text.
    Hex,
    /// What `etcdctl get KEY -w json` prints.
    EtcdJson,
}
