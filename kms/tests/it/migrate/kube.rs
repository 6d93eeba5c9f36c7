//! `kms migrate --kube`, against the loopback API server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kms_core::{Clock as _, OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
use kms_testkit::apiserver::{ApiServer, Denial, Encryption, Fault, Place, Verb};
use serde_json::json;
use tempfile::TempDir;

use crate::command::{Ran, Served, kms};
use crate::replicas::metrics;

const KEY_1: &str = "{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}";
const KEY_2: &str = "{name: key2, secret: HxwdGhsYGRYXFBUSExARDg8MDQoLCAkGBwQFAgMAAQA=}";

fn config(providers: &str) -> String {
    format!(
        "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, \
         resources: [{{resources: [secrets, configmaps], providers: {providers}}}]}}"
    )
}

fn aes_gcm(keys: &str) -> String {
    config(&format!(
        "[{{aesgcm: {{keys: [{keys}]}}}}, {{identity: {{}}}}]"
    ))
}

struct Cluster {
    server: ApiServer,
    folder: TempDir,
    token: String,
}

impl Cluster {
    /// Secrets in clear, in two namespaces.
    async fn new(secrets: usize) -> Self {
        let server = ApiServer::builder().start().await.unwrap();
        for name in ["a", "b", "kube-system"] {
            let place = Place::without_namespace("namespaces", name);
            server.create(&place, json!({})).await.unwrap();
        }
        for number in 0..secrets {
            let data = json!({"data": {"password": "aHVudGVyMg=="}});
            server.create(&Self::place(number), data).await.unwrap();
        }
        let token = server.token("admin");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config"), server.kubeconfig(&token)).unwrap();
        Self {
            server,
            folder,
            token,
        }
    }

