//! `kms quickstart`

use crate::command::kms;

/// R23 to R27: a rotation leaves old data under the old key, which stays valid until all of it has been
/// rewritten and history is gone; then it is retired, and nothing misses it.
#[test]
fn it_stores_rotates_rewrites_and_retires() {
    let ran = kms(&["quickstart", "--secrets", "60"]).ok();
    let text = ran.text();
    // Before the rotation, after it, and after the rewrite.
    assert_eq!(text.matches("KEY ID").count(), 3, "{text}");
    assert_eq!(text.matches("DIFFERS").count(), 0, "{text}");
    assert!(text.contains("60 are stale"), "{text}");
    for provider in [
        "identity",
        "aescbc",
        "aesgcm",
        "secretbox",
        "kms-v1",
        "kms-v2",
    ] {
        assert!(text.contains(provider), "{provider}: {text}");
    }
    let order = [
        "60 are stale",
        "every API server writes with the key",
        "60 objects seen, 60 rewritten, 0 left",
        "is still needed: 60",
        "etcd is compacted",
        "nothing needs local/",
        "Retire the old key",
        "evidence ",
        "all 60 open",
        "active, is needed",
        "retired, may be deleted",
    ];
    let mut rest = text;
    for part in order {
        let found = rest
            .find(part)
            .unwrap_or_else(|| panic!("no {part:?}: {text}"));
        rest = &rest[found..];
    }
    let last = text.lines().rfind(|line| line.contains("all 60 open"));
    assert!(
        last.is_some_and(|line| line.contains("0 under local/")),
        "{text}"
    );
}

#[test]
fn a_given_directory_stays_and_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("new");
    let place = place.to_str().unwrap();
    kms(&["quickstart", "--secrets", "3", "--dir", place]).ok();
    let keyring = format!("local:{place}/keyring.json");
    let keys = kms(&["key", "list", "--json", "--provider", &keyring])
        .ok()
        .json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    let of = |at: usize| &keys["keys"][at];
    assert_eq!(
        (&of(0)["state"], &of(1)["state"]),
        (&"disabled".into(), &"enabled".into())
    );
    // What it suggests works.
    let file = |name: &str| format!("{place}/{name}");
    let state = format!("file:{}", file("rotation.json"));
    let status = [
        "rotation",
        "status",
        "--json",
        "--state",
        &state,
        "--provider",
        &keyring,
    ];
    let status = kms(&status).ok().json();
    assert_eq!(status["current"], of(1)["key_id"]);
    assert_eq!(status["previous"], of(0)["key_id"]);
    assert_eq!(status["keys"][1]["phase"], "retired");
    assert_eq!(status["keys"][1]["state"], "disabled");
    let seen = kms(&["inspect", "--json", &file("value.bin")]).ok().json();
    assert_eq!(seen["key_id"], keys["keys"][1]["key_id"]);
    let kek = format!("quickstart={keyring}");
    let opened = kms(&[
        "decrypt",
        "--encryption-config",
        &file("encryption-config.yaml"),
        "--kek",
        &kek,
        "--etcd-key",
        "/registry/secrets/team-0/db-000000",
        "--value-file",
        &file("value.bin"),
    ]);
    assert!(opened.ok().stdout.starts_with(b"k8s\0"));

    let ran = kms(&["quickstart", "--secrets", "3", "--dir", place]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("not empty"), "{ran:?}");
}
