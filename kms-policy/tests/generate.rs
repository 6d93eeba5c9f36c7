//! Policies of inputs of our own.

use kms_policy::generate::{Generator, Inputs, Profile};
use kms_policy::image::ImageLock;
use kms_policy::manifest::{Manifest, ManifestOptions};
use kms_policy::rules::Rules;
use kms_policy::settings::Settings;
use kms_policy::{Error, ErrorKind, Policy};
use proptest::prelude::*;
use serde_json::Value;

const SETTINGS: &str = include_str!("data/settings.json");
const IMAGES: &str = include_str!("data/images.lock.json");
const POD: &str = include_str!("data/pod.yaml");

fn data_of(yaml: &str, profile: Profile) -> Result<Vec<Value>, Error> {
    let settings = Settings::parse(SETTINGS)?;
    let images = ImageLock::parse(IMAGES)?;
    let manifest = Manifest::parse(yaml, &ManifestOptions::default())?;
    let mut inputs = Inputs::default();
    inputs.add(&manifest);
    let generator = Generator::new(profile, &settings, &images).with_inputs(inputs);
    manifest
        .workloads()
        .map(|workload| {
            let text = generator.policy_data(workload)?.to_text()?;
            Ok(serde_json::from_str(&text).expect("JSON"))
        })
        .collect()
}

fn pod(profile: Profile) -> Value {
    data_of(POD, profile).unwrap().remove(0)
}

#[test]
fn r61_a_container_may_run_what_its_manifest_says_and_no_more() {
    let data = pod(Profile::AksAzl3);
    let web = &data["containers"][2];
    let process = &web["OCI"]["Process"];
    assert_eq!(
        process["Args"],
        serde_json::json!(["/serve", "--name", "team-a"])
    );
    let env = process["Env"].as_array().unwrap();
    for expected in [
        "PATH=/bin",
        "HOSTNAME=$(host-name)",
        "GREETING=hello",
        "TOKEN=s3cret",
        "NODE=$(node-name)",
        "TEAM=team-a",
    ] {
        assert!(
            env.iter().any(|variable| variable == expected),
            "{expected}"
        );
    }
    assert_eq!(process["User"]["UID"], 1000);
    assert_eq!(process["Cwd"], "/srv");
    assert_eq!(process["NoNewPrivileges"], true);
    assert_eq!(
        process["Capabilities"]["Bounding"],
        serde_json::json!(["CAP_NET_BIND_SERVICE"])
    );
    assert_eq!(web["exec_commands"], serde_json::json!(["/check --fast"]));
    assert_eq!(web["OCI"]["Root"]["Readonly"], true);
}

#[test]
fn layers_are_proved_from_the_topmost_down() {
    let data = pod(Profile::AksAzl3);
    let storages = data["containers"][2]["storages"].as_array().unwrap();
    let overlay = storages
        .iter()
        .find(|it| it["driver"] == "overlayfs")
        .unwrap();
    assert_eq!(
        overlay["options"],
        serde_json::json!([
            format!("{}:{}", "22".repeat(32), "11".repeat(32)),
            format!("{}:{}", "bb".repeat(32), "aa".repeat(32)),
        ])
    );
}

#[test]
fn init_containers_stand_behind_the_pause_container() {
    let data = pod(Profile::AksAzl3);
    let name = |index: usize| {
        data["containers"][index]["OCI"]["Annotations"]["io.kubernetes.cri.container-name"].clone()
    };
    assert_eq!(
        [name(0), name(1), name(2)],
        [Value::Null, "prepare".into(), "web".into()]
    );
}

#[test]
fn profiles_write_names_and_commands_in_their_own_way() {
    let old = pod(Profile::AksAzl3);
    let new = pod(Profile::Aks3_15);
    let name = |data: &Value| {
        data["containers"][0]["OCI"]["Annotations"]["io.kubernetes.cri.sandbox-name"].clone()
    };
    assert_eq!(name(&old), "shop.v2");
    assert_eq!(name(&new), r"^shop\.v2$");
    let commands = &new["containers"][2]["exec_commands"];
    assert_eq!(*commands, serde_json::json!([["/check", "--fast"]]));
    assert_eq!(new["containers"][2]["env_map"]["GREETING"], "hello");
    assert_eq!(old["containers"][2].get("env_map"), None);
}

