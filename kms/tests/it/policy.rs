//! `kms policy`: policies of confidential pods (R61, R68).

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::command::{Ran, kms, kms_with_input};

const RULES: &str = "package agent_policy\n\ndefault CreateContainerRequest := false\n";

/// A directory with a pod and what its policy is made from.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        for name in ["pod.yaml", "settings.json", "images.lock.json"] {
            let data = Path::new("../kms-policy/tests/data").join(name);
            fs::write(desk.path(name), fs::read(data).unwrap()).unwrap();
        }
        fs::write(desk.path("rules.rego"), RULES).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs a subcommand with arguments in which `@` is the directory.
    fn run(&self, arguments: &str) -> Ran {
        self.run_with_input(arguments, "")
    }

    fn run_with_input(&self, arguments: &str, input: &str) -> Ran {
        let directory = self.0.path().to_str().unwrap();
        let arguments: Vec<String> = arguments
            .split(' ')
            .map(|argument| argument.replace('@', directory))
            .collect();
        let mut all = vec!["policy"];
        all.extend(arguments.iter().map(|argument| &**argument));
        if input.is_empty() {
            kms(&all)
        } else {
            kms_with_input(&all, input.as_bytes())
        }
    }
}

const FROM: &str = "-j @/settings.json --images @/images.lock.json";
const WITH_RULES: &str = "-j @/settings.json --images @/images.lock.json -p @/rules.rego";

fn sha256_hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn r68_the_pipeline_gives_the_hash_that_hash_prints() {
    let desk = Desk::new();
    let hash = desk.run(&format!("hash -y @/pod.yaml {WITH_RULES}")).ok();
    // kms policy generate … --print-policy | base64 -d | sha256sum
    let generate = desk
        .run(&format!(
            "generate -y @/pod.yaml {WITH_RULES} --print-policy"
        ))
        .ok();
    let encoded = generate.text().strip_suffix('\n').unwrap();
    let policy = STANDARD.decode(encoded).unwrap();
    assert_eq!(hash.text(), format!("{}\n", sha256_hex(&policy)));
    // The manifest holds it now, and its policy is still the same.
    assert!(desk.read("pod.yaml").contains(encoded));
    let again = desk.run(&format!("hash -y @/pod.yaml {WITH_RULES}")).ok();
    assert_eq!(again.text(), hash.text());
    let json = desk
        .run(&format!("hash -y @/pod.yaml {WITH_RULES} --json"))
        .ok()
        .json();
    assert_eq!(json["policies"][0]["workload"], "Pod/shop.v2");
    assert_eq!(json["policies"][0]["host_data"], hash.text().trim());
}

#[test]
fn r61_only_the_annotation_changes_in_the_file() {
    let desk = Desk::new();
    let before = desk.read("pod.yaml");
    let ran = desk
        .run(&format!("generate -y @/pod.yaml {WITH_RULES}"))
        .ok();
    assert!(ran.stdout.is_empty());
    assert!(ran.stderr.contains("Pod/shop.v2: host data "), "{ran:?}");
    let after = desk.read("pod.yaml");
    let mut old = before.lines();
    let added: Vec<_> = after
        .lines()
        .filter(|line| {
            let mut rest = old.clone();
            let is_old = rest.next() == Some(*line);
            if is_old {
                old = rest;
            }
            !is_old
        })
        .collect();
    assert_eq!(old.next(), None);
    assert_eq!(added[0], "  annotations:");
    assert!(added[1].starts_with("    io.katacontainers.config.agent.policy: "));
    assert_eq!(added.len(), 2);
}

#[test]
fn standard_input_goes_to_standard_output() {
    let desk = Desk::new();
    let pod = desk.read("pod.yaml");
    let piped = desk
        .run_with_input(&format!("generate {WITH_RULES}"), &pod)
        .ok();
    desk.run(&format!("generate -y @/pod.yaml {WITH_RULES}"))
        .ok();
    assert_eq!(piped.text(), desk.read("pod.yaml"));
    // Only what is asked for is printed.
    let printed = desk
        .run_with_input(&format!("generate {WITH_RULES} --base64-out"), &pod)
        .ok();
    assert_eq!(printed.text().lines().count(), 1);
}

#[test]
fn without_rules_a_policy_has_our_own() {
    let desk = Desk::new();
    let raw = desk
        .run(&format!("generate -y @/pod.yaml {FROM} --raw-out"))
        .ok();
    let rules = kms_policy::rules::Rules::built_in(kms_policy::generate::Profile::AksAzl3);
    let data = desk.run(&format!("data -y @/pod.yaml {FROM}")).ok();
    let expected = format!("{}\npolicy_data := {}", rules.text(), data.text());
    assert_eq!(raw.text(), expected);
    let hash = desk.run(&format!("hash -y @/pod.yaml {FROM}")).ok();
    assert_eq!(hash.text().trim(), sha256_hex(expected.as_bytes()));
}

