//! `kms policy initdata`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kms::policy::PolicyRequest;
use kms_policy::initdata::InitdataAlgorithm;

use super::{PolicyInputs, PolicyRules};

#[derive(Args, Debug)]
pub(crate) struct PolicyInitdata {
    #[command(flatten)]
    pub(crate) inputs: PolicyInputs,
    #[command(flatten)]
    pub(crate) rules: PolicyRules,
    /// Answer as one JSON object on standard output: the digest as each kind of hardware reports it,
    /// and the annotation.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What initdata hold beside the policy; with the profile `kata`.
#[derive(Args, Debug)]
pub(crate) struct InitdataArgs {
    /// A TOML file of initdata to add the policy to, with the profile `kata`.
    #[arg(
        long = "initdata-path",
        visible_alias = "initdata",
        value_name = "FILE"
    )]
    template: Option<PathBuf>,
    /// How initdata are measured, instead of as that file says. [default: sha256]
    #[arg(long = "initdata-algorithm", value_enum, value_name = "ALGORITHM")]
    algorithm: Option<Algorithm>,
    /// A file to put into initdata under this name. May be given several times.
    #[arg(long = "entry", value_name = "NAME=FILE", value_parser = parse_entry)]
    entries: Vec<(String, PathBuf)>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

fn parse_entry(text: &str) -> Result<(String, PathBuf), &'static str> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("not NAME=FILE, such as cdh.toml=/etc/cdh.toml"),
    }
}

impl InitdataArgs {
    pub(super) fn add_to(&self, request: &mut PolicyRequest) {
        request.initdata.clone_from(&self.template);
        request.initdata_entries.clone_from(&self.entries);
        request.initdata_algorithm = self.algorithm.map(|algorithm| match algorithm {
            Algorithm::Sha256 => InitdataAlgorithm::Sha256,
            Algorithm::Sha384 => InitdataAlgorithm::Sha384,
            Algorithm::Sha512 => InitdataAlgorithm::Sha512,
        });
    }
}
