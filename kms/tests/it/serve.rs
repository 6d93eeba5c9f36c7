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

/// What an HTTP server answers: the status line, and all of it.
fn get(address: &str, path: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.lines().next().unwrap_or_default().to_owned();
    (status, answer)
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// R44: metrics with bounded labels, fine buckets and the key's end; and health beside them.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_are_told_to_this_machine() {
    let cluster = Cluster::new();
    let address = free_address();
    let _served = cluster.serve(&["--metrics-listen", &address]);
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let transformer = cluster.transformer("v2", &clock);
    transformer.refresh().await.unwrap();
    transformer.write(ETCD_KEY.as_bytes(), b"x").await.unwrap();
    let (status, metrics) = get(&address, "/metrics");
    assert!(status.contains("200"), "{status}");
    for line in [
        "# TYPE kms_provider_calls_total counter",
        "operation=\"wrap\",outcome=\"ok\"",
        "operation=\"unwrap\",outcome=\"ok\"",
        "# TYPE kms_provider_call_duration_seconds histogram",
        "le=\"0.0001\"",
        "kms_provider_key_expiry_timestamp_seconds",
        "+Inf",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    for path in ["/livez", "/readyz"] {
        let (status, text) = get(&address, path);
        assert!(status.contains("200") && text.contains("ready"), "{text}");
    }
    assert!(get(&address, "/").0.contains("404"));
}

/// A plugin that has never proved its key lives, and is not ready.
#[test]
fn a_plugin_without_its_provider_is_live_and_not_ready() {
    let cluster = Cluster::new();
    let address = free_address();
    let away = format!("unix:{}", cluster.directory.path().join("away").display());
    let listen = format!("unix:{}", cluster.socket().display());
    let arguments = [
        "serve",
        "--provider",
        &away,
        "--listen",
        &listen,
        "--metrics-listen",
        &address,
    ];
    let _served = Served::start(&arguments, &cluster.socket());
    assert!(get(&address, "/livez").0.contains("200"));
    let (status, text) = get(&address, "/readyz");
    assert!(
        status.contains("503") && text.contains("starting"),
        "{text}"
    );
}

/// A reader that sends nothing, or never ends, keeps nobody else out.
#[test]
fn silent_connections_do_not_keep_metrics_from_others() {
    let cluster = Cluster::new();
    let address = free_address();
    let _served = cluster.serve(&["--metrics-listen", &address]);
    let silent: Vec<_> = (0..20)
        .map(|_| std::net::TcpStream::connect(&address).unwrap())
        .collect();
    assert!(get(&address, "/livez").0.contains("200"));
    drop(silent);
}

#[test]
fn metrics_are_not_told_to_other_machines_unless_that_is_said() {
    let cluster = Cluster::new();
    let listen = format!("unix:{}", cluster.socket().display());
    let arguments = ["serve", "--provider", &cluster.keyring, "--listen", &listen];
    for address in ["0.0.0.0:0", "[::]:0"] {
        let ran = kms(&[&arguments[..], &["--metrics-listen", address]].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains("--metrics-remote"), "{ran:?}");
    }
    let ran = kms(&[&arguments[..], &["--metrics-remote"]].concat());
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = kms(&[&arguments[..], &["--metrics-listen", &address]].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let all = ["--metrics-listen", "0.0.0.0:0", "--metrics-remote"];
    let served = cluster.serve(&all);
    assert_eq!(served.terminate(), Some(0));
}
