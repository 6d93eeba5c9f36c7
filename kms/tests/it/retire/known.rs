//! Which keys are known, and that no leave is given for one that is not.

use std::path::Path;

use serde_json::{Value, json};

use super::{codes, plan, snapshot, text, under, vectors};
use crate::command::{Ran, kms};

pub(super) const WAIVERS: [&str; 6] = [
    "--waive",
    "backups=none",
    "--waive",
    "replicas=none",
    "--waive",
    "other-clusters=none",
];

/// A keyring with two versions: its URI and their key ids.
pub(super) fn keyring(directory: &Path) -> (String, [String; 2]) {
    let uri = format!("local:{}", text(&directory.join("keyring.json")));
    kms(&["key", "create", "--provider", &uri]).ok();
    kms(&["key", "rotate", "--provider", &uri]).ok();
    let keys = kms(&["key", "list", "--provider", &uri, "--json"])
        .ok()
        .json();
    let id = |at: usize| keys["keys"][at]["key_id"].as_str().unwrap().to_owned();
    (uri, [id(0), id(1)])
}

/// The objection that a key was never seen.
fn never_seen(plan: &Value) -> Option<&Value> {
    let objections = plan["objections"].as_array().unwrap();
    objections.iter().find(|it| it["code"] == "never_seen")
}

