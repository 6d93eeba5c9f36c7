//! `kms policy …`, one subcommand a file.

mod data;
mod generate;
mod hash;
mod initdata;

use std::path::Path;

use kms::policy::{MadePolicies, PolicyMaker, PolicyRequest};
use kms::{Failure, read_manifest};

use super::{print, print_line};
use crate::args::policy::{Policy, PolicyInputs};

pub(crate) fn run(command: Policy) -> Result<(), Failure> {
    match command {
        Policy::Generate(args) => generate::run(&args),
        Policy::Initdata(args) => initdata::run(&args),
        Policy::Hash(args) => hash::run(&args),
        Policy::Data(args) => data::run(&args),
    }
}

/// The manifest's text, from its file or from standard input.
fn manifest(inputs: &PolicyInputs) -> Result<String, Failure> {
    read_manifest(inputs.yaml_file.as_deref().unwrap_or(Path::new("-")))
}

/// Makes the policies of a manifest, and says what was passed over.
fn make(request: &PolicyRequest, text: &str) -> Result<MadePolicies, Failure> {
    let made = PolicyMaker::open(request)?.make(text)?;
    for field in &made.ignored_fields {
        eprintln!(
            "kms: {field} is not supported and was passed over: the policy may refuse the pod"
        );
    }
    Ok(made)
}
