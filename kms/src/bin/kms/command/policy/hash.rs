//! `kms policy hash`

use kms::Failure;
use serde_json::json;

use super::{make, manifest, print_line};
use crate::args::policy::PolicyHash;

pub(super) fn run(args: &PolicyHash) -> Result<(), Failure> {
    let text = manifest(&args.inputs)?;
    let mut request = args.inputs.request();
    request.rules = Some(args.rules.rules.clone());
    let made = make(&request, &text)?;
    let mut answers = Vec::new();
    for policy in made.policies.iter().flatten() {
        let hash = policy.whole()?.sha256_hex();
        if !args.json {
            print_line(&hash)?;
        }
        answers.push(json!({ "workload": policy.workload, "sha256": hash }));
    }
    if args.json {
        print_line(&json!({ "schema_version": 1, "policies": answers }))?;
    }
    Ok(())
}