#[test]
fn r61_the_data_is_what_it_was() {
    let desk = Desk::new();
    let data = desk.run(&format!("data -y @/pod.yaml {FROM}")).ok();
    let golden = include_str!("../../../kms-policy/tests/data/pod.policy_data.json");
    assert_eq!(data.text(), golden);
}

#[test]
fn raw_out_is_rules_and_data_and_no_more() {
    let desk = Desk::new();
    let raw = desk
        .run(&format!("generate -y @/pod.yaml {WITH_RULES} --raw-out"))
        .ok();
    let data = desk.run(&format!("data -y @/pod.yaml {FROM}")).ok();
    assert_eq!(
        raw.text(),
        format!("{RULES}\npolicy_data := {}", data.text())
    );
    assert!(data.text().starts_with("{\n  \"containers\": ["));
    assert!(data.text().ends_with('}'));
}

#[test]
fn policies_of_several_workloads_are_never_joined() {
    let desk = Desk::new();
    let pod = desk.read("pod.yaml");
    let (_, pod_alone) = pod.split_once("---\n").unwrap();
    fs::write(
        desk.path("two.yaml"),
        format!("{pod}---\n{}", pod_alone.replace("shop.v2", "other")),
    )
    .unwrap();
    let before = desk.read("two.yaml");
    for printing in ["--print-policy", "--base64-out", "--raw-out"] {
        let ran = desk.run(&format!("generate -y @/two.yaml {WITH_RULES} {printing}"));
        let ran = ran.refused();
        assert!(ran.stderr.contains("Pod/shop.v2 and Pod/other"), "{ran:?}");
        assert!(ran.stderr.contains("kms policy hash"), "{ran:?}");
        assert_eq!(desk.read("two.yaml"), before);
    }
    desk.run(&format!("data -y @/two.yaml {FROM}")).refused();
    let hashes = desk.run(&format!("hash -y @/two.yaml {WITH_RULES}")).ok();
    let hashes: Vec<_> = hashes.text().lines().collect();
    assert_eq!(hashes.len(), 2);
    assert!(hashes.iter().all(|hash| hash.len() == 64));
    assert_ne!(hashes[0], hashes[1]);
    desk.run(&format!("generate -y @/two.yaml {WITH_RULES}"))
        .ok();
    assert_eq!(desk.read("two.yaml").matches("agent.policy: ").count(), 2);
}

#[test]
fn only_pods_of_the_runtime_class_that_is_asked_for_get_a_policy() {
    let desk = Desk::new();
    let before = desk.read("pod.yaml");
    let arguments = format!("generate -y @/pod.yaml {WITH_RULES} --runtime-class-names");
    let ran = desk.run(&format!("{arguments} other")).ok();
    assert!(ran.stderr.contains("nothing in the manifest gets a policy"));
    assert_eq!(desk.read("pod.yaml"), before);
    desk.run(&format!("{arguments} other --print-policy"))
        .refused();
    desk.run(&format!("{arguments} other --runtime-class-names kata"))
        .ok();
    assert_ne!(desk.read("pod.yaml"), before);
}

#[test]
fn variables_come_from_files_beside_the_manifest() {
    let desk = Desk::new();
    let pod = desk.read("pod.yaml");
    let (secret, pod_alone) = pod.split_once("---\n").unwrap();
    let whole = desk.run(&format!("data -y @/pod.yaml {FROM}")).ok();
    fs::write(desk.path("pod.yaml"), pod_alone).unwrap();
    fs::write(desk.path("secret.yaml"), secret).unwrap();
    let ran = desk.run(&format!("data -y @/pod.yaml {FROM}")).refused();
    assert!(ran.stderr.contains("--config-file"), "{ran:?}");
    let parts = desk
        .run(&format!("data -y @/pod.yaml {FROM} -c @/secret.yaml"))
        .ok();
    assert_eq!(parts.text(), whole.text());
}

#[test]
fn what_stands_in_the_way_is_named_and_nothing_is_written() {
    let desk = Desk::new();
    let pod = desk.read("pod.yaml");
    let with_field = pod.replace("      command: [/serve]\n", "      turbo: true\n");
    fs::write(desk.path("pod.yaml"), &with_field).unwrap();
    let ran = desk
        .run(&format!("generate -y @/pod.yaml {WITH_RULES}"))
        .refused();
    assert!(ran.stderr.contains("spec.containers[0].turbo"), "{ran:?}");
    assert_eq!(desk.read("pod.yaml"), with_field);
    let ran = desk
        .run(&format!("generate -s -y @/pod.yaml {WITH_RULES}"))
        .ok();
    assert!(ran.stderr.contains("spec.containers[0].turbo"), "{ran:?}");
    fs::remove_file(desk.path("images.lock.json")).unwrap();
    let ran = desk.run(&format!("data -y @/pod.yaml {FROM}")).refused();
    assert!(ran.stderr.contains("kms policy images lock"), "{ran:?}");
}

