//! `kms decrypt` without a plugin.

use crate::command::kms_with_input;

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

#[cfg(feature = "testing")]
#[test]
fn keys_on_the_command_line_open_a_kms_v2_value() {
    use crate::inspect::KMS_V2;
    let config = Config::new(
        "  - resources: [secrets]\n    providers:\n      - kms: {apiVersion: v2, name: demo, endpoint: \"unix:///x\"}\n",
    );
    // The right name and a wrong key: the frozen value's DEK source is not a real wrap.
    let kek = format!("demo=static:key-1={}", "00".repeat(32));
    let ran = config.decrypt(ETCD_KEY, KMS_V2, &["--json", "--kek", &kek]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.error_json()["error"]["kind"], "provider");
}