/// R25: an id that lost a letter, or has others, is no key, and the one that is meant is named.
#[test]
fn a_key_that_occurs_nowhere_is_in_the_way_of_itself() {
    let directory = tempfile::tempdir().unwrap();
    let id = "local/0a1b2c3d4e5f/2-9f8e7d6c5b4a";
    let copy = snapshot(directory.path(), "now.db", &[("a", Some(under(id)))]);
    let look = |key_id: &str, more: &[&str]| {
        let arguments = [&["--json", "--snapshot", text(&copy)], &WAIVERS[..], more].concat();
        plan(key_id, &arguments)
    };
    for mistaken in [&id[..id.len() - 1], &id.to_uppercase(), "some/other-key"] {
        let ran = look(mistaken, &[]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let found = ran.json();
        let objection = never_seen(&found).unwrap_or_else(|| panic!("{mistaken}: {found}"));
        assert_eq!(objection["known"], json!([id]));
        let error = ran.error_json();
        assert!(
            error["error"]["message"].as_str().unwrap().contains(id),
            "{error}"
        );

        // Somebody may answer for it, and that is written down.
        let found = look(mistaken, &["--never-seen"]).json();
        assert_eq!(codes(&found), ["no_live_source"], "{mistaken}");
        let waivers = &found["evidence"]["content"]["waivers"];
        let name = format!("never-seen:{mistaken}");
        assert!(
            waivers
                .as_array()
                .unwrap()
                .iter()
                .any(|it| it["name"] == name),
            "{waivers}"
        );
        // Of this key and no other.
        let other = look("a-third", &["--waive", &format!("{name}=x")]).json();
        assert!(never_seen(&other).is_some(), "{other}");
    }
    let found = look(id, &[]).json();
    assert!(never_seen(&found).is_none(), "{found}");
}

/// R25: what is no key id is refused before anything is looked at.
#[test]
fn what_is_no_key_id_is_wrong_usage() {
    let directory = tempfile::tempdir().unwrap();
    let copy = snapshot(directory.path(), "now.db", &[("a", Some(under("kek-1")))]);
    let hash = vectors::ring_sha256("kek-1");
    for bad in [
        "2",
        "007",
        " ",
        " kek-1",
        "kek-1 ",
        "sha256:",
        "sha256:zz",
        &hash[..hash.len() - 1],
        &format!("{hash}0"),
        &hash.replace(&hash[7..9], "zz"),
    ] {
        let ran = plan(bad, &["--snapshot", text(&copy), "--never-seen"]);
        assert_eq!(ran.code, Some(2), "{bad:?}: {ran:?}");
        let arguments = ["key", "retire", bad, "--evidence", "/nowhere"];
        let ran = kms(&[&arguments[..], &["--etcd", "http://127.0.0.1:9"]].concat());
        assert_eq!(ran.code, Some(2), "{bad:?}: {ran:?}");
    }
    let ran = plan("2", &["--snapshot", text(&copy)]);
    assert!(ran.stderr.contains("whole key id"), "{ran:?}");
    // Hexadecimal has two cases, and a hash is the same in both.
    for same in [hash.to_uppercase(), hash.replace("sha256:", "SHA256:")] {
        let found = plan(&same, &["--json", "--snapshot", text(&copy)]).json();
        assert_eq!(found["key_id"], hash);
        assert_eq!(found["needed_by"]["live"]["objects"], 1);
    }
}

/// R25: a provider says which key a number means, knows keys that nothing names any more, and never
/// lets the one go that it wraps with.
#[test]
fn a_provider_knows_its_keys_and_keeps_its_current_one() {
    let directory = tempfile::tempdir().unwrap();
    let (uri, [old, current]) = keyring(directory.path());
    let copy = snapshot(
        directory.path(),
        "now.db",
        &[("a", Some(b"k8s\0x".to_vec()))],
    );
    let look = |key_id: &str, more: &[&str]| -> Ran {
        let arguments = ["--json", "--snapshot", text(&copy), "--provider", &uri];
        plan(key_id, &[&arguments[..], &WAIVERS, more].concat())
    };
    for name in [old.as_str(), "1", &vectors::ring_sha256(&old)] {
        let found = look(name, &[]).json();
        assert_eq!(codes(&found), ["no_live_source"], "{name}: {found}");
    }
    assert_eq!(look("1", &[]).json()["key_id"], old.as_str());
    for name in [current.as_str(), "2", &vectors::ring_sha256(&current)] {
        let found = look(name, &["--never-seen"]).json();
        assert_eq!(codes(&found), ["no_live_source", "current_key"], "{name}");
        assert_eq!(found["objections"][1]["waivable_as"], Value::Null);
    }
    assert_eq!(look("3", &[]).code, Some(2));
    let found = look(&old[..old.len() - 1], &[]).json();
    let known = never_seen(&found).unwrap()["known"].as_array().unwrap();
    assert_eq!(known[0], old.as_str(), "the nearest comes first");
    // A provider that does not answer is a failure, and no leave.
    let arguments = [
        "--snapshot",
        text(&copy),
        "--provider",
        "local:/nowhere/x.json",
    ];
    let ran = plan("kek-1", &[&arguments[..], &WAIVERS].concat()).refused();
    assert!(ran.stderr.contains("/nowhere/x.json"), "{ran:?}");
}

/// R37: what is misspelt would be missed only when it is wanted.
#[test]
fn a_waiver_of_nothing_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let copy = snapshot(directory.path(), "now.db", &[("a", Some(under("kek-1")))]);
    let look = |more: &[&str]| plan("kek-1", &[&["--snapshot", text(&copy)], more].concat());
    let ran = look(&["--waive", "bakups=none"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for part in ["bakups", "backups", "other-clusters", "replicas"] {
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
    }
    let named = ["--not-scanned", "cluster:staging", "--backup", text(&copy)];
    let copies = format!("{}=gone", text(&copy));
    for waiver in [
        "staging=gone",
        "backups=none",
        "damaged:k8s:enc=gone",
        &copies,
    ] {
        let ran = look(&[&named[..], &["--waive", waiver]].concat());
        assert_eq!(ran.code, Some(1), "{waiver}: {ran:?}");
    }
}

/// A file is written over only by its like.
#[test]
fn evidence_is_written_over_evidence_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (uri, _) = keyring(directory.path());
    let path = uri.strip_prefix("local:").unwrap();
    let before = std::fs::read(path).unwrap();
    let copy = snapshot(directory.path(), "now.db", &[("a", Some(under("kek-1")))]);
    let look = |out: &str| {
        plan(
            "kek-1",
            &["--json", "--snapshot", text(&copy), "--out", out],
        )
    };
    for other in [path, text(&copy)] {
        let ran = look(other);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("File exists"), "{ran:?}");
    }
    assert_eq!(std::fs::read(path).unwrap(), before);
    let html = ["census", "--snapshot", text(&copy), "--html", path];
    assert!(kms(&html).stderr.contains("File exists"));
    assert_eq!(std::fs::read(path).unwrap(), before);

    let out = directory.path().join("evidence.json");
    for _ in 0..2 {
        let found = look(text(&out)).json();
        let written: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
        assert_eq!(written, found["evidence"]);
    }
    // What was cut off is no evidence any more, and says so by its head.
    let page = directory.path().join("census.html");
    for _ in 0..2 {
        kms(&["census", "--snapshot", text(&copy), "--html", text(&page)]).ok();
    }
    assert!(
        std::fs::read_to_string(&page)
            .unwrap()
            .starts_with("<!doctype html>")
    );
    std::fs::write(&page, "<!doctype html>\n<title>mine</title>").unwrap();
    let ran = kms(&["census", "--snapshot", text(&copy), "--html", text(&page)]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    // Evidence is no page, and a page no evidence.
    assert_eq!(look(text(&page)).code, Some(1));
    let ran = kms(&["census", "--snapshot", text(&copy), "--html", text(&out)]);
    assert!(ran.stderr.contains("File exists"), "{ran:?}");
}

/// What earlier evidence saw is remembered where it is written over.
#[test]
fn evidence_of_before_knows_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("evidence.json");
    let before = snapshot(
        directory.path(),
        "before.db",
        &[("a", Some(under("kek-1")))],
    );
    let after = snapshot(directory.path(), "after.db", &[("a", Some(under("kek-2")))]);
    let look = |copy: &Path| {
        let arguments = ["--json", "--snapshot", text(copy), "--out", text(&out)];
        plan("kek-1", &arguments).json()
    };
    assert!(never_seen(&look(&after)).is_some());
    assert!(never_seen(&look(&before)).is_none());
    for _ in 0..3 {
        let found = look(&after);
        assert!(never_seen(&found).is_none(), "{found}");
    }
}

