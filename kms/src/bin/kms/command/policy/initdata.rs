//! `kms policy initdata`

use kms::Failure;
use kms_policy::initdata::Tee;
use serde_json::{Map, json};

use super::{make, manifest, print, print_line};
use crate::args::policy::PolicyInitdata;

pub(super) fn run(args: &PolicyInitdata) -> Result<(), Failure> {
    let text = manifest(&args.inputs)?;
    let mut request = args.inputs.request();
    args.rules.add_to(&mut request);
    let made = make(&request, &text)?;
    let policy = made.only()?;
    let Some(initdata) = &policy.initdata else {
        return Err(Failure::usage(
            format!("the agent of {} has no initdata", request.profile.as_str()),
            "give --profile kata",
        ));
    };
    if !args.json {
        return print(initdata.to_toml().as_bytes());
    }
    let digests = Tee::ALL.map(|tee| (tee.as_str().to_owned(), json!(initdata.hex_for(tee))));
    print_line(&json!({
        "schema_version": 1,
        "workload": policy.workload,
        "algorithm": initdata.algorithm().as_str(),
        "digests": Map::from_iter(digests),
        "annotation": policy.annotation()?,
    }))
}
