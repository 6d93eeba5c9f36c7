//! One set of samples.

use std::collections::BTreeMap;
use std::path::Path;

use kms_policy::Error;
use kms_policy::generate::{Generator, Inputs, Profile};
use kms_policy::image::ImageLock;
use kms_policy::manifest::{Manifest, ManifestOptions};
use kms_policy::settings::Settings;
use serde::Deserialize;

use crate::images;

#[derive(Deserialize)]
struct Meta {
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    sample: String,
    policies: Vec<Policy>,
}

#[derive(Deserialize)]
struct Policy {
    policy_data: Option<String>,
    policy_sha256: Option<String>,
    rules_equal_tag: bool,
}

#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// Changes that the set's goldens were made with, as its README says.
const AKS_3_15_DROP_IN: &str = r#"[
    {"op": "add", "path": "/request_defaults/CreateContainerRequest/allow_env_regex_map", "value": {
        "CPU_LIMIT": "^[0-9]+$",
        "JOB_COMPLETION_INDEX": "^[0-9]*$",
        "MEMORY_LIMIT": "^[0-9]+$"
    }}
]"#;

pub(crate) fn run(set: &Path, images: &Path, rules: Option<&[u8]>) -> Outcome {
    let name = set
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let read = |file: &str| std::fs::read_to_string(set.join(file));
    let meta: Meta =
        serde_json::from_str(&read("meta.json").expect("meta.json")).expect("meta.json parses");
    let silent: BTreeMap<String, Vec<String>> =
        serde_json::from_str(&read("policy_samples.json").expect("policy_samples.json"))
            .expect("policy_samples.json parses");
    let silent = silent.get("silently_ignored").cloned().unwrap_or_default();
    let base = read("genpolicy-settings.json").expect("settings");
    let is_azl3 = name.contains("azl3");
    let (profile, settings) = if is_azl3 {
        (Profile::AksAzl3, Settings::parse(&base))
    } else {
        let drop_in = ("goldens", AKS_3_15_DROP_IN);
        (Profile::Aks3_15, Settings::parse_with(&base, [drop_in]))
    };
    let settings = settings.expect("settings parse");
    let mut outcome = Outcome::default();
    for sample in &meta.samples {
        let expected: Vec<_> = sample.policies.iter().enumerate().collect();
        if sample.policies.iter().all(|policy| {
            let file = policy.policy_data.as_deref();
            file.is_none_or(|file| !set.join(file).is_file())
        }) {
            continue;
        }
        let view = images::View {
            set: Some(&name),
            sample: Some(&sample.sample),
        };
        let lock = images::lock(images, view);
        // Of a file with several workloads the set may hold a part of the goldens and not the input.
        let Ok(yaml) = read(&format!("samples/{}", sample.sample)) else {
            println!("{name} {}: the set lacks the input", sample.sample);
            continue;
        };
        let is_silent = silent.contains(&sample.sample);
        let made = make(profile, &settings, &lock, &yaml, is_silent);
        for (index, policy) in expected {
            let Some(golden) = policy.policy_data.as_ref().and_then(|file| read(file).ok()) else {
                continue;
            };
            let verdict = match &made {
                Ok(texts) => judge(texts.get(index), &golden, policy, rules),
                Err(error) => Err(format!("{error} ({})", error.remedy())),
            };
            match verdict {
                Ok(()) => outcome.passed += 1,
                Err(why) => {
                    outcome.failed += 1;
                    println!("FAILED {name} {} [{index}]: {why}", sample.sample);
                }
            }
        }
    }
    outcome
}

fn make(
    profile: Profile,
    settings: &Settings,
    lock: &ImageLock,
    yaml: &str,
    silent: bool,
) -> Result<Vec<String>, Error> {
    let options = ManifestOptions::default().with_ignore_unsupported_fields(silent);
    let manifest = Manifest::parse(yaml, &options)?;
    let mut inputs = Inputs::default();
    inputs.add(&manifest);
    let generator = Generator::new(profile, settings, lock).with_inputs(inputs);
    manifest
        .workloads()
        .map(|workload| generator.policy_data(workload)?.to_text())
        .collect()
}

fn judge(
    made: Option<&String>,
    golden: &str,
    policy: &Policy,
    rules: Option<&[u8]>,
) -> Result<(), String> {
    let made = made.ok_or("no policy was made")?;
    if made != golden {
        return Err(difference(made, golden));
    }
    let Some(rules) = rules.filter(|_| policy.rules_equal_tag) else {
        return Ok(());
    };
    let whole = [rules, b"\npolicy_data := ", made.as_bytes()].concat();
    let digest = ring::digest::digest(&ring::digest::SHA256, &whole);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    if policy.policy_sha256.as_ref() == Some(&hex) {
        Ok(())
    } else {
        Err(format!("the whole policy has the hash {hex}"))
    }
}

/// The first line that differs.
fn difference(made: &str, golden: &str) -> String {
    let (mut ours, mut theirs) = (made.lines(), golden.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (ours.next(), theirs.next()) {
            (Some(a), Some(b)) if a == b => {}
            (a, b) => return format!("line {number}: {a:?} instead of {b:?}"),
        }
    }
}
