//! `kms census` and `kms etcd` over a snapshot.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use kms_core::{OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
use kms_testkit::objects::DatabaseWriter;
use serde_json::{Value, json};

use crate::command::{Ran, kms};

const CONFIG: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets, gadgets.example.org]
    providers:
      - aesgcm: {keys: [{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - kms: {apiVersion: v2, name: away, endpoint: \"unix:///nonexistent/kms.sock\", timeout: 100ms}
      - identity: {}
";

/// A protobuf field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
}

/// What an API server stores for a Secret: `runtime.Unknown` around it.
fn secret(name: &str, password: &[u8]) -> Vec<u8> {
    let labels = [field(1, b"no"), field(2, b"on")].concat();
    let metadata = [
        field(1, name.as_bytes()),
        field(3, b"default"),
        field(5, b"7d0c0000-uid"),
        vec![8 << 3 | 2, 2, 8, 60],
        field(11, &labels),
    ]
    .concat();
    let entry = [field(1, b"password"), field(2, password)].concat();
    let object = [field(1, &metadata), field(2, &entry), field(3, b"Opaque")].concat();
    let kind = [field(1, b"v1"), field(2, b"Secret")].concat();
    [b"k8s\0".to_vec(), field(1, &kind), field(2, &object)].concat()
}

struct Backup {
    directory: tempfile::TempDir,
    transformer: Transformer,
    writer: DatabaseWriter<File>,
}

impl Backup {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config: EncryptionConfiguration = EncryptionConfiguration::parse(CONFIG).unwrap();
        let providers = &config.resources[0].providers[..1];
        let clock = Arc::new(TokioClock::new());
        let transformer = Transformer::builder(providers, clock, Arc::new(OsRandom))
            .build()
            .unwrap();
        std::fs::write(directory.path().join("config.yaml"), CONFIG).unwrap();
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(directory.path().join("backup.db"))
            .unwrap();
        Self {
            directory,
            transformer,
            writer: DatabaseWriter::new(file).unwrap(),
        }
    }

    fn plain(&mut self, key: &str, value: &[u8]) -> u64 {
        self.writer.put(key.as_bytes(), value, None).unwrap().get()
    }

    fn encrypted(&mut self, key: &str, bound_to: &str, value: &[u8]) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let stored = runtime
            .block_on(self.transformer.write(bound_to.as_bytes(), value))
            .unwrap();
        self.plain(key, &stored)
    }

    fn finish(self) -> Finished {
        self.writer.finish_snapshot().unwrap();
        Finished(self.directory)
    }
}

struct Finished(tempfile::TempDir);

impl Finished {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn kms(&self, before: &[&str], with_config: bool, after: &[&str]) -> Ran {
        let snapshot = self.path("backup.db");
        let config = self.path("config.yaml");
        let mut arguments = before.to_vec();
        arguments.extend(["--snapshot", snapshot.to_str().unwrap()]);
        if with_config {
            arguments.extend(["--encryption-config", config.to_str().unwrap()]);
        }
        arguments.extend(after);
        kms(&arguments)
    }
}

const DB: &str = "/registry/secrets/default/db";
const GADGET: &str = "/registry/example.org/gadgets/default/one";

/// Secrets in clear, encrypted, superseded and deleted; a custom resource; a kind that is not
/// decoded; and a name that would be markup.
fn backup() -> Finished {
    let mut backup = Backup::new();
    backup.plain(DB, &secret("db", b"old"));
    backup.encrypted(DB, DB, &secret("db", b"hunter2"));
    backup.plain("/registry/secrets/default/gone", &secret("gone", b"x"));
    backup
        .writer
        .delete(b"/registry/secrets/default/gone")
        .unwrap();
    let gadget = json!({
        "apiVersion": "example.org/v1", "kind": "Gadget",
        "metadata": { "name": "one", "namespace": "default", "uid": "1", "managedFields": [] },
        "spec": { "size": 9_007_199_254_740_993_u64, "answer": "no" },
    });
    backup.encrypted(GADGET, GADGET, gadget.to_string().as_bytes());
    backup.plain(
        "/registry/pods/default/<b>",
        b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod",
    );
    backup.finish()
}

#[test]
fn a_census_needs_no_key_and_exits_with_0() {
    let backup = backup();
    let census = backup.kms(
        &["census", "--history", "--by-namespace", "--json"],
        false,
        &[],
    );
    let found = census.ok().json();
    assert_eq!(found["source"]["kind"], "snapshot");
    assert_eq!(found["live"]["keys"], 3);
    assert_eq!(found["live"]["damaged"], json!([]));
    assert_eq!(
        found["live"]["objects_by_resource"]["secrets"],
        json!({ "objects": 1, "plain": 0, "encrypted": 1 })
    );
    let row = &found["live"]["census"][0];
    assert_eq!(row["resource"], "example.org/gadgets");
    assert_eq!(row["prefix"], "k8s:enc:aesgcm:v1:key1:");
    assert_eq!(found["history"]["puts_not_live"], 2);
    assert_eq!(found["history"]["tombstones"], 1);
    assert_eq!(
        found["history"]["census_all_puts"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert_eq!(found["live"]["namespaces"][0]["namespace"], "default");

    let text = backup.kms(&["census"], false, &[]).ok();
    assert!(text.text().contains("aesgcm:v1:key1"), "{}", text.text());
    assert!(!text.text().contains("hunter2"));
}

#[test]
fn verify_names_what_stands_in_the_way_of_a_restart() {
    let backup = backup();
    let ran = backup.kms(&["census", "--verify", "--json"], true, &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let found = ran.json();
    assert_eq!(found["verify"]["would_start"], false);
    assert_eq!(found["verify"]["opened"], 3);
    assert_eq!(found["verify"]["failed"], 0);
    let plugin = &found["verify"]["plugins"][0];
    assert_eq!(
        (&plugin["name"], &plugin["ok"]),
        (&json!("away"), &json!(false))
    );
    assert!(plugin["remedy"].is_string());
    assert_eq!(ran.error_json()["error"]["kind"], "verify");
}

#[test]
fn an_object_under_another_key_is_named_and_the_rest_is_exported() {
    let mut backup = Backup::new();
    backup.encrypted(DB, DB, &secret("db", b"hunter2"));
    backup.encrypted(
        "/registry/secrets/default/moved",
        DB,
        &secret("moved", b"x"),
    );
    let backup = backup.finish();

    let found = backup
        .kms(&["census", "--verify", "--json"], true, &[])
        .json();
    let damaged = &found["live"]["damaged"];
    assert_eq!(damaged[0]["etcd_key"], "/registry/secrets/default/moved");
    assert_eq!(damaged[0]["damage"], "does-not-open");
    assert_eq!(found["verify"]["blockers"][0]["objects"], 1);

    let ran = backup.kms(&["etcd", "export"], true, &["--format", "json"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("/registry/secrets/default/moved"),
        "{ran:?}"
    );
    assert_eq!(ran.json()["metadata"]["name"], "db");
}

#[test]
fn an_export_is_something_that_kubectl_applies() {
    let backup = backup();
    let ran = backup.kms(&["etcd", "export"], true, &[]).ok();
    let documents: Vec<Value> = serde_saphyr::from_multiple(ran.text()).unwrap();
    let [gadget, db] = documents.as_slice() else {
        panic!("{}", ran.text());
    };
    // What a server filled in is gone, and what YAML 1.1 takes for a boolean is quoted.
    assert_eq!(
        *db,
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": "db", "namespace": "default", "labels": { "no": "on" } },
            "data": { "password": "aHVudGVyMg==" },
        })
    );
    assert!(
        ran.text().contains("\"no\": \"on\"") || ran.text().contains("'no': 'on'"),
        "{}",
        ran.text()
    );
    assert_eq!(gadget["spec"]["size"], 9_007_199_254_740_993_u64);
    assert_eq!(
        gadget["metadata"],
        json!({ "name": "one", "namespace": "default" })
    );
    assert!(
        ran.stderr.contains("1 objects of 1 resources"),
        "{}",
        ran.stderr
    );

    let kept = backup.kms(
        &["etcd", "get", DB, "--keep-metadata", "--format", "json"],
        true,
        &[],
    );
    let kept = kept.ok().json();
    assert_eq!(kept["metadata"]["uid"], "7d0c0000-uid");
    assert_eq!(
        kept["metadata"]["creationTimestamp"],
        "1970-01-01T00:01:00Z"
    );

    let lines = backup
        .kms(&["etcd", "export"], true, &["--format", "raw"])
        .ok();
    assert_eq!(lines.text().lines().count(), 3);
}

#[test]
fn one_object_is_read_as_it_is_or_was() {
    let backup = backup();
    let raw = ["--format", "raw"];
    let now = backup.kms(&["etcd", "get", DB], true, &raw).ok();
    assert_eq!(now.stdout, secret("db", b"hunter2"));
    let before = backup.kms(&["etcd", "get", DB, "--at-revision", "2"], false, &raw);
    assert_eq!(before.ok().stdout, secret("db", b"old"));
    let future = backup.kms(&["etcd", "get", DB, "--at-revision", "99"], true, &raw);
    assert!(future.refused().stderr.contains("not reached yet"));
    let gone = backup.kms(
        &["etcd", "get", "/registry/secrets/default/gone"],
        true,
        &raw,
    );
    assert!(gone.refused().stderr.contains("has no object"));
    let locked = backup.kms(&["etcd", "get", DB], false, &raw);
    assert!(locked.refused().stderr.contains("--encryption-config"));
    let pod = backup.kms(&["etcd", "get", "/registry/pods/default/<b>"], true, &[]);
    assert!(pod.refused().stderr.contains("--format raw"));
}

#[test]
fn values_restored_under_another_prefix_open_when_they_are_rebound() {
    let mut backup = Backup::new();
    let moved = "/restored/secrets/default/db";
    backup.encrypted(moved, DB, &secret("db", b"hunter2"));
    let backup = backup.finish();
    let prefix = ["--etcd-prefix", "/restored"];
    let bound = backup.kms(&["etcd", "get", moved], true, &prefix);
    bound.refused();
    let rebound = [&prefix[..], &["--rebind-prefix", "/registry/"]].concat();
    let ran = backup.kms(&["etcd", "get", moved, "--format", "json"], true, &rebound);
    assert_eq!(ran.ok().json()["data"]["password"], "aHVudGVyMg==");
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let backup = backup();
    let path = backup.path("backup.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[9000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let ran = backup.kms(&["census"], false, &[]).refused();
    assert!(ran.stderr.contains("SHA-256"), "{ran:?}");
}

/// The page that `--html` writes.
fn page(backup: &Finished) -> String {
    let page = backup.path("census.html");
    let html = ["--html", page.to_str().unwrap()];
    backup.kms(&["census", "--history"], false, &html).ok();
    std::fs::read_to_string(page).unwrap()
}

#[test]
fn the_page_loads_nothing_and_takes_no_name_for_markup() {
    let mut backup = Backup::new();
    let value = b"k8s:enc:aesgcm:v1:<script>alert(1)</script>:nonce and ciphertext and tag";
    backup.plain("/registry/<img src=x>/default/a", value);
    let page = page(&backup.finish());
    assert!(page.contains("&lt;script&gt;"), "{page}");
    for markup in ["<script", "<img", "http:", "https:", "url(", "src="] {
        let shown = page.replace("&lt;img src=x&gt;", "");
        assert!(!shown.contains(markup), "{markup}");
    }
}

#[test]
#[ignore = "needs the browser chromium in the path, or named by KMS_CHROMIUM"]
fn a_browser_shows_the_page() {
    let backup = backup();
    page(&backup);
    let browser = std::env::var_os("KMS_CHROMIUM").unwrap_or_else(|| "chromium".into());
    let address = format!("file://{}", backup.path("census.html").display());
    let picture = backup.path("census.png");
    let shown = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=1100,1600",
        ])
        .arg(format!(
            "--user-data-dir={}",
            backup.path("profile").display()
        ))
        .arg(format!("--screenshot={}", picture.display()))
        .args(["--dump-dom", &address])
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{shown:?}");
    assert!(dom.contains("What is under which key"), "{dom}");
    assert!(dom.contains("aesgcm:v1:key1"), "{dom}");
}
