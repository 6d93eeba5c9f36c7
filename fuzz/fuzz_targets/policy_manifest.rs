//! Policies of any manifest: it must neither panic nor hang, and the same text gives the same data.
#![no_main]

use std::sync::OnceLock;

use kms_policy::generate::{Generator, Inputs, Profile};
use kms_policy::image::ImageLock;
use kms_policy::manifest::{Manifest, ManifestOptions};
use kms_policy::settings::Settings;
use libfuzzer_sys::fuzz_target;

const IMAGES: &str = include_str!("../../kms-policy/tests/data/images.lock.json");

fn known() -> &'static (Vec<(Profile, Settings)>, ImageLock) {
    static KNOWN: OnceLock<(Vec<(Profile, Settings)>, ImageLock)> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let profiles = [Profile::AksAzl3, Profile::Aks3_15, Profile::Kata];
        let settings = profiles.map(|it| (it, Settings::built_in(it).expect("settings")));
        (settings.into(), ImageLock::parse(IMAGES).expect("images"))
    })
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let options = ManifestOptions::default().with_ignore_unsupported_fields(data.len() % 2 == 0);
    let Ok(manifest) = Manifest::parse(text, &options) else {
        return;
    };
    let (profiles, images) = known();
    let mut inputs = Inputs::default();
    inputs.add(&manifest);
    for (profile, settings) in profiles {
        let generator = Generator::new(*profile, settings, images).with_inputs(inputs.clone());
        for workload in manifest.workloads() {
            if let Ok(data) = generator.policy_data(workload) {
                let again = generator.policy_data(workload).expect("the same");
                assert_eq!(data.to_text().ok(), again.to_text().ok());
            }
        }
    }
});
