//! Plans over snapshots.

use serde_json::json;

use super::{codes, commands, plan, snapshot, text, under, under_v1};
use crate::command::kms;

const OLD: &str = "kek-1";

#[test]
fn what_is_in_the_way_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let records = [
        ("a", Some(under(OLD))),
        ("b", Some(under(OLD))),
        ("b", Some(under("kek-2"))),
        ("old", Some(under_v1("ol:d"))),
        ("cut", Some(b"k8s:enc:kms:v2:away:\x0a\x7fcut".to_vec())),
        ("odd", Some(b"k8s:enc:rot13:v1:x:y".to_vec())),
        ("gone", Some(under(OLD))),
        ("gone", None),
    ];
    let now = snapshot(directory.path(), "now.db", &records);
    let monday = snapshot(directory.path(), "mon day.db", &records[..2]);
    let out = directory.path().join("evidence.json");
    let arguments = [
        "--json",
        "--snapshot",
        text(&now),
        "--backup",
        text(&monday),
        "--not-scanned",
        "cluster:staging",
        "--waive",
        "staging=it is gone",
        "--out",
        text(&out),
    ];
    let found = plan(OLD, &arguments).json();
    assert_eq!(
        codes(&found),
        [
            "no_live_source",
            "live_objects",
            "history",
            "unknown_key",
            "unknown_key",
            "unknown_key",
            "backup",
            "not_scanned"
        ]
    );
    let needed = &found["needed_by"];
    assert_eq!(
        needed["live"]["by_resource"],
        json!([{
            "source": text(&now), "resource": "secrets", "prefix": "k8s:enc:kms:v2:away:",
            "count": 1, "examples": ["/registry/secrets/default/a"],
        }])
    );
    let history = &needed["history"];
    assert_eq!(
        (&history["records"], &history["compact_to"]),
        (&json!(2), &json!(9))
    );
    assert_eq!(
        history["by_resource"][0]["examples"],
        json!([
            "/registry/secrets/default/b",
            "/registry/secrets/default/gone"
        ])
    );
    assert_eq!(
        needed["backups"],
        json!([{ "name": text(&monday), "live": 2, "history": 0, "waived": false }])
    );
    assert_eq!(needed["unknown"]["objects"], 3);
    let last = commands(&found).pop().unwrap().to_owned();
    assert!(
        last.starts_with("kms key plan-retire kek-1 --etcd URL --backup '"),
        "{last}"
    );
    assert!(last.contains("--waive 'staging=it is gone'"), "{last}");
    assert!(last.contains("--waive replicas=REASON"), "{last}");
    // What is written down is what was shown.
    let written = std::fs::read_to_string(&out).unwrap();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written, found["evidence"]);

    // A name is waived by the name that the plan gives, also if it holds an equals sign.
    let mut arguments = arguments.to_vec();
    let waivers: Vec<String> = found["objections"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["waivable_as"].as_str())
        .map(|name| format!("{name}=looked at"))
        .collect();
    assert_eq!(waivers.len(), 5);
    waivers
        .iter()
        .for_each(|it| arguments.extend(["--waive", it]));
    let found = plan(OLD, &arguments).json();
    assert_eq!(codes(&found), ["no_live_source", "live_objects", "history"]);
    assert_eq!(found["needed_by"]["backups"][0]["waived"], true);
    assert_eq!(found["needed_by"]["unknown"]["objects"], 0);
}

/// R15: also when nothing is under a key any more, a copy proves nothing of the cluster.
#[test]
fn a_copy_is_never_enough() {
    let directory = tempfile::tempdir().unwrap();
    let now = snapshot(
        directory.path(),
        "now.db",
        &[("a", Some(b"k8s\0x".to_vec()))],
    );
    let mut arguments = vec!["--json", "--snapshot", text(&now)];
    for waiver in ["backups=none", "replicas=none", "other-clusters=none"] {
        arguments.extend(["--waive", waiver]);
    }
    let ran = plan(OLD, &arguments);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(codes(&ran.json()), ["no_live_source", "never_seen"]);
}

/// Several copies are each counted.
#[test]
fn several_snapshots_are_counted_together() {
    let directory = tempfile::tempdir().unwrap();
    let a = snapshot(directory.path(), "a.db", &[("a", Some(under(OLD)))]);
    let b = snapshot(directory.path(), "b.db", &[("b", Some(under(OLD)))]);
    let found = plan(
        OLD,
        &["--json", "--snapshot", text(&a), "--snapshot", text(&b)],
    );
    assert_eq!(found.json()["needed_by"]["live"]["objects"], 2);
}

