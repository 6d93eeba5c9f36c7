//! `kms config`: what a configuration means, and the way from one to another (R12, R23, R24, R34,
//! R37, R40).

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use kms_envelope::kubernetes::EncryptionConfiguration;
use kms_testkit::objects::DatabaseWriter;
use serde_json::{Value, json};

use crate::command::{Ran, Served, kms, kms_with_input};

/// The secret of the key `key1`, as it stands in files.
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn file(providers: &[&str]) -> String {
    let mut text = String::from(
        "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
",
    );
    for provider in providers {
        text += &format!("      - {provider}\n");
    }
    text
}

fn key1() -> String {
    format!("aesgcm: {{keys: [{{name: key1, secret: {SECRET}}}]}}")
}

fn vault(socket: &str) -> String {
    format!("kms: {{apiVersion: v2, name: vault, endpoint: \"unix://{socket}\", timeout: 200ms}}")
}

const IDENTITY: &str = "identity: {}";

struct Workplace(tempfile::TempDir);

impl Workplace {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// From `key1` to the vault.
    fn plan(&self, more: &[&str]) -> Ran {
        let from = self.write("from.yaml", &file(&[&key1(), IDENTITY]));
        let to = self.write("to.yaml", &file(&[&vault("/nonexistent.sock"), IDENTITY]));
        let base = ["config", "plan", "--from", &from, "--to", &to];
        kms(&[&base[..], more].concat())
    }

    fn census(&self, prefix: &str) -> String {
        let census = json!({
            "schema_version": 1,
            "source": { "kind": "etcd", "name": "https://e:2379", "revision": 41 },
            "live": { "census": [
                { "resource": "secrets", "provider": "aesgcm", "prefix": prefix, "objects": 1234 },
            ]},
        });
        self.write("census.json", &census.to_string())
    }
}

#[test]
fn files_are_written_for_their_owner_and_what_is_printed_holds_no_secret() {
    let place = Workplace::new();
    let out = place.path("plan");
    let out_dir = ["--out-dir", out.to_str().unwrap()];
    let census = place.census("k8s:enc:aesgcm:v1:key1:");
    let more = [
        &out_dir[..],
        &["--census", &census, "--replicas", "3", "--json"],
    ]
    .concat();
    let ran = place.plan(&more).ok();
    assert!(!ran.text().contains(SECRET));
    let plan = ran.json();
    assert_eq!(plan["refused"], false);
    assert_eq!(plan["census"]["revision"], 41);
    let purposes: Vec<_> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["purpose"])
        .collect();
    assert_eq!(
        purposes,
        ["add-readers", "switch-writer", "migrate", "drop-readers"]
    );
    assert_eq!(plan["steps"][2]["action"]["migrate"]["objects"], 1234);

    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for (index, name) in [
        (0, "1-add-readers.yaml"),
        (1, "2-switch-writer.yaml"),
        (3, "4-drop-readers.yaml"),
    ] {
        let path = out.join(name);
        assert_eq!(plan["steps"][index]["file"], json!(path));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        EncryptionConfiguration::parse(&text).unwrap();
        assert_eq!(text.contains(SECRET), index != 3, "{text}");
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
    // The last one is the file that was asked for, to the letter.
    assert_eq!(
        fs::read(out.join("4-drop-readers.yaml")).unwrap(),
        fs::read(place.path("to.yaml")).unwrap()
    );

    // A second plan does not mix with the first.
    let again = place.plan(&more).refused_json();
    assert_eq!(again["error"]["kind"], "conflict");
    assert!(
        again["error"]["message"]
            .as_str()
            .unwrap()
            .contains("1-add-readers.yaml")
    );
}

#[test]
fn text_says_what_to_do_what_to_check_and_the_way_back() {
    let place = Workplace::new();
    let ran = place.plan(&["--replicas", "3"]).ok();
    let text = ran.text();
    for wanted in [
        "4 steps",
        "(--census, --snapshot or --etcd tells)",
        "(--probe asks",
        "Step 1 of 4: add-readers",
        "the plugin of KMS vault runs on every server",
        "each of the 3 API servers",
        "kms replicas --kms vault --key-id KEY_ID --replicas 3",
        "kubectl get secrets --all-namespaces -o json | kubectl replace -f -",
        "Way back: bring back the file of step 1",
        "automatic_reloads_total",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains(SECRET));
    // Told to, it shows the files.
    let shown = place.plan(&["--show-files"]).ok();
    assert_eq!(shown.text().matches(SECRET).count(), 2);
    assert!(shown.text().contains("# 1-add-readers.yaml"));
}

#[test]
fn a_census_that_the_configuration_does_not_read_is_in_the_way() {
    let place = Workplace::new();
    let census = place.census("k8s:enc:aesgcm:v1:key0:");
    let out = place.path("plan");
    let more = [
        "--census",
        &census,
        "--json",
        "--out-dir",
        out.to_str().unwrap(),
    ];
    let ran = place.plan(&more);
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.error_json()["error"]["kind"], "refused");
    let plan = ran.json();
    assert_eq!(plan["refused"], true);
    assert_eq!(plan["steps"], json!([]));
    assert_eq!(plan["objections"][0]["kind"], "not_readable_now");
    assert!(
        !out.exists(),
        "nothing is written of a plan that is refused"
    );
}

