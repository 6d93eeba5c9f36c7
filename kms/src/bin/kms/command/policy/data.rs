//! `kms policy data`

use kms::Failure;

use super::{make, manifest, print};
use crate::args::policy::PolicyData;

pub(super) fn run(args: &PolicyData) -> Result<(), Failure> {
    let text = manifest(&args.inputs)?;
    let made = make(&args.inputs.request(), &text)?;
    print(made.only()?.data.as_bytes())
}
