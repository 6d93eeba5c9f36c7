//! Any settings, and any drop-in to the usual ones: neither panics, and what is taken makes data.
#![no_main]

use kms_policy::generate::{Generator, Profile};
use kms_policy::image::ImageLock;
use kms_policy::manifest::{Manifest, ManifestOptions};
use kms_policy::settings::Settings;
use libfuzzer_sys::fuzz_target;

const USUAL: &str = include_str!("../../kms-policy/settings/kata.json");
const IMAGES: &str = include_str!("../../kms-policy/tests/data/images.lock.json");
const POD: &str = "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: registry.example/web:1}]}\n";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let images = ImageLock::parse(IMAGES).expect("images");
    let manifest = Manifest::parse(POD, &ManifestOptions::default()).expect("a pod");
    let own = Settings::parse(text);
    let changed = Settings::parse_with(USUAL, [("10-fuzz.json", text)]);
    for settings in own.iter().chain(&changed) {
        let generator = Generator::new(Profile::Kata, settings, &images);
        for workload in manifest.workloads() {
            let _ = generator.policy_data(workload).map(|data| data.to_text());
        }
    }
});