    fn place(number: usize) -> Place {
        let namespace = if number.is_multiple_of(2) { "a" } else { "b" };
        Place::of("secrets", namespace, format!("s{number:03}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The servers use this configuration from now on, and the command is told of it.
    fn reload(&self, text: &str) {
        std::fs::write(self.path("encryption.yaml"), text).unwrap();
        let config = EncryptionConfiguration::parse(text).unwrap();
        let mut encryption = Encryption::none();
        for resource in ["secrets", "configmaps"] {
            let providers = config.providers_for("", resource);
            let clock = Arc::new(TokioClock::new());
            let transformer = Transformer::builder(providers, clock, Arc::new(OsRandom))
                .build()
                .unwrap();
            encryption = encryption.with(resource, Arc::new(transformer));
        }
        self.server.set_encryption(&encryption);
    }

    /// The arguments of a migration of this cluster.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let (kubeconfig, checkpoint) = (self.path("config"), self.path("checkpoint"));
        let fixed = [
            "migrate",
            "--kube",
            kubeconfig.to_str().unwrap(),
            "--checkpoint",
            checkpoint.to_str().unwrap(),
        ];
        let all = fixed.iter().chain(more);
        all.map(|it| (*it).to_owned()).collect()
    }

    async fn run(&self, more: &[&str]) -> Ran {
        let arguments = self.arguments(more);
        let token = self.token.clone();
        let ran = move || {
            let ran = kms(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            for text in [ran.text(), &ran.stderr] {
                assert!(!text.contains(&token), "the token shows: {text}");
                assert!(!text.contains("aHVudGVyMg"), "a secret shows: {text}");
            }
            ran
        };
        tokio::task::spawn_blocking(ran).await.unwrap()
    }

    fn config_path(&self) -> String {
        self.path("encryption.yaml").display().to_string()
    }

    /// How often anything was written so far, plus one.
    async fn revision(&self) -> u64 {
        let name = format!("r{}", self.server.calls(Verb::Patch));
        let place = Place::without_namespace("namespaces", name);
        let made = self.server.create(&place, json!({})).await.unwrap();
        let version = made.pointer("/metadata/resourceVersion").unwrap();
        version.as_str().unwrap().parse().unwrap()
    }

    /// How many Secrets are stored under this prefix.
    async fn stored_under(&self, prefix: &str, secrets: usize) -> usize {
        let mut count = 0;
        for number in 0..secrets {
            let stored = self
                .server
                .stored(&Self::place(number))
                .await
                .unwrap()
                .unwrap();
            count += usize::from(stored.value.starts_with(prefix.as_bytes()));
        }
        count
    }
}

/// R23, R37: enable, rotate and disable, each followed by a migration.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_encrypted_rotated_and_decrypted_again() {
    const COUNT: usize = 24;
    let cluster = Cluster::new(COUNT).await;
    let config_path = cluster.config_path();
    let plain = config(&format!(
        "[{{identity: {{}}}}, {{aesgcm: {{keys: [{KEY_2}, {KEY_1}]}}}}]"
    ));
    for (text, prefix) in [
        (aes_gcm(KEY_1), "k8s:enc:aesgcm:v1:key1:"),
        (
            aes_gcm(&format!("{KEY_2}, {KEY_1}")),
            "k8s:enc:aesgcm:v1:key2:",
        ),
        (plain, "{"),
    ] {
        cluster.reload(&text);
        let ran = cluster
            .run(&["--encryption-config", &config_path])
            .await
            .ok();
        let text = ran.text();
        assert!(text.contains("24 objects: 24 written anew"), "{text}");
        assert!(text.contains("What this proves"), "{text}");
        assert!(
            text.contains("not checked: whether every API server"),
            "{text}"
        );
        assert_eq!(cluster.stored_under(prefix, COUNT).await, COUNT);
        assert!(!cluster.path("checkpoint").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_says_what_came_of_it() {
    let cluster = Cluster::new(6).await;
    cluster.reload(&aes_gcm(KEY_1));
    let ran = cluster
        .run(&["--namespace", "a", "--rate", "100/s", "--json"])
        .await
        .ok();
    let json = ran.json();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["end"]["state"], "complete");
    assert_eq!(json["scopes"], json!(["v1 secrets in a"]));
    assert_eq!(json["counts"]["written"], 3);
    // Without a configuration it is not known whether a no-op writes at all.
    let unchecked = json["unchecked"].as_array().unwrap();
    let names_v1 = |it: &serde_json::Value| it.as_str().unwrap().contains("KMS v1");
    assert!(unchecked.iter().any(names_v1), "{unchecked:?}");
}

/// R25: after `kill -9` it goes on where it stood, and nothing is written twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_killed_goes_on_with_resume() {
    const SECRETS: usize = 30;
    const CONFIG_MAPS: usize = 30;
    let cluster = Cluster::new(SECRETS).await;
    for number in 0..CONFIG_MAPS {
        let place = Place::of("configmaps", "a", format!("c{number:03}"));
        cluster.server.create(&place, json!({})).await.unwrap();
    }
    cluster.reload(&aes_gcm(KEY_1));
    let config = cluster.config_path();
    let before = cluster.revision().await;
    let slowly = cluster.arguments(&["--encryption-config", &config, "--rate", "20/s"]);
    let is_at_secrets = || {
        let kept = std::fs::read_to_string(cluster.path("checkpoint")).unwrap_or_default();
        kept.contains("a/c029") && cluster.server.calls(Verb::Patch) > CONFIG_MAPS as u64 + 3
    };
    let slowly: Vec<_> = slowly.iter().map(String::as_str).collect();
    let killed = tokio::task::block_in_place(|| Served::start_until(&slowly, is_at_secrets));
    drop(killed);
    let calls = cluster.server.calls(Verb::Patch);
    assert!(calls < (SECRETS + CONFIG_MAPS) as u64, "{calls}");

    let other = ["--resource", "secrets", "--resume"];
    let other = cluster.run(&other).await;
    assert_eq!(other.code, Some(1));
    assert!(
        other.stderr.contains("of other resources"),
        "{}",
        other.stderr
    );

    let resumed = ["--encryption-config", &config, "--resume", "--json"];
    let json = cluster.run(&resumed).await.ok().json();
    assert_eq!(json["end"]["state"], "complete");
    let all = (SECRETS + CONFIG_MAPS) as u64;
    assert_eq!(json["counts"]["objects"], all);
    // The ConfigMaps were done with, and are only seen again when all is confirmed.
    assert_eq!(
        cluster.server.calls(Verb::Patch) - calls,
        SECRETS as u64 + all
    );
    assert_eq!(cluster.revision().await - before, all + 1);
    assert_eq!(
        cluster
            .stored_under("k8s:enc:aesgcm:v1:key1:", SECRETS)
            .await,
        SECRETS
    );
    assert!(!cluster.path("checkpoint").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_checkpoint_of_this_is_left_alone() {
    let cluster = Cluster::new(1).await;
    cluster.reload(&aes_gcm(KEY_1));
    std::fs::write(cluster.path("checkpoint"), "three years of work").unwrap();
    for more in [&[][..], &["--resume"]] {
        let ran = cluster.run(more).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("checkpoint"), "{}", ran.stderr);
    }
    assert_eq!(cluster.server.calls(Verb::Patch), 0);
    let kept = std::fs::read(cluster.path("checkpoint")).unwrap();
    assert_eq!(kept, b"three years of work");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_to_slow_down_is_heeded() {
    let cluster = Cluster::new(12).await;
    cluster.reload(&aes_gcm(KEY_1));
    let throttled = Fault::Throttled {
        retry_after: Some(Duration::from_secs(2)),
    };
    cluster.server.disturb(Verb::Patch, throttled, 5);
    let json = cluster.run(&["--json"]).await.ok().json();
    assert_eq!(json["counts"]["throttled"], 5);
    assert_eq!(json["counts"]["written"], 12);
    assert!(json["seconds"].as_f64().unwrap() >= 2.0, "{json}");
}

/// R24: one API server that writes with another key is enough.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_with_another_key_stands_in_the_way() {
    let cluster = Cluster::new(4).await;
    let v2 =
        config("[{kms: {apiVersion: v2, name: vault, endpoint: 'unix:///a'}}, {identity: {}}]");
    std::fs::write(cluster.path("encryption.yaml"), v2).unwrap();
    let config = cluster.config_path();
    let now = TokioClock::new().wall_time();
    let write = |name: &str, key: &str| {
        std::fs::write(cluster.path(name), metrics(name, key, now)).unwrap();
        cluster.path(name).display().to_string()
    };
    let (new, old) = (write("new", "etcd/2"), write("old", "etcd/1"));
    let asked = [
        "--encryption-config",
        &config,
        "--metrics",
        &new,
        "--replicas",
        "1",
    ];
    let ran = cluster.run(&asked).await;
    assert!(ran.stderr.contains("--key-id"), "{}", ran.stderr);
    let asked = [&asked[..], &["--key-id", "etcd/2"]].concat();
    let disagreeing = [&asked[..], &["--metrics", &old]].concat();
    let ran = cluster.run(&disagreeing).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("not every API server"),
        "{}",
        ran.stderr
    );
    assert_eq!(cluster.server.calls(Verb::Patch), 0);

    let nobody = cluster.path("nope.sock");
    let nobody = format!("cp2=unix:{}", nobody.display());
    let silent = [&asked[..], &["--replica", &nobody]].concat();
    let ran = cluster.run(&silent).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("cp2"), "{}", ran.stderr);
    assert_eq!(cluster.server.calls(Verb::Patch), 0);

    let ran = cluster.run(&asked).await.ok();
    assert!(!ran.text().contains("not checked"), "{}", ran.text());
    let json = cluster
        .run(&[&asked[..], &["--json"]].concat())
        .await
        .ok()
        .json();
    assert_eq!(json["replicas"][0]["agrees"], true);
    assert_eq!(json["unchecked"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_names_missing_rights_and_changes_nothing() {
    let cluster = Cluster::new(6).await;
    cluster.reload(&aes_gcm(KEY_1));
    cluster.server.deny(Denial::new(Verb::Patch, "secrets"));
    let ran = cluster.run(&["--dry-run"]).await.ok();
    let text = ran.text();
    assert!(text.contains("6 objects; nothing was changed"), "{text}");
    assert!(text.contains("missing right: patch secrets"), "{text}");
    assert_eq!(cluster.server.calls(Verb::Patch), 0);

    let ran = cluster.run(&[]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.text().contains("not read: secrets in a"), "{ran:?}");
    assert!(ran.stderr.contains("stays as it is"), "{}", ran.stderr);
}

/// R10, R40
#[tokio::test(flavor = "multi_thread")]
async fn kms_v1_under_an_old_name_is_refused_with_the_remedy() {
    let cluster = Cluster::new(2).await;
    let v1 = config("[{kms: {name: vault, endpoint: 'unix:///a'}}, {identity: {}}]");
    std::fs::write(cluster.path("encryption.yaml"), v1).unwrap();
    let path = cluster.config_path();
    let ran = cluster.run(&["--encryption-config", &path]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("`vault`"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("another provider name"),
        "{}",
        ran.stderr
    );
    assert_eq!(cluster.server.calls(Verb::Patch), 0);
    let new = ["--encryption-config", &path, "--new-kms-v1-name"];
    cluster.run(&new).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_said() {
    let cluster = Cluster::new(1).await;
    for (more, says) in [
        (&["--context", "none"][..], "loopback"),
        (&["--resource", "deployments"], "deployments.apps"),
        (
            &["--resource", "namespaces", "--namespace", "a"],
            "has no namespaces",
        ),
        (&["--etcd", "https://127.0.0.1:1"], "cannot be used with"),
        (&["--renew"], "cannot be used with"),
        (&["--key-id", "etcd/2"], "--encryption-config"),
    ] {
        let ran = cluster.run(more).await;
        assert_ne!(ran.code, Some(0), "{more:?}");
        assert!(ran.stderr.contains(says), "{more:?}: {}", ran.stderr);
    }
    let neither = tokio::task::spawn_blocking(|| kms(&["migrate"]))
        .await
        .unwrap();
    assert_eq!(neither.code, Some(2));
    assert!(neither.stderr.contains("--kube"), "{}", neither.stderr);
}
