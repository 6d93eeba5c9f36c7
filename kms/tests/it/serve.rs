//! `kms serve`, with this test in kube-apiserver's place.

use std::path::PathBuf;
use std::sync::Arc;

use kms::provider::open_endpoint;
use kms_core::{Clock, OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, ProviderConfiguration, Transformer};

use crate::command::{Served, kms, kms_with_input};

const ETCD_KEY: &str = "/registry/secrets/default/db";

struct Cluster {
    directory: tempfile::TempDir,
    keyring: String,
}

impl Cluster {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keyring = format!("local:{}", directory.path().join("keyring.json").display());
        kms(&["key", "create", "--provider", &keyring]).ok();
        Self { directory, keyring }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("kms.sock")
    }

    fn serve(&self, more: &[&str]) -> Served {
        let listen = format!("unix:{}", self.socket().display());
        let arguments = [
            "serve",
            "--provider",
            &self.keyring,
            "--listen",
            &listen,
            "--poll",
            "1",
        ];
        Served::start(&[&arguments, more].concat(), &self.socket())
    }

    fn config(&self, version: &str) -> String {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - kms: {{apiVersion: {version}, name: lab, endpoint: \"unix://{}\"}}
      - identity: {{}}
",
            self.socket().display()
        )
    }

    fn config_file(&self, version: &str) -> String {
        let path = self.directory.path().join(format!("config-{version}.yaml"));
        std::fs::write(&path, self.config(version)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn transformer(&self, version: &str, clock: &Arc<dyn Clock>) -> Transformer {
        let config = EncryptionConfiguration::parse(&self.config(version)).unwrap();
        let providers = config.providers_for("", "secrets");
        let mut builder = Transformer::builder(
            providers.iter().copied(),
            Arc::clone(clock),
            Arc::new(OsRandom),
        );
        for provider in &providers {
            if let ProviderConfiguration::Kms(kms) = provider {
                builder = builder.kms(&kms.name, open_endpoint(kms, Arc::clone(clock)).unwrap());
            }
        }
        builder.build().unwrap()
    }
}

/// R24: a rotation needs no restart. R38: KMS v2. What the plugin served, `kms decrypt` opens, with
/// the plugin up, and with the keyring when it is down.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_can_be_decrypted_before_and_after_a_rotation() {
    let cluster = Cluster::new();
    let served = cluster.serve(&[]);
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let transformer = cluster.transformer("v2", &clock);
    transformer.refresh().await.unwrap();
    let value = transformer
        .write(ETCD_KEY.as_bytes(), b"k8s\0secret")
        .await
        .unwrap();
    let old = transformer.kms_write_state("lab").unwrap().key_id;

    let config = cluster.config_file("v2");
    let arguments = [
        "decrypt",
        "--json",
        "--encryption-config",
        &config,
        "--etcd-key",
        ETCD_KEY,
    ];
    let opened = kms_with_input(&arguments, &value).ok().json();
    assert_eq!(opened["plaintext_base64"], "azhzAHNlY3JldA==");
    assert_eq!(opened["stale"], false);
    assert_eq!(opened["provider"], "kms-v2");
    assert_eq!(opened["name"], "lab");
    assert_eq!(opened["key_id"], old.to_string());

    kms(&["key", "rotate", "--provider", &cluster.keyring]).ok();
    loop {
        transformer.refresh().await.unwrap();
        if transformer.kms_write_state("lab").unwrap().key_id != old {
            break;
        }
        tokio::task::yield_now().await;
    }
    let opened = kms_with_input(&arguments, &value).ok().json();
    assert_eq!(opened["stale"], true, "the old key still opens it");

    assert_eq!(served.terminate(), Some(0), "a graceful stop");
    assert!(!cluster.socket().exists(), "the socket is gone");
    let ran = kms_with_input(&arguments, &value);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let kek = format!("lab={}", cluster.keyring);
    let opened = kms_with_input(&[&arguments[..], &["--kek", &kek]].concat(), &value)
        .ok()
        .json();
    assert_eq!(opened["stale"], true);
    let raw = [
        "decrypt",
        "--encryption-config",
        &config,
        "--etcd-key",
        ETCD_KEY,
        "--kek",
        &kek,
    ];
    assert_eq!(kms_with_input(&raw, &value).ok().stdout, b"k8s\0secret");
}

/// R10, R38, R40: KMS v1 data is readable beside v2, on the same socket.
#[tokio::test(flavor = "multi_thread")]
async fn kms_v1_is_served_when_asked_for() {
    let cluster = Cluster::new();
    let _served = cluster.serve(&["--kms-v1"]);
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let transformer = cluster.transformer("v1", &clock);
    let value = transformer
        .write(ETCD_KEY.as_bytes(), b"old")
        .await
        .unwrap();
    let config = cluster.config_file("v1");
    let arguments = [
        "decrypt",
        "--encryption-config",
        &config,
        "--etcd-key",
        ETCD_KEY,
    ];
    assert_eq!(kms_with_input(&arguments, &value).ok().stdout, b"old");
}

#[test]
fn a_live_socket_and_a_foreign_file_are_left_alone() {
    let cluster = Cluster::new();
    let listen = format!("unix:{}", cluster.socket().display());
    let arguments = ["serve", "--provider", &cluster.keyring, "--listen", &listen];
    let served = cluster.serve(&[]);
    let ran = kms(&arguments);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("kms.sock"), "{ran:?}");
    drop(served);

    let _ = std::fs::remove_file(cluster.socket());
    std::fs::write(cluster.socket(), "precious").unwrap();
    let ran = kms(&arguments);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(std::fs::read(cluster.socket()).unwrap(), b"precious");
}
