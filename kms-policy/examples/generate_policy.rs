//! Makes the policy of a pod and prints its hash: `generate_policy POD IMAGES RULES`.

use kms_policy::Policy;
use kms_policy::generate::{Generator, Inputs, Profile};
use kms_policy::image::ImageLock;
use kms_policy::manifest::{Manifest, ManifestOptions};
use kms_policy::rules::Rules;
use kms_policy::settings::Settings;

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || {
        arguments
            .next()
            .ok_or("usage: generate_policy POD IMAGES RULES")
    };
    let (pod, images, rules) = (next()?, next()?, next()?);

    let manifest = Manifest::parse(&std::fs::read_to_string(pod)?, &ManifestOptions::default())?;
    let images = ImageLock::parse(&std::fs::read_to_string(images)?)?;
    let rules = Rules::read(rules.as_ref())?;
    let settings = Settings::built_in(Profile::AksAzl3)?;
    let mut inputs = Inputs::default();
    inputs.add(&manifest);

    let generator = Generator::new(Profile::AksAzl3, &settings, &images).with_inputs(inputs);
    for workload in manifest.workloads() {
        let policy = Policy::assemble(&rules, &generator.policy_data(workload)?)?;
        println!("{}", policy.sha256_hex());
    }
    Ok(())
}
