//! `kms policy generate`

use kms::Failure;
use kms::policy::{MadePolicies, replace_text};

use super::{make, manifest, print, print_line};
use crate::args::policy::PolicyGenerate;

pub(super) fn run(args: &PolicyGenerate) -> Result<(), Failure> {
    let text = manifest(&args.inputs)?;
    let mut request = args.inputs.request();
    args.rules.add_to(&mut request);
    let made = make(&request, &text)?;
    let prints = args.print_policy || args.raw_out;
    if prints {
        // Before anything is changed.
        made.only()?;
    }
    let annotated = made.annotate(&text, request.profile)?;
    match &args.inputs.yaml_file {
        Some(_) if annotated == text => {}
        Some(path) => replace_text(path, &annotated)?,
        None if prints => {}
        None => print(annotated.as_bytes())?,
    }
    tell(&made);
    if args.print_policy {
        print_line(&made.only()?.annotation()?)?;
    }
    if args.raw_out {
        print(made.only()?.policy.text().as_bytes())?;
    }
    Ok(())
}

fn tell(made: &MadePolicies) {
    let mut policies = made.policies.iter().flatten().peekable();
    if policies.peek().is_none() {
        nothing_gets_a_policy();
    }
    for policy in policies {
        eprintln!("kms: {}: host data {}", policy.workload, policy.host_data());
        for remark in &policy.remarks {
            eprintln!("kms: {}: {remark}", policy.workload);
        }
    }
}

pub(super) fn nothing_gets_a_policy() {
    eprintln!("kms: nothing in the manifest gets a policy");
}
