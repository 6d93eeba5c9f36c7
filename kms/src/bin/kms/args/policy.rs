//! `kms policy`: one file a subcommand.

mod data;
mod eval;
mod generate;
mod hash;
mod images;
mod initdata;
mod look;
mod release;
mod source;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use kms::policy::PolicyRequest;
use kms_policy::generate::Profile;

pub(crate) use data::PolicyData;
pub(crate) use eval::{PolicyEval, PolicyReplay};
pub(crate) use generate::PolicyGenerate;
pub(crate) use hash::PolicyHash;
pub(crate) use images::{ImagesLock, PolicyImages};
pub(crate) use initdata::{InitdataArgs, PolicyInitdata};
pub(crate) use look::{PolicyDiff, PolicyExplain, PolicyLint};
pub(crate) use release::{PolicyRelease, ReleaseCheck, ReleaseCommand};
pub(crate) use source::PolicySource;

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Make policies, and put them into the manifest as annotations: in place, or from standard input
    /// to standard output.
    #[command(after_help = "\
Example:
  kms policy images lock -y consumer.yaml -o images.lock.json
  kms policy generate -y consumer.yaml
  kms policy generate -y consumer.yaml -p rules.rego --print-policy | base64 -d | sha256sum

Nothing but the annotation changes in the file: comments, order and quoting stay. Standard output
holds only what was asked for; everything else is said on standard error.")]
    Generate(PolicyGenerate),
    /// Print the hash of a policy, as an attestation report of the pod will hold it.
    #[command(after_help = "\
Example:
  kms policy hash -y consumer.yaml

One line for each thing that runs pods, in the order of the file: 64 hexadecimal digits, what the
claim x-ms-sevsnpvm-hostdata must be in a release policy. No file is changed.")]
    Hash(PolicyHash),
    /// Print the data of a policy, without rules, and nothing beside it.
    #[command(after_help = "\
Example:
  kms policy data -y pod.yaml -j genpolicy-settings.json --images images.lock.json --profile aks-azl3")]
    Data(PolicyData),
    /// Print the initdata that hold a policy, for the profile `kata`, and what reports of confidential
    /// hardware will hold of them.
    #[command(after_help = "\
Example:
  kms policy initdata -y pod.yaml --profile kata > initdata.toml
  kms policy initdata -y pod.yaml --profile kata --entry cdh.toml=cdh.toml --json")]
    Initdata(PolicyInitdata),
    /// Judge requests by a policy as the guest's agent does, and say why one is denied.
    #[command(after_help = "\
Example:
  kms policy eval -y pod.yaml --profile kata testcases.json
  kms policy eval --policy policy.rego testcases.json

It fails if a request has another verdict than is recorded with it. Values of variables are not
shown: they may be secrets.")]
    Eval(PolicyEval),
    /// Judge the requests of an agent's log.
    #[command(after_help = "\
Example:
  kms policy replay --policy policy.rego policy.jsonl

It fails if a request is not allowed.")]
    Replay(PolicyReplay),
    /// Say what a pod may do by its policy.
    #[command(after_help = "\
Example:
  kms policy explain -y pod.yaml
  kms policy explain --policy policy.rego --json")]
    Explain(PolicyExplain),
    /// Say what differs between two policies, container by container.
    #[command(after_help = "\
Example:
  kms policy diff before.rego after.rego")]
    Diff(PolicyDiff),
    /// Say what is doubtful in a policy.
    #[command(after_help = "\
Example:
  kms policy lint -y pod.yaml

It fails if a finding is an error.")]
    Lint(PolicyLint),
    /// Print the release policy of a key that only one pod may have, and the object that Key Vault
    /// takes with the key.
    #[command(after_help = "\
Example:
  kms policy release --hash HEX --authority https://sharedeus2.eus2.attest.azure.net
  kms policy release check policy.json claims.json")]
    Release(PolicyRelease),
    /// Say what is known of images, in a file of its own.
    #[command(
        subcommand,
        after_help = "Example:\n  kms policy images lock -y consumer.yaml -o images.lock.json"
    )]
    Images(PolicyImages),
}

impl Policy {
    /// Whether failures are to be told as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Hash(args) => args.json,
            Self::Initdata(args) => args.json,
            Self::Eval(args) => args.json,
            Self::Replay(args) => args.json,
            Self::Explain(args) => args.json,
            Self::Diff(args) => args.json,
            Self::Lint(args) => args.json,
            Self::Release(args) => match &args.command {
                Some(ReleaseCommand::Check(args)) => args.json,
                None => args.json,
            },
            Self::Images(PolicyImages::Lock(args)) => args.json,
            Self::Data(_) | Self::Generate(_) => false,
        }
    }
}

/// What a policy is made from.
#[derive(Args, Debug)]
pub(crate) struct PolicyInputs {
    /// The manifest, with any number of documents. Without it, standard input.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) yaml_file: Option<PathBuf>,
    /// Which agent the policy is for. `aks-azl3` is what `az confcom katapolicygen` makes policies
    /// for, `aks-3.15` its successor, `kata` Kata Containers itself.
    #[arg(long, value_enum, value_name = "PROFILE", default_value = "aks-azl3")]
    pub(crate) profile: ProfileName,
    /// The settings, instead of the profile's own: genpolicy-settings.json, or a directory with that
    /// and drop-ins in genpolicy-settings.d.
    #[arg(
        short = 'j',
        long = "json-settings-path",
        visible_alias = "settings",
        value_name = "FILE|DIR"
    )]
    pub(crate) settings: Option<PathBuf>,
    /// What is known of the images, from `kms policy images lock`.
    #[arg(long, value_name = "FILE", default_value = "images.lock.json")]
    pub(crate) images: PathBuf,
    /// A further file with ConfigMaps, Secrets and PersistentVolumeClaims that pods refer to. May be
    /// given several times.
    #[arg(short, long, alias = "config-map-file", value_name = "FILE")]
    pub(crate) config_file: Vec<PathBuf>,
    /// Pass over fields that a policy cannot speak about; they are named on standard error.
    #[arg(short, long)]
    pub(crate) silent_unsupported_fields: bool,
    /// Make policies only for pods whose runtime class begins so. May be given several times.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) runtime_class_names: Vec<String>,
}

/// What is added to the data, where a whole policy is made.
#[derive(Args, Debug)]
pub(crate) struct PolicyRules {
    /// The rules, in Rego, instead of our own. With those of genpolicy's version the policy is
    /// genpolicy's, byte for byte.
    #[arg(
        short = 'p',
        long = "rego-rules-path",
        visible_alias = "rules",
        value_name = "FILE"
    )]
    pub(crate) rules: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) initdata: InitdataArgs,
}

impl PolicyRules {
    /// Adds them to what policies are made from.
    pub(crate) fn add_to(&self, request: &mut PolicyRequest) {
        request.rules.clone_from(&self.rules);
        self.initdata.add_to(request);
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProfileName {
    AksAzl3,
    #[value(name = "aks-3.15")]
    Aks3_15,
    Kata,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::AksAzl3 => Self::AksAzl3,
            ProfileName::Aks3_15 => Self::Aks3_15,
            ProfileName::Kata => Self::Kata,
        }
    }
}

impl PolicyInputs {
    pub(crate) fn request(&self) -> PolicyRequest {
        let mut request = PolicyRequest::new(self.profile.into(), &self.images);
        request.settings.clone_from(&self.settings);
        request.config_files.clone_from(&self.config_file);
        request.ignore_unsupported_fields = self.silent_unsupported_fields;
        request
            .runtime_classes
            .clone_from(&self.runtime_class_names);
        request
    }
}