#[test]
fn initdata_hold_the_policy_and_have_a_digest_for_each_hardware() {
    let desk = Desk::new();
    fs::write(desk.path("cdh.toml"), "socket = 'x'\n").unwrap();
    let arguments =
        "-y @/pod.yaml --images @/images.lock.json -p @/rules.rego --profile kata".to_owned();
    // The guest pulls images there, so that users are spelled out.
    let pod = desk.read("pod.yaml").replace(
        "    runAsUser: 1000\n",
        "    runAsUser: 1000\n    runAsGroup: 1000\n",
    );
    fs::write(desk.path("pod.yaml"), pod).unwrap();
    let toml = desk
        .run(&format!("initdata {arguments} --entry cdh.toml=@/cdh.toml"))
        .ok();
    assert!(toml.text().starts_with(
        "version = \"0.1.0\"\nalgorithm = \"sha256\"\n\n[data]\n\"cdh.toml\" = '''\n"
    ));
    let digest = sha256_hex(toml.text().as_bytes());
    let json = desk
        .run(&format!(
            "initdata {arguments} --entry cdh.toml=@/cdh.toml --json"
        ))
        .ok()
        .json();
    assert_eq!(json["digests"]["snp"], digest);
    assert_eq!(
        json["digests"]["tdx"],
        format!("{digest}{}", "0".repeat(32))
    );
    let hash = desk
        .run(&format!("hash {arguments} --entry cdh.toml=@/cdh.toml"))
        .ok();
    assert_eq!(hash.text(), format!("{digest}\n"));
    desk.run(&format!("generate {arguments} --entry cdh.toml=@/cdh.toml"))
        .ok();
    let annotation = json["annotation"].as_str().unwrap();
    let expected = format!("    io.katacontainers.config.hypervisor.cc_init_data: {annotation}\n");
    assert!(desk.read("pod.yaml").contains(&expected));
    // Neither a second entry of a name nor another policy is dropped without a word.
    for entries in [
        "--entry cdh.toml=@/cdh.toml --entry cdh.toml=@/cdh.toml",
        "--entry policy.rego=@/cdh.toml",
    ] {
        let ran = desk.run(&format!("initdata {arguments} {entries}"));
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
    // Another agent has none.
    let ran = desk.run(&format!(
        "hash -y @/pod.yaml {WITH_RULES} --entry a=@/cdh.toml"
    ));
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn a_disk_that_is_mounted_in_two_places_is_told() {
    let desk = Desk::new();
    let mounts = |twice: &str| {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  securityContext: {runAsUser: 1000}\n  volumes: [{name: scratch, emptyDir: {}}, {name: other, emptyDir: {}}]\n  containers:\n    - name: web\n      image: registry.example/web:1\n      volumeMounts: [{name: scratch, mountPath: /a}, {name: TWICE, mountPath: /b}]\n";
        fs::write(desk.path("pod.yaml"), pod.replace("TWICE", twice)).unwrap();
        let ran = desk.run("generate -y @/pod.yaml --images @/images.lock.json --profile kata");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stderr
    };
    let told = mounts("scratch");
    assert!(
        told.contains("web: the volume `scratch` is a disk"),
        "{told}"
    );
    let told = mounts("other");
    assert!(!told.contains("is a disk"), "{told}");
}

/// The generator of this profile takes a name for root, and so must a policy of the same bytes; but
/// whoever makes it is told.
#[test]
fn an_image_whose_user_has_a_name_is_told() {
    let desk = Desk::new();
    let pod = desk
        .read("pod.yaml")
        .replace("    runAsUser: 1000\n", "    fsGroup: 1\n");
    fs::write(desk.path("pod.yaml"), &pod).unwrap();
    let mut images: serde_json::Value =
        serde_json::from_str(&desk.read("images.lock.json")).unwrap();
    images["images"]["registry.example/web:1"]["config"]["user"] = "web:web".into();
    fs::write(desk.path("images.lock.json"), images.to_string()).unwrap();
    let ran = desk.run(&format!("generate -y @/pod.yaml {FROM}"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("names its user `web`"), "{ran:?}");
    fs::write(
        desk.path("pod.yaml"),
        pod.replace("fsGroup: 1\n", "runAsUser: 1000\n"),
    )
    .unwrap();
    let ran = desk.run(&format!("generate -y @/pod.yaml {FROM}"));
    assert!(!ran.stderr.contains("names its user"), "{ran:?}");
}
