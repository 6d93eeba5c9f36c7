//! Policies of inputs of our own.

use kms_policy::generate::{Generator, Inputs, Profile};
use kms_policy::image::ImageLock;
use kms_policy::manifest::{Manifest, ManifestOptions};
use kms_policy::rules::Rules;
use kms_policy::settings::Settings;
use kms_policy::{Error, ErrorKind, Policy};
use proptest::prelude::*;
use serde_json::{Value, json};

const SETTINGS: &str = include_str!("data/settings.json");
const IMAGES: &str = include_str!("data/images.lock.json");
const POD: &str = include_str!("data/pod.yaml");

fn data_of(yaml: &str, profile: Profile) -> Result<Vec<Value>, Error> {
    let texts = texts_of(&Settings::parse(SETTINGS)?, yaml, profile)?;
    Ok(texts.iter().map(|text| parsed(text)).collect())
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn texts_of(settings: &Settings, yaml: &str, profile: Profile) -> Result<Vec<String>, Error> {
    let images = ImageLock::parse(IMAGES)?;
    let manifest = Manifest::parse(yaml, &ManifestOptions::default())?;
    let mut inputs = Inputs::default();
    inputs.add(&manifest);
    let generator = Generator::new(profile, settings, &images).with_inputs(inputs);
    manifest
        .workloads()
        .map(|workload| generator.policy_data(workload)?.to_text())
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

/// A pod with much in it, and what it refers to. JSON is YAML.
fn documents(containers: &[Value]) -> [Value; 2] {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "credentials"},
        "data": {"token": "czNjcmV0", "user": "cm9vdA=="},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "shop", "labels": {"team": "a", "tier": "b"}},
        "spec": {
            "runtimeClassName": "kata-cc",
            "securityContext": {"runAsUser": 1000, "runAsGroup": 3000},
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "containers": containers,
        },
    });
    [secret, pod]
}

fn shop() -> Value {
    json!({
        "name": "shop", "image": "registry.example/web:1", "command": ["/serve"], "args": ["--fast"],
        "env": [
            {"name": "GREETING", "value": "hello"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "credentials", "key": "token"}}},
        ],
        "securityContext": {
            "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        },
        "livenessProbe": {"exec": {"command": ["/check", "--fast"]}, "periodSeconds": 3},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp/scratch"}],
    })
}

/// Writes keys in the order that the numbers say, over and over.
fn write(value: &Value, order: &mut impl Iterator<Item = usize>, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut left: Vec<_> = fields.iter().collect();
            out.push('{');
            while !left.is_empty() {
                let (key, value) = left.remove(order.next().unwrap() % left.len());
                out.push_str(&json!(key).to_string());
                out.push_str(": ");
                write(value, order, out);
                out.push_str(if left.is_empty() { "" } else { ", " });
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write(item, order, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// What is made of these by the built-in settings.
fn made(documents: &[Value], order: &[usize], profile: Profile) -> String {
    let settings = Settings::built_in(profile).unwrap();
    let text = text_of(documents, order);
    texts_of(&settings, &text, profile).unwrap().remove(0)
}

fn text_of(documents: &[Value], order: &[usize]) -> String {
    let mut order = order.iter().copied().cycle();
    let mut out = String::new();
    for document in documents {
        write(document, &mut order, &mut out);
        out.push_str("\n---\n");
    }
    out
}

fn container() -> impl Strategy<Value = Value> {
    let words = || proptest::collection::vec("[a-z/$()-]{1,8}", 0..4);
    let env = proptest::collection::btree_map("[A-Z]{1,6}", "[ -~]{0,8}", 0..4);
    let name = "[a-rt-z][a-z0-9]{2,8}";
    (name, words(), words(), env, any::<bool>(), 0_u32..5_000).prop_map(
        |(name, command, args, env, is_read_only, user)| {
            let env: Vec<_> = env
                .iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect();
            json!({
                "name": name, "image": "registry.example/web:1", "command": command, "args": args,
                "env": env,
                "securityContext": {"readOnlyRootFilesystem": is_read_only, "runAsUser": user},
            })
        },
    )
}

const PROFILES: [Profile; 3] = [Profile::AksAzl3, Profile::Aks3_15, Profile::Kata];

proptest! {
    #[test]
    fn the_order_of_keys_does_not_matter(
        order in proptest::collection::vec(0_usize..64, 1..40),
        other in container(),
        profile in proptest::sample::select(PROFILES.to_vec()),
    ) {
        let documents = documents(&[shop(), other]);
        prop_assert_eq!(
            made(&documents, &order, profile),
            made(&documents, &[0], profile)
        );
    }

    #[test]
    fn a_further_container_changes_its_own_part_alone(
        further in container(),
        place in 0_usize..3,
        second in container(),
        profile in proptest::sample::select(PROFILES.to_vec()),
    ) {
        prop_assume!(further["name"] != second["name"]);
        let mut containers = vec![shop(), second];
        let before = parsed(&made(&documents(&containers), &[0], profile));
        containers.insert(place, further);
        let mut after = parsed(&made(&documents(&containers), &[0], profile));
        // The pause container stands before all others.
        let added = after["containers"].as_array_mut().unwrap().remove(place + 1);
        prop_assert_eq!(before, after);
        prop_assert!(added.to_string().contains(containers[place]["name"].as_str().unwrap()));
    }

    #[test]
    fn generation_is_deterministic(
        further in container(),
        profile in proptest::sample::select(PROFILES.to_vec()),
    ) {
        let documents = documents(&[shop(), further]);
        prop_assert_eq!(made(&documents, &[0], profile), made(&documents, &[0], profile));
    }

    #[test]
    fn no_manifest_makes_it_panic(cut in 0..POD.len(), at in 0..POD.len(), byte: u8) {
        let mut bytes = POD.as_bytes()[..cut].to_vec();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let _ = data_of(&String::from_utf8_lossy(&bytes), Profile::Aks3_15);
    }
}
