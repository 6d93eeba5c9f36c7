//! `kms decrypt` without a plugin.

use crate::command::kms_with_input;
use crate::inspect::KMS_V2;

const ETCD_KEY: &str = "/registry/secrets/default/demo";
/// `k8s\0hello` in the formats of old, as in the frozen vectors of `kms-envelope`: key 00..1f.
const AES_GCM: &str = "6b38733a656e633a61657367636d3a76313a6b6579313a404142434445464748494a4b8981dd234e59eb6fa2680b879b4caac32f710b908d9774722e";
const SECRETBOX: &str = "6b38733a656e633a736563726574626f783a76313a6b6579313a606162636465666768696a6b6c6d6e6f7071727374757677073f0bb60e5346d038a7ce27c0489222f8f6d8d4b7338c4b9e";
const KEY_BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct Config {
    _directory: tempfile::TempDir,
    path: String,
}

impl Config {
    fn new(resources: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory
            .path()
            .join("config.yaml")
            .to_str()
            .unwrap()
            .to_owned();
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n{resources}"
        );
        std::fs::write(&path, text).unwrap();
        Self {
            _directory: directory,
            path,
        }
    }

    fn local() -> Self {
        Self::new(&format!(
            "  - resources: [secrets]
    providers:
      - aesgcm: {{keys: [{{name: key1, secret: {KEY_BASE64}}}]}}
      - secretbox: {{keys: [{{name: key1, secret: {KEY_BASE64}}}]}}
      - kms: {{apiVersion: v2, name: absent, endpoint: \"unix:///nonexistent/kms.sock\"}}
      - identity: {{}}
  - resources: [configmaps]
    providers: [identity: {{}}]
"
        ))
    }

    fn decrypt(&self, etcd_key: &str, hex: &str, more: &[&str]) -> crate::command::Ran {
        let arguments = [
            "decrypt",
            "--encryption-config",
            &self.path,
            "--etcd-key",
            etcd_key,
        ];
        kms_with_input(
            &[&arguments[..], &["--encoding", "hex"], more].concat(),
            hex.as_bytes(),
        )
    }
}

/// The KMS in the list is not there, and is not asked either.
#[test]
fn local_keys_need_no_plugin() {
    let config = Config::local();
    assert_eq!(
        config.decrypt(ETCD_KEY, AES_GCM, &[]).ok().stdout,
        b"k8s\0hello"
    );
    let opened = config.decrypt(ETCD_KEY, SECRETBOX, &["--json"]).ok().json();
    assert_eq!(opened["plaintext_base64"], "azhzAGhlbGxv");
    assert_eq!(opened["stale"], true, "secretbox is not first");
    assert_eq!(opened["provider"], "secretbox");
    assert_eq!(opened["key_id"], serde_json::Value::Null);
}

#[test]
fn a_value_that_was_moved_or_changed_is_refused() {
    let config = Config::local();
    let moved = config
        .decrypt("/registry/secrets/default/other", AES_GCM, &[])
        .refused();
    assert!(moved.stderr.contains("etcd key"), "{moved:?}");
    let error = config.decrypt("/registry/secrets/default/other", AES_GCM, &["--json"]);
    assert_eq!(error.code, Some(1));
    assert_eq!(error.error_json()["error"]["kind"], "crypto");
    assert!(error.error_json()["error"]["message"].is_string());
    // A trailing line feed, as etcdctl appends one.
    let hint = config
        .decrypt(ETCD_KEY, &format!("{AES_GCM}0a"), &[])
        .refused();
    assert!(hint.stderr.contains("line feed"), "{hint:?}");
}

#[test]
fn the_resource_chooses_the_providers() {
    let config = Config::local();
    let wrong = config.decrypt("/registry/configmaps/default/demo", AES_GCM, &["--json"]);
    assert_eq!(wrong.error_json()["error"]["kind"], "no_matching_provider");
    let unknown = config
        .decrypt("/registry/leases/default/demo", AES_GCM, &[])
        .refused();
    assert!(unknown.stderr.contains("leases"), "{unknown:?}");
    let elsewhere = config
        .decrypt("/other/secrets/default/demo", AES_GCM, &[])
        .refused();
    assert!(elsewhere.stderr.contains("--etcd-prefix"), "{elsewhere:?}");
    // Named, but still bound to another etcd key.
    config
        .decrypt(
            "/other/secrets/default/demo",
            AES_GCM,
            &["--resource", "secrets"],
        )
        .refused();
}

#[test]
fn a_bad_configuration_is_named_without_its_secrets() {
    let config = Config::new(
        "  - resources: [secrets]\n    providers:\n      - aesgcm: {keys: [{name: key1, secret: aHVudGVyMg==}]}\n",
    );
    let ran = config.decrypt(ETCD_KEY, AES_GCM, &[]).refused();
    assert!(
        ran.stderr.contains("resources[0].providers[0].aesgcm"),
        "{ran:?}"
    );
    assert!(
        !ran.stderr.contains("hunter2") && !ran.stderr.contains("aHVudGVy"),
        "{ran:?}"
    );
}

#[test]
fn a_kek_for_a_kms_that_is_not_there_is_wrong_usage() {
    let config = Config::local();
    let ran = config.decrypt(ETCD_KEY, AES_GCM, &["--kek", "typo=local:/x"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("absent"), "{ran:?}");
}

/// A value without its last byte would be whole: say so before anything about damage.
#[test]
fn a_line_feed_of_etcdctl_is_recognised_in_kms_v2_too() {
    let config = kms_v2("demo");
    let value = format!("{KMS_V2}0a");
    let ran = config
        .decrypt(ETCD_KEY, &value, &["--kek", "demo=unix:/nonexistent/s"])
        .refused();
    assert!(ran.stderr.contains("line feed"), "{ran:?}");
}

#[test]
fn what_does_not_fit_is_named_on_both_sides() {
    let ran = kms_v2("other").decrypt(ETCD_KEY, KMS_V2, &[]).refused();
    assert!(ran.stderr.contains("kms-v2 \"demo\""), "{ran:?}");
    assert!(ran.stderr.contains("kms-v2 \"other\""), "{ran:?}");
}

/// etcd's own answer tells the key.
#[test]
fn the_etcd_key_may_come_with_the_value() {
    let config = Config::local();
    let bytes: Vec<u8> = (0..AES_GCM.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&AES_GCM[i..i + 2], 16).unwrap())
        .collect();
    let encode = |bytes: &[u8]| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let answer = serde_json::json!({
        "header": {},
        "kvs": [{ "key": encode(ETCD_KEY.as_bytes()), "value": encode(&bytes) }],
    });
    let arguments = [
        "decrypt",
        "--encryption-config",
        &config.path,
        "--encoding",
        "etcd-json",
    ];
    let ran = kms_with_input(&arguments, answer.to_string().as_bytes()).ok();
    assert_eq!(ran.stdout, b"k8s\0hello");
    let other = [
        &arguments[..],
        &["--etcd-key", "/registry/secrets/default/other"],
    ]
    .concat();
    let ran = kms_with_input(&other, answer.to_string().as_bytes()).refused();
    assert!(ran.stderr.contains("--etcd-key"), "{ran:?}");
}

/// `k8s\0hello` under `key-1`, whose KEK is on the command line: the DEK source of a value of
/// upstream's.
#[cfg(feature = "testing")]
#[test]
fn keys_on_the_command_line_open_a_kms_v2_value() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!(
        "../../../kms-envelope/tests/vectors/kmsv2-hkdf-seed.json"
    ))
    .unwrap();
    let vector = &vectors["vectors"][1];
    let kms = &vector["kms"];
    let config = kms_v2(kms["provider_name"].as_str().unwrap());
    let kek: String = decode(&kms["kek_b64"])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let key_id = kms["key_id"].as_str().unwrap();
    let kek = format!(
        "{}=static:{key_id}={kek}",
        kms["provider_name"].as_str().unwrap()
    );
    let arguments = [
        "decrypt",
        "--json",
        "--encryption-config",
        &config.path,
        "--encoding",
        "base64",
        "--etcd-key",
        vector["etcd_key"].as_str().unwrap(),
        "--kek",
        &kek,
    ];
    let stored = vector["stored_b64"].as_str().unwrap();
    let opened = kms_with_input(&arguments, stored.as_bytes()).ok().json();
    assert_eq!(opened["plaintext_base64"], vector["plaintext_b64"]);
    assert_eq!(opened["stale"], vector["stale_on_read"]);
    assert_eq!(opened["key_id"], key_id);

    let wrong = kek.replace(&format!("{key_id}="), "other=");
    let refused = kms_with_input(&[&arguments[..9], &[&wrong]].concat(), stored.as_bytes());
    assert_eq!(refused.error_json()["error"]["kind"], "provider");
}

#[cfg(feature = "testing")]
fn decode(text: &serde_json::Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text.as_str().unwrap())
        .unwrap()
}

fn kms_v2(name: &str) -> Config {
    Config::new(&format!(
        "  - resources: [\"*.*\"]\n    providers:\n      - kms: {{apiVersion: v2, name: {name}, endpoint: \"unix:///nonexistent/s\"}}\n"
    ))
}
