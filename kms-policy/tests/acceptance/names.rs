//! Names of layers, as published policies have them.

use std::collections::BTreeMap;
use std::path::Path;

use kms_policy::image::{Digest, ImageFacts, ImageLock, LayerFacts, layer_names};
use serde::Deserialize;

use crate::samples::Outcome;

#[derive(Deserialize)]
struct Image {
    versions: BTreeMap<String, Version>,
}

#[derive(Deserialize)]
struct Version {
    layer_names_bottom_up: Vec<String>,
    verity_bottom_up: Vec<String>,
    diff_ids_bottom_up: Option<Vec<String>>,
}

/// Every image whose diff ids are known.
pub(crate) fn run(images: &Path) -> Outcome {
    let text = std::fs::read_to_string(images.join("images.json")).expect("images.json");
    let found: BTreeMap<String, Image> = serde_json::from_str(&text).expect("images.json parses");
    let mut outcome = Outcome::default();
    for (reference, image) in &found {
        for (number, version) in &image.versions {
            let Some(diff_ids) = &version.diff_ids_bottom_up else {
                continue;
            };
            match check(reference, version, diff_ids) {
                Ok(()) => outcome.passed += 1,
                Err(why) => {
                    outcome.failed += 1;
                    println!("FAILED {reference} {number}: {why}");
                }
            }
        }
    }
    outcome
}

fn check(reference: &str, version: &Version, diff_ids: &[String]) -> Result<(), String> {
    let parsed = diff_ids.iter().map(|id| Digest::parse(id));
    let parsed = parsed.collect::<Result<Vec<_>, _>>();
    let names = layer_names(&parsed.map_err(|error| error.to_string())?);
    if names != version.layer_names_bottom_up {
        return Err(format!("the layers have the names {names:?}"));
    }
    // The same as a lock file, which compares names and diff ids itself.
    let layers = names.iter().zip(&version.verity_bottom_up).zip(diff_ids);
    let mut facts = ImageFacts::default();
    facts.layers = layers
        .map(|((name, verity), diff_id)| {
            let mut layer = LayerFacts::default();
            layer.name = Some(name.clone());
            layer.verity = Some(verity.clone());
            layer.diff_id = Some(diff_id.clone());
            layer
        })
        .collect();
    if facts.layers.len() != names.len() {
        return Err("a layer has no root hash".to_owned());
    }
    let mut lock = ImageLock::default();
    lock.insert(reference, facts);
    let json = lock.to_json().map_err(|error| error.to_string())?;
    match ImageLock::parse(&json) {
        Ok(read) if read == lock => Ok(()),
        Ok(_) => Err("the lock file is read back as another".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