#[test]
fn a_replica_is_asked_and_one_that_is_silent_is_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let now = snapshot(
        directory.path(),
        "now.db",
        &[("a", Some(b"k8s\0x".to_vec()))],
    );
    let keyring = format!("local:{}", text(&directory.path().join("keyring.json")));
    let socket = directory.path().join("kms.sock");
    let address = format!("unix:{}", text(&socket));
    kms(&["key", "create", "--provider", &keyring]).ok();
    let keys = kms(&["key", "list", "--provider", &keyring, "--json"])
        .ok()
        .json();
    let key_id = keys["keys"][0]["key_id"].as_str().unwrap().to_owned();
    let look = |key_id: &str, replica: &str| {
        let arguments = ["--json", "--snapshot", text(&now), "--replica", replica];
        plan(key_id, &arguments).json()
    };
    let silent = look(&key_id, &address);
    assert_eq!(silent["notes"].as_array().unwrap().len(), 1);
    let objections = silent["objections"].as_array().unwrap();
    assert!(objections.iter().any(|it| it["name"] == address.as_str()));

    let arguments = ["serve", "--provider", &keyring, "--listen", &address];
    let served = crate::command::Served::start(&arguments, &socket);
    let found = look(&key_id, &address);
    assert!(codes(&found).contains(&"replica_writes"), "{found}");
    assert_eq!(
        found["needed_by"]["replicas"][0]["writes_with"],
        key_id.as_str()
    );
    let other = look("kek-0", &address);
    assert!(!codes(&other).contains(&"replica_writes"), "{other}");
    served.terminate();

    let metrics = directory.path().join("metrics");
    let name = "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds";
    let hash = |key_id: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, key_id.as_bytes());
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let sample = format!(
        "{name}{{key_id_hash=\"sha256:{}\",provider_name=\"p\",transformation_type=\"to_storage\"}} 1.8e+09\n",
        hash(&key_id)
    );
    std::fs::write(&metrics, sample).unwrap();
    let found = look(&key_id, &format!("metrics:{}", text(&metrics)));
    assert!(codes(&found).contains(&"replica_writes"), "{found}");
}

#[test]
fn what_is_no_evidence_retires_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let now = snapshot(directory.path(), "now.db", &[("a", Some(under(OLD)))]);
    let out = directory.path().join("evidence.json");
    plan(OLD, &["--snapshot", text(&now), "--out", text(&out)]);
    let written = std::fs::read_to_string(&out).unwrap();
    let edited = written.replacen("\"live\": 1", "\"live\": 0", 1);
    assert_ne!(edited, written);
    for (text_of_file, fault) in [
        (edited.as_str(), "digest"),
        ("", "EOF"),
        ("{}", "missing field"),
        (&written[..written.len() / 2], "EOF"),
    ] {
        std::fs::write(&out, text_of_file).unwrap();
        let arguments = ["key", "retire", OLD, "--evidence", text(&out)];
        // No etcd is needed to see that.
        let ran = kms(&[&arguments[..], &["--etcd", "http://127.0.0.1:9"]].concat()).refused();
        assert!(ran.stderr.contains(fault), "{fault}: {ran:?}");
        assert!(ran.stderr.contains("evidence.json"), "{ran:?}");
    }
}

#[test]
fn names_of_others_upset_no_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let evil = "k8s:enc:kms:v1:a\n\u{1b}[2Jnext:".as_bytes().to_vec();
    let evil = [
        evil,
        b":".to_vec(),
        vec![0, 7],
        b"wrapped".to_vec(),
        vec![7; 40],
    ]
    .concat();
    let now = snapshot(directory.path(), "now.db", &[("a\u{1b}[1m", Some(evil))]);
    let ran = plan(
        OLD,
        &["--snapshot", text(&now), "--waive", "kms-v1:x=\u{1b}[31m"],
    );
    let told = ran.text();
    assert!(
        !told.chars().any(|it| it.is_control() && it != '\n'),
        "{told:?}"
    );
    assert!(
        !told.contains("\nnext:") || told.matches("\nnext:").count() == 1,
        "{told}"
    );
}
