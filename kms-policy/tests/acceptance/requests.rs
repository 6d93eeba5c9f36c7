//! Request cases of one set, judged by our rules.

use std::path::{Path, PathBuf};

use kms_policy::evaluate::{Case, Evaluator, Verdict, requests};
use kms_policy::generate::{Generator, Inputs, Profile};
use kms_policy::manifest::{Manifest, ManifestOptions};
use kms_policy::rules::Rules;
use kms_policy::settings::Settings;
use kms_policy::{Error, Policy};

use crate::images;
use crate::samples::Outcome;

/// Cases that our rules deny and the recorded ones allow, each with the hole that is closed.
const CLOSED: [(&str, &str, &str); 1] = [(
    "aks-3.15",
    "sysctls listed in yaml or settings",
    "an image that the guest pulls, where the policy has dm-verity root hashes to prove it",
)];

pub(crate) fn run(set: &Path, images: &Path) -> Outcome {
    let name = set
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let profile = if name.contains("azl3") {
        Profile::AksAzl3
    } else if name.contains("3.15") {
        Profile::Aks3_15
    } else {
        Profile::Kata
    };
    let settings = std::fs::read_to_string(set.join("genpolicy-settings.json")).expect("settings");
    let settings = Settings::parse(&settings).expect("settings parse");
    let mut files = Vec::new();
    find(&set.join("tests"), &mut files);
    files.sort();
    let mut outcome = Outcome::default();
    for file in &files {
        let shown = file.strip_prefix(set).expect("below the set").display();
        let folder = file.parent().expect("a folder");
        let cases = cases(set, file);
        let view = images::View {
            set: Some(&name),
            sample: None,
        };
        let lock = images::lock(images, view);
        match evaluator(profile, &settings, &lock, folder) {
            Err(error) => {
                println!("FAILED {name} {shown}: {error} ({})", error.remedy());
                outcome.failed += cases.len();
            }
            Ok(mut evaluator) => {
                for (index, case) in cases.iter().enumerate() {
                    match judge(&mut evaluator, case, profile) {
                        Ok(()) => outcome.passed += 1,
                        Err(why) => {
                            outcome.failed += 1;
                            let what = case.description.as_deref().unwrap_or_default();
                            println!("FAILED {name} {shown} [{index}] {what}: {why}");
                        }
                    }
                }
            }
        }
    }
    outcome
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, files);
        } else if path
            .file_name()
            .is_some_and(|name| name == "testcases.json")
        {
            files.push(path);
        }
    }
}

/// Where a case does not name its kind, the folder does: the first below `testdata`.
fn cases(set: &Path, file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).expect("cases");
    let folders: Vec<_> = file
        .strip_prefix(set)
        .expect("below the set")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let testdata = folders.iter().position(|part| part == "testdata");
    let kind = testdata.and_then(|place| folders.get(place + 1));
    match requests(&text, kind.map(String::as_str)) {
        Ok(cases) => cases,
        Err(error) => {
            // One file of the originals has unresolved conflicts in it.
            println!("{}: {error}: skipped", file.display());
            Vec::new()
        }
    }
}

fn evaluator(
    profile: Profile,
    settings: &Settings,
    lock: &kms_policy::image::ImageLock,
    folder: &Path,
) -> Result<Evaluator, Error> {
    let options = ManifestOptions::default().with_ignore_unsupported_fields(true);
    let parse = |file: &str| {
        let text = std::fs::read_to_string(folder.join(file)).ok();
        text.map(|text| Manifest::parse(&text, &options))
            .transpose()
    };
    let manifest = parse("pod.yaml")?.expect("a pod");
    let mut inputs = Inputs::default();
    inputs.add(&manifest);
    if let Some(config) = parse("config_map.yaml")? {
        inputs.add(&config);
    }
    let generator = Generator::new(profile, settings, lock).with_inputs(inputs);
    let workload = manifest.workloads().next().expect("a workload");
    let data = generator.policy_data(workload)?;
    let policy = Policy::assemble(&Rules::built_in(profile), &data)?;
    Evaluator::new(profile, &policy)
}

fn judge(evaluator: &mut Evaluator, case: &Case, profile: Profile) -> Result<(), String> {
    let expected = case.allowed.expect("a case has a verdict");
    let is_closed = CLOSED.iter().any(|(set, description, _)| {
        profile.as_str() == *set && case.description.as_deref() == Some(description)
    });
    let decision = evaluator
        .judge(&case.request)
        .map_err(|error| error.to_string())?;
    let verdict = decision.verdict;
    if (verdict == Verdict::Allowed) == (expected && !is_closed) && verdict != Verdict::Undefined {
        Ok(())
    } else {
        Err(format!("{} {:?}", verdict.as_str(), decision.prints))
    }
}
