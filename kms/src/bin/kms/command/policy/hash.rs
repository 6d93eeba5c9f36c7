//! `kms policy hash`

use kms::Failure;
use serde_json::json;

use super::{make, manifest, print_line};
use crate::args::policy::PolicyHash;

pub(super) fn run(args: &PolicyHash) -> Result<(), Failure> {
    let text = manifest(&args.inputs)?;
    let mut request = args.inputs.request();
    args.rules.add_to(&mut request);
    let made = make(&request, &text)?;
    let mut answers = Vec::new();
    for policy in made.policies.iter().flatten() {
        answers.push((&policy.workload, policy.host_data()));
    }
    if answers.is_empty() {
        super::generate::nothing_gets_a_policy();
    }
    if !args.json {
        return answers.iter().try_for_each(|(_, hash)| print_line(hash));
    }
    let answers = answers.iter();
    let answers =
        answers.map(|(workload, hash)| json!({ "workload": workload, "host_data": hash }));
    print_line(&json!({ "schema_version": 1, "policies": answers.collect::<Vec<_>>() }))
}
