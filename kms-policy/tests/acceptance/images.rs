//! From the data set's `images/` to a lock file.

use std::collections::BTreeMap;
use std::path::Path;

use kms_policy::image::{ImageConfig, ImageFacts, ImageLock, LayerFacts};
use serde::Deserialize;

#[derive(Deserialize)]
struct Image {
    versions: BTreeMap<String, Version>,
}

#[derive(Deserialize)]
struct Version {
    layer_names_bottom_up: Vec<String>,
    verity_bottom_up: Vec<String>,
    diff_ids_bottom_up: Option<Vec<String>>,
    #[serde(default)]
    seen_in: Vec<String>,
    #[serde(default)]
    observed: BTreeMap<String, Observed>,
}

/// What samples of one set show of an image.
#[derive(Deserialize)]
struct Observed {
    #[serde(default)]
    env: Vec<Vec<String>>,
    #[serde(default)]
    cwd: Vec<String>,
    #[serde(default)]
    uid: Vec<u32>,
    #[serde(default)]
    gid: Vec<u32>,
    /// Where a sample gives arguments and no command.
    #[serde(default)]
    entrypoint: Vec<Vec<String>>,
    /// Where a sample gives neither.
    #[serde(default)]
    entrypoint_plus_cmd: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct CachedLayer {
    diff_id: String,
    passwd: Option<String>,
    group: Option<String>,
}

#[derive(Deserialize)]
struct TestImage {
    config: TestConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TestConfig {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    volumes: Option<Vec<String>>,
    #[serde(rename = "passwd")]
    passwd: Option<String>,
    #[serde(rename = "group")]
    group: Option<String>,
}

/// Volumes that an image declares. The data set has none, as the older generator did not look at
/// them; this one's Dockerfile says `VOLUME ["/$CASSANDRA_DATA"]`.
const DECLARED_VOLUMES: [(&str, &str); 1] =
    [("gcr.io/google-samples/cassandra:v13", "/cassandra_data")];

/// Whose view of the images to take, where samples saw different things.
#[derive(Clone, Copy, Default)]
pub(crate) struct View<'a> {
    /// A set of samples, such as `aks-3.2.0.azl3.genpolicy3`.
    pub(crate) set: Option<&'a str>,
    /// A sample of it, such as `pod/pod-exec.yaml`.
    pub(crate) sample: Option<&'a str>,
}

/// The lock file for samples. An image that was seen in several versions is taken in the one that
/// this sample saw, else this set, else the first.
pub(crate) fn lock(images: &Path, view: View<'_>) -> ImageLock {
    let read = |name: &str| std::fs::read_to_string(images.join(name)).expect("images are there");
    let mut lock = ImageLock::default();
    let cached: Vec<CachedLayer> =
        serde_json::from_str(&read("layers-cache.json")).expect("layers-cache.json parses");
    let tests: BTreeMap<String, TestImage> =
        serde_json::from_str(&read("upstream-test-images.json")).expect("test images parse");
    for (reference, image) in tests {
        lock.insert(reference, of_tests(image.config));
    }
    let found: BTreeMap<String, Image> =
        serde_json::from_str(&read("images.json")).expect("images.json parses");
    let seen = view.set.zip(view.sample);
    let seen = seen.map(|(set, sample)| format!("{set}:{sample}"));
    for (reference, image) in found {
        let versions = || image.versions.values();
        let version = versions()
            .find(|version| {
                seen.as_ref()
                    .is_some_and(|seen| version.seen_in.contains(seen))
            })
            .or_else(|| {
                let set = view.set?;
                versions().find(|version| version.observed.contains_key(set))
            })
            .or_else(|| versions().next())
            .expect("an image has a version");
        let facts = facts(&reference, version, &cached);
        lock.insert(reference, facts);
    }
    lock
}

fn facts(reference: &str, version: &Version, cached: &[CachedLayer]) -> ImageFacts {
    let layers = version.layer_names_bottom_up.iter().enumerate();
    let layers = layers.map(|(index, name)| {
        let mut layer = LayerFacts::default();
        layer.name = Some(name.clone());
        layer.verity = version.verity_bottom_up.get(index).cloned();
        let diff_ids = version.diff_ids_bottom_up.as_ref();
        layer.diff_id = diff_ids.and_then(|ids| ids.get(index)).cloned();
        layer
    });
    let mut facts = ImageFacts::default();
    facts.layers = layers.collect();
    facts.platform = Some("linux/amd64".to_owned());
    for layer in &facts.layers {
        let entry = cached
            .iter()
            .find(|entry| Some(&entry.diff_id) == layer.diff_id.as_ref());
        // The topmost layer that has the file counts.
        let filled = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
        if let Some(passwd) = entry.and_then(|entry| filled(entry.passwd.as_ref())) {
            facts.passwd = Some(passwd);
        }
        if let Some(group) = entry.and_then(|entry| filled(entry.group.as_ref())) {
            facts.group = Some(group);
        }
    }
    if let Some(observed) = version.observed.values().next() {
        facts.config = config(observed);
    }
    set_user(&mut facts, version);
    let declared = DECLARED_VOLUMES
        .iter()
        .filter(|(image, _)| *image == reference);
    facts.config.volumes = declared.map(|(_, path)| (*path).to_owned()).collect();
    facts
}

/// Sets the user that the image says. Where samples say whom to run as, it does not show.
fn set_user(facts: &mut ImageFacts, version: &Version) {
    let ids = version.observed.values();
    let mut ids = ids.map(|seen| (seen.uid.first().copied(), seen.gid.first().copied()));
    let (uid, gid) = ids.next().unwrap_or_default();
    let other = ids.find(|(_, other)| *other != gid);
    facts.config.user = match (uid, gid) {
        // The older generator knows numbers alone, the newer one looks names up in the image: a group
        // that only this one saw is that of a user with a name.
        _ if other.is_some() => {
            let (_, other) = other.unwrap_or_default();
            let id = gid.max(other).unwrap_or_default();
            let passwd = facts.passwd.get_or_insert_default();
            passwd.push_str(&format!("image-user:x:{id}:{id}::/:/bin/false\n"));
            Some("image-user".to_owned())
        }
        (None, None) => None,
        (Some(uid), Some(gid)) => Some(format!("{uid}:{gid}")),
        (Some(uid), None) => Some(uid.to_string()),
        (None, Some(gid)) => Some(format!("{gid}:{gid}")),
    };
}

fn config(observed: &Observed) -> ImageConfig {
    let mut config = ImageConfig::default();
    config.env = observed.env.first().cloned();
    config.working_dir = observed.cwd.first().cloned();
    let all = observed.entrypoint_plus_cmd.first();
    match (observed.entrypoint.first(), all) {
        (Some(entrypoint), Some(all)) => {
            let rest = all.strip_prefix(&**entrypoint).unwrap_or(all);
            config.entrypoint = Some(entrypoint.clone());
            config.cmd = Some(rest.to_vec());
        }
        (Some(entrypoint), None) => config.entrypoint = Some(entrypoint.clone()),
        (None, all) => config.entrypoint = all.cloned(),
    }
    config
}

fn of_tests(config: TestConfig) -> ImageFacts {
    let mut facts = ImageFacts::default();
    facts.passwd = config.passwd;
    facts.group = config.group;
    facts.config.user = config.user.filter(|user| !user.is_empty());
    facts.config.env = config.env;
    facts.config.entrypoint = config.entrypoint;
    facts.config.cmd = config.cmd;
    facts.config.working_dir = config.working_dir;
    facts.config.volumes = config.volumes.unwrap_or_default();
    // Nothing is known of the layers of these images, and no request case depends on them.
    let mut layer = LayerFacts::default();
    layer.name = Some("0".repeat(64));
    layer.verity = Some("0".repeat(64));
    facts.layers = vec![layer];
    facts
}
