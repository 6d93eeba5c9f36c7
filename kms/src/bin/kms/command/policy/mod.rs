//! `kms policy …`, one subcommand a file.

mod data;
mod eval;
mod generate;
mod hash;
mod images;
mod initdata;
mod look;
mod release;
mod source;

use std::path::Path;

use kms::policy::{MadePolicies, PolicyMaker, PolicyRequest};
use kms::{Failure, read_manifest};

use super::{print, print_line};
use crate::args::policy::{Policy, PolicyInputs};

pub(crate) async fn run(command: Policy) -> Result<(), Failure> {
    match command {
        Policy::Generate(args) => generate::run(&args),
        Policy::Initdata(args) => initdata::run(&args),
        Policy::Hash(args) => hash::run(&args),
        Policy::Data(args) => data::run(&args),
        Policy::Eval(args) => eval::eval(&args),
        Policy::Replay(args) => eval::replay(&args),
        Policy::Explain(args) => look::explain(&args),
        Policy::Diff(args) => look::diff(&args),
        Policy::Lint(args) => look::lint(&args),
        Policy::Release(args) => release::run(&args),
        Policy::Images(command) => images::run(command).await,
    }
}

/// The manifest's text, from its file or from standard input.
fn manifest(inputs: &PolicyInputs) -> Result<String, Failure> {
    read_manifest(
        inputs
            .yaml_file
            .as_deref()
            .unwrap_or_else(|| Path::new("-")),
    )
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
