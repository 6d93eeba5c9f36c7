//! Whole snapshots that a real API server wrote: the trimmed set of this tree, and with
//! `KMS_SHARED=DIR` all below `DIR/vectors`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;

use super::{codes, plan, text};

/// The directories that hold a set.
fn sets() -> Vec<PathBuf> {
    let trimmed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kms-cluster/tests/vectors");
    let shared = std::env::var_os("KMS_SHARED").map(|it| PathBuf::from(it).join("vectors"));
    let mut found = Vec::new();
    let mut open = vec![(trimmed, 3)];
    open.extend(shared.map(|shared| (shared, 3)));
    while let Some((directory, depth)) = open.pop() {
        let has = |name: &str| directory.join(name).is_file();
        if has("expected.json") && (has("snapshot.db") || has("snapshot.db.gz")) {
            found.push(directory.clone());
        }
        for entry in std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            if depth > 0 && entry.path().is_dir() {
                open.push((entry.path(), depth - 1));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// The path of a set's snapshot, unpacked if need be.
pub(crate) fn snapshot(set: &Path, scratch: &Path) -> PathBuf {
    let plain = set.join("snapshot.db");
    if plain.is_file() {
        return plain;
    }
    let (mut bytes, path) = (Vec::new(), scratch.join("snapshot.db"));
    let packed = std::fs::File::open(set.join("snapshot.db.gz")).unwrap();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The sum of a count over the rows of a census that are wanted.
fn sum(rows: &Value, count: &str, is_wanted: impl Fn(&Value) -> bool) -> u64 {
    let rows = rows.as_array().unwrap().iter();
    let counts = rows
        .filter(|row| is_wanted(row))
        .map(|row| row[count].as_u64().unwrap());
    counts.sum()
}

/// KMS v1, damaged, or of a provider that nobody knows.
fn is_unknown(row: &Value) -> bool {
    row["provider"] == "kms-v1" || row["unparsable"] == true || row["provider"].is_null()
}

/// R25, R26: a key that only history needs is told from one that live objects need; what cannot be
/// known is in the way of both, and of a key that nobody ever used.
#[test]
fn a_plan_says_what_the_independent_reader_says() {
    for set in sets() {
        let scratch = tempfile::tempdir().unwrap();
        let snapshot = snapshot(&set, scratch.path());
        let expected = std::fs::read_to_string(set.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let config = set.join("encryption-config.yaml");
        let look = |key_id: &str| {
            let arguments = [
                "--json",
                "--snapshot",
                text(&snapshot),
                "--encryption-config",
                text(&config),
            ];
            let ran = plan(key_id, &arguments);
            assert_eq!(ran.code, Some(1), "{ran:?}");
            assert_eq!(ran.error_json()["error"]["kind"], "in_the_way");
            ran.json()
        };
        let live = &expected["live"]["census"];
        let history = &expected["history"]["census_puts_not_live"];
        let unknown = [
            sum(live, "objects", is_unknown),
            sum(history, "records", is_unknown),
        ];
        assert!(unknown[0] > 0, "{}", set.display());
        let mut asked: Vec<&str> = Vec::from(["never-used"]);
        asked.extend(
            expected["key_ids"]
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str),
        );
        for key_id in asked {
            let found = look(key_id);
            let place = format!("{} {key_id}", set.display());
            let is_key = |row: &Value| row["key_id"] == key_id;
            let (live, history) = (
                sum(live, "objects", is_key),
                sum(history, "records", is_key),
            );
            let needed = &found["needed_by"];
            assert_eq!(needed["live"]["objects"], live, "{place}");
            assert_eq!(needed["history"]["records"], history, "{place}");
            assert_eq!(needed["unknown"]["objects"], unknown[0], "{place}");
            assert_eq!(needed["unknown"]["records"], unknown[1], "{place}");
            let codes = codes(&found);
            assert_eq!(codes.contains(&"live_objects"), live > 0, "{place}");
            assert_eq!(codes.contains(&"history"), history > 0, "{place}");
            assert!(codes.contains(&"unknown_key"), "{place}");
            assert!(codes.contains(&"no_live_source"), "{place}");
            let compact_to = &needed["history"]["compact_to"];
            let revision = &expected["snapshot"]["status"]["revision"];
            assert_eq!(compact_to.is_null(), history + unknown[1] == 0, "{place}");
            assert!(compact_to.is_null() || compact_to == revision, "{place}");
            assert_eq!(
                found["evidence"]["content"]["sources"][0]["revision"],
                *revision
            );
        }
    }
}

/// The visible set by name, as its own words tell it.
#[test]
fn kek_0_is_needed_by_history_alone_and_the_others_by_live_objects() {
    let set =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../kms-cluster/tests/vectors/etcd-snapshot");
    let scratch = tempfile::tempdir().unwrap();
    let snapshot = snapshot(&set, scratch.path());
    for (key_id, live, history) in [("kek-0", 0, 15), ("kek-1", 96, 85), ("kek-2", 164, 12)] {
        // Without a configuration, too.
        let ran = plan(key_id, &["--json", "--snapshot", text(&snapshot)]);
        let found = ran.json();
        assert_eq!(found["schema_version"], 1);
        assert_eq!(found["key_id"], key_id);
        assert_eq!(found["needed_by"]["live"]["objects"], live);
        assert_eq!(found["needed_by"]["history"]["records"], history);
        let unknown = &found["needed_by"]["unknown"];
        assert_eq!(
            (&unknown["objects"], &unknown["records"]),
            (&21.into(), &0.into())
        );
        let groups = unknown["groups"].as_array().unwrap();
        let v1: Vec<_> = groups
            .iter()
            .filter(|it| it["reason"] == "kms_v1")
            .collect();
        assert!(v1.iter().all(|it| it["waive_as"] == "kms-v1:plugin-v1"));
        assert_eq!(v1.len(), 2, "configmaps and secrets");
        assert!(
            super::commands(&found).contains(&"etcdctl --endpoints=URL compaction 895 --physical")
        );
        let hash = ring_sha256(key_id);
        let by_hash = plan(&hash, &["--json", "--snapshot", text(&snapshot)]).json();
        assert_eq!(by_hash["needed_by"], found["needed_by"]);
        assert_eq!(by_hash["objections"], found["objections"]);

        let told = plan(key_id, &["--snapshot", text(&snapshot)]);
        assert_eq!(told.code, Some(1));
        let told = told.text();
        assert!(
            told.contains(&format!("needed by live objects: {live}\n")),
            "{told}"
        );
        assert!(
            told.contains(&format!("needed by history alone: {history}\n")),
            "{told}"
        );
        assert!(told.contains("k8s:enc:kms:v1:plugin-v1"), "{told}");
    }
    // Said of the provider, its values are under that key and no other.
    let said = |key_id: &str| {
        let arguments = [
            "--json",
            "--snapshot",
            text(&snapshot),
            "--kms-v1",
            "plugin-v1=kek-1",
        ];
        plan(key_id, &arguments).json()
    };
    assert_eq!(said("kek-0")["needed_by"]["unknown"]["objects"], 1);
    assert_eq!(said("kek-1")["needed_by"]["live"]["objects"], 96 + 20);
}

/// As the API server's metrics show it.
pub(crate) fn ring_sha256(key_id: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, key_id.as_bytes());
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}