#[test]
fn what_a_policy_cannot_speak_about_is_refused_with_its_path() {
    for (from, to, kind, path) in [
        (
            "command: [/serve]",
            "command: [/serve]\n      turbo: true",
            ErrorKind::Unsupported,
            "spec.containers[0].turbo",
        ),
        ("kind: Pod", "kind: Gadget", ErrorKind::Unsupported, "kind"),
        (
            "image: registry.example/web:1",
            "image: registry.example/other:1",
            ErrorKind::Image,
            "",
        ),
        (
            "value: hello",
            "value: 5",
            ErrorKind::Manifest,
            "spec.containers[0].env[0].value",
        ),
        (
            "emptyDir: {}",
            "nfs: {server: a, path: b}",
            ErrorKind::Unsupported,
            "spec.volumes[0].nfs",
        ),
        (
            "name: scratch, mountPath",
            "name: lost, mountPath",
            ErrorKind::Manifest,
            "web.volumeMounts",
        ),
        (
            "key: token",
            "key: lost",
            ErrorKind::Manifest,
            "spec.containers[0].env[1]",
        ),
    ] {
        let yaml = POD.replacen(from, to, 1);
        assert_ne!(yaml, POD, "{from}");
        let error = data_of(&yaml, Profile::AksAzl3).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.path().unwrap_or_default().ends_with(path), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"));
    }
}

#[test]
fn r68_the_hash_is_over_rules_and_data_without_a_line_feed_at_the_end() {
    let settings = Settings::parse(SETTINGS).unwrap();
    let images = ImageLock::parse(IMAGES).unwrap();
    let manifest = Manifest::parse(POD, &ManifestOptions::default()).unwrap();
    let mut inputs = Inputs::default();
    inputs.add(&manifest);
    let generator = Generator::new(Profile::AksAzl3, &settings, &images).with_inputs(inputs);
    let data = generator
        .policy_data(manifest.workloads().next().unwrap())
        .unwrap();
    let rules = Rules::parse("package agent_policy\n").unwrap();
    let policy = Policy::assemble(&rules, &data).unwrap();
    let expected = format!(
        "package agent_policy\n\npolicy_data := {}",
        data.to_text().unwrap()
    );
    assert_eq!(policy.text(), expected);
    assert!(policy.text().ends_with('}'));
    assert_eq!(
        Policy::from_base64(&policy.to_base64())
            .unwrap()
            .sha256_hex(),
        policy.sha256_hex()
    );
}

#[test]
fn the_bytes_are_what_they_were() {
    let golden = include_str!("data/pod.policy_data.json");
    let settings = Settings::parse(SETTINGS).unwrap();
    let images = ImageLock::parse(IMAGES).unwrap();
    let manifest = Manifest::parse(POD, &ManifestOptions::default()).unwrap();
    let mut inputs = Inputs::default();
    inputs.add(&manifest);
    let generator = Generator::new(Profile::AksAzl3, &settings, &images).with_inputs(inputs);
    let data = generator
        .policy_data(manifest.workloads().next().unwrap())
        .unwrap();
    assert_eq!(data.to_text().unwrap(), golden);
}

#[test]
fn the_order_of_keys_does_not_matter() {
    let turned = POD.replace(
        "      command: [/serve]\n      args: [--name, $(TEAM)]\n",
        "      args: [--name, $(TEAM)]\n      command: [/serve]\n",
    );
    assert_ne!(turned, POD);
    assert_eq!(
        data_of(&turned, Profile::AksAzl3).unwrap(),
        data_of(POD, Profile::AksAzl3).unwrap()
    );
}

#[test]
fn a_further_container_changes_its_own_part_alone() {
    let more = format!("{POD}    - name: side\n      image: registry.example/web:1\n");
    let (before, after) = (
        pod(Profile::Aks3_15),
        data_of(&more, Profile::Aks3_15).unwrap().remove(0),
    );
    let containers = |data: &Value| data["containers"].as_array().unwrap().clone();
    assert_eq!(containers(&before)[..], containers(&after)[..3]);
    assert_eq!(containers(&after).len(), 4);
    assert_eq!(before["common"], after["common"]);
}

proptest! {
    #[test]
    fn no_manifest_makes_it_panic(cut in 0..POD.len(), at in 0..POD.len(), byte: u8) {
        let mut bytes = POD.as_bytes()[..cut].to_vec();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let _ = data_of(&String::from_utf8_lossy(&bytes), Profile::Aks3_15);
    }
}