#[test]
fn a_snapshot_is_counted_by_the_names_of_both_files() {
    let place = Workplace::new();
    let snapshot = place.path("backup.db");
    let database = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&snapshot)
        .unwrap();
    let mut writer = DatabaseWriter::new(database).unwrap();
    let value = b"k8s:enc:aesgcm:v1:key1:nonce and ciphertext and tag";
    writer
        .put(b"/registry/secrets/default/a", value, None)
        .unwrap();
    writer
        .put(b"/registry/secrets/default/b", b"k8s\0b", None)
        .unwrap();
    writer
        .put(b"/registry/pods/default/c", b"k8s\0c", None)
        .unwrap();
    writer.finish_snapshot().unwrap();
    let more = ["--snapshot", snapshot.to_str().unwrap(), "--json"];
    let plan = place.plan(&more).ok().json();
    assert_eq!(plan["census"]["kind"], "snapshot");
    assert_eq!(plan["steps"][2]["action"]["migrate"]["objects"], 2);
}

#[test]
fn a_kms_that_does_not_answer_is_in_the_way_if_it_was_asked() {
    let place = Workplace::new();
    let ran = place.plan(&["--probe", "--json"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.json()["objections"][0]["kind"], "kms_does_not_answer");

    let keyring = format!("local:{}", place.path("keyring").display());
    kms(&["key", "create", "--provider", &keyring]).ok();
    let socket = place.path("kms.sock");
    let listen = format!("unix:{}", socket.display());
    let _served = Served::start(
        &["serve", "--provider", &keyring, "--listen", &listen],
        &socket,
    );
    let to = place.write("to2.yaml", &file(&[&vault(socket.to_str().unwrap())]));
    let plan = kms(&[
        "config", "plan", "--from", "none", "--to", &to, "--probe", "--json",
    ])
    .ok();
    let plan = plan.json();
    assert_eq!(plan["unchecked"].as_array().unwrap().len(), 1, "{plan}");
    assert_eq!(plan["from"], Value::Null);
}

/// A rotation is noticed by the first Encrypt: until then Status tells the key before.
#[test]
fn a_kms_that_has_just_been_rotated_answers() {
    let place = Workplace::new();
    let keyring = format!("local:{}", place.path("keyring").display());
    kms(&["key", "create", "--provider", &keyring]).ok();
    let socket = place.path("kms.sock");
    let listen = format!("unix:{}", socket.display());
    let slow = [
        "serve",
        "--provider",
        &keyring,
        "--listen",
        &listen,
        "--poll",
        "3600",
    ];
    let _served = Served::start(&slow, &socket);
    let to = place.write("to.yaml", &file(&[&vault(socket.to_str().unwrap())]));
    kms(&["key", "rotate", "--provider", &keyring]).ok();
    kms(&["config", "plan", "--from", "none", "--to", &to, "--probe"]).ok();
}

#[test]
fn one_server_needs_no_second_name() {
    let place = Workplace::new();
    let one = place.write("one.yaml", &file(&[&vault("/a"), IDENTITY]));
    let text = file(&[&vault("/a"), IDENTITY]).replace("[secrets]", "[secrets, configmaps]");
    let two = place.write("two.yaml", &text);
    let base = ["config", "plan", "--from", &one, "--to", &two];
    let ran = kms(&base);
    assert_eq!(ran.code, Some(1));
    assert!(ran.text().contains("REFUSED"), "{ran:?}");
    for more in [
        &["--replicas", "1"][..],
        &["--all-at-once", "--replicas", "3"],
    ] {
        let ran = kms(&[&base[..], more].concat()).ok();
        assert!(ran.text().contains("Way back: none"), "{}", ran.text());
    }
}

#[test]
fn check_says_what_a_file_means_and_what_is_wrong_with_it() {
    let place = Workplace::new();
    let path = place.write("f.yaml", &file(&[&key1(), IDENTITY]));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = kms(&["config", "check", &path]).ok();
    assert!(ran.text().contains("aesgcm key1"), "{}", ran.text());
    assert!(ran.text().contains("chmod 600") && ran.text().contains("200,000"));
    assert!(!ran.text().contains(SECRET));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let found = kms(&["config", "check", &path, "--json"]).ok().json();
    assert_eq!(found["is_open_to_others"], false);
    assert_eq!(found["resources"][0]["resource"], "secrets");
    assert_eq!(found["cautions"][0]["kind"], "many_writes");

    let broken = file(&[&key1().replace("aesgcm", "aesgmc")]);
    let ran = kms_with_input(&["config", "check", "-"], broken.as_bytes()).refused();
    assert!(ran.stderr.contains("aesgmc"), "{ran:?}");
}

#[test]
fn what_cannot_be_asked_is_usage() {
    for more in [
        &["--replicas", "0"][..],
        &["--census", "c", "--snapshot", "s"],
        &["--etcd-ca", "f"],
        &["--same-keys", "vault"],
        &["--show-files", "--json"],
    ] {
        let ran = Workplace::new().plan(more);
        assert_eq!(ran.code, Some(2), "{more:?}: {ran:?}");
    }
}

impl Ran {
    /// Refused, with nothing on standard output, and JSON on standard error.
    #[track_caller]
    fn refused_json(self) -> Value {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        self.error_json()
    }
}