/// A resource that has no name is said to be that.
#[test]
fn objects_under_an_unknown_prefix_are_called_that() {
    let directory = tempfile::tempdir().unwrap();
    let copy = snapshot(directory.path(), "now.db", &[("a", Some(under("kek-1")))]);
    let arguments = ["--snapshot", text(&copy), "--etcd-prefix", "/nope"];
    let ran = plan("kek-1", &arguments);
    assert!(
        ran.text()
            .contains("1 live object under an unknown prefix in"),
        "{ran:?}"
    );
    assert!(
        ran.text().contains("  1 under an unknown prefix in"),
        "{ran:?}"
    );
    assert!(!ran.text().contains("  in "), "{ran:?}");
}

/// Values that only history holds are gone with it: nothing has to be restored.
#[test]
fn what_is_damaged_in_history_alone_is_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let cut = Some(b"k8s:enc:kms:v2:away:\x0a\x7fcut".to_vec());
    let records = [("a", cut.clone()), ("a", None), ("b", Some(under("kek-1")))];
    let copy = snapshot(directory.path(), "now.db", &records);
    let look = |copy: &Path| plan("kek-1", &["--json", "--snapshot", text(copy)]).json();
    let told = |plan: &Value| {
        let objections = plan["objections"].as_array().unwrap();
        let unknown = objections.iter().find(|it| it["code"] == "unknown_key");
        let steps: Vec<_> = plan["next_steps"].as_array().unwrap().iter().collect();
        let steps = steps.iter().map(|it| it["do"].as_str().unwrap());
        let remedy = unknown.unwrap()["remedy"].as_str().unwrap().to_owned();
        (remedy, steps.collect::<Vec<_>>().join("; "))
    };
    let (remedy, steps) = told(&look(&copy));
    assert!(remedy.starts_with("compact the history"), "{remedy}");
    assert!(steps.contains("compact up to revision"), "{steps}");
    assert!(!steps.contains("restore it"), "{steps}");
    let live = snapshot(directory.path(), "live.db", &[("a", cut)]);
    let (remedy, steps) = told(&look(&live));
    assert_eq!(remedy, "restore or delete these objects");
    assert!(steps.contains("restore it"), "{steps}");
}

/// The metrics of an API server tell of keys that it has only read with, too.
#[test]
fn what_an_api_server_has_read_with_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let copy = snapshot(directory.path(), "now.db", &[("a", Some(under("kek-2")))]);
    let metrics = directory.path().join("metrics");
    let sample = |id: &str, what: &str, time: &str| {
        format!(
            "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds{{key_id_hash=\"{}\",\
             provider_name=\"p\",transformation_type=\"{what}\"}} {time}\n",
            vectors::ring_sha256(id)
        )
    };
    let samples = [
        sample("kek-1", "from_storage", "1.7e+09"),
        sample("kek-2", "to_storage", "1.8e+09"),
    ];
    std::fs::write(&metrics, samples.concat()).unwrap();
    let replica = format!("metrics:{}", text(&metrics));
    let look = |key_id: &str| {
        let arguments = ["--json", "--snapshot", text(&copy), "--replica", &replica];
        plan(key_id, &arguments).json()
    };
    let known = look("kek-1");
    assert!(never_seen(&known).is_none(), "{known}");
    assert!(!codes(&known).contains(&"replica_writes"), "{known}");
    assert!(never_seen(&look("kek-0")).is_some());
}
