//! Evidence as JSON.

use kms_envelope::ErrorKind;
use kms_envelope::reencrypt::{Evidence, ReplicaState, UnscannedKind};
use proptest::prelude::*;
use serde_json::Value;

use super::{Stored, Under, backup, cluster, key, now, waived};

fn sample() -> Evidence {
    let stored = [
        Stored::live(Under::v2("kek-1")),
        Stored::superseded(Under::v2("kek-0")),
        Stored::live(Under::KmsV1("ol:d")),
        Stored::live(Under::Damaged),
    ];
    waived()
        .scanned(cluster(&stored))
        .scanned(backup("monday.db", &stored).with_sha256("00ff".to_owned()))
        .replica(ReplicaState::new("node-1", &key("kek-2"), now()))
        .not_scanned("tapes", UnscannedKind::Backup)
        .kms_v1_key("ol:d", &key("kek-1"))
        .finish()
        .unwrap()
}

fn json() -> String {
    sample().to_json().unwrap()
}

#[test]
fn what_is_written_is_read_again() {
    let evidence = sample();
    let read = Evidence::from_json(&json()).unwrap();
    assert_eq!(read, evidence);
    assert_eq!(read.digest(), evidence.digest());
    assert_eq!(read.taken_at(), now());
    // White space does not count.
    let value: Value = serde_json::from_str(&json()).unwrap();
    assert_eq!(value, serde_json::to_value(&evidence).unwrap());
    let compact = serde_json::to_string(&evidence).unwrap();
    assert_eq!(Evidence::from_json(&compact).unwrap(), evidence);
}

#[test]
fn the_order_of_what_is_said_does_not_count() {
    let a = Evidence::builder(now()).waive("a", "x").waive("b", "y");
    let b = Evidence::builder(now())
        .waive("b", "y")
        .waive("a", "x")
        .waive("b", "y");
    assert_eq!(a.finish().unwrap().digest(), b.finish().unwrap().digest());
}

/// Where, what is put there, and the kind of the refusal.
#[test]
fn what_is_missing_unknown_or_edited_is_refused() {
    let edit = |path: &str, new: Option<Value>| {
        let mut document: Value = serde_json::from_str(&json()).unwrap();
        let (parent, last) = path.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        let parent = parent.as_object_mut().unwrap();
        match new {
            Some(new) => drop(parent.insert(last.to_owned(), new)),
            None => assert!(parent.remove(last).is_some(), "{path}"),
        }
        Evidence::from_json(&document.to_string())
            .unwrap_err()
            .kind()
    };
    for path in [
        "/format",
        "/version",
        "/digest",
        "/content/sources",
        "/content/taken_at",
        "/content/waivers",
        "/content/sources/0/revision",
        "/content/sources/0/with_history",
        "/content/sources/0/references/0/live",
        "/content/sources/0/references/0/unknown",
    ] {
        assert_eq!(edit(path, None), ErrorKind::Malformed, "{path}");
    }
    for (path, new) in [
        ("/format", Value::from("kms-local-keyring")),
        ("/version", Value::from(0)),
        ("/digest", Value::from("00")),
        ("/more", Value::from(1)),
        ("/content/more", Value::from(1)),
        ("/content/sources/0/more", Value::from(1)),
        ("/content/sources/0/live", Value::from(false)),
        ("/content/sources/0/revision", Value::from(101)),
        ("/content/sources/0/revision", Value::from(-1)),
        ("/content/sources/0/cluster_id", Value::from("bb")),
        ("/content/sources/0/references/0/live", Value::from(0)),
        (
            "/content/sources/0/references/0/key_id",
            Value::from("kek-9"),
        ),
        (
            "/content/sources/0/references",
            Value::from(Vec::<Value>::new()),
        ),
        ("/content/sources", Value::from(Vec::<Value>::new())),
        ("/content/not_scanned", Value::from(Vec::<Value>::new())),
        ("/content/taken_at", Value::from("2027-01-15T08:00:01Z")),
        ("/content/taken_at", Value::from("2027-01-15 08:00:00Z")),
        ("/content/waivers/0/reason", Value::from(" ")),
    ] {
        assert_eq!(
            edit(path, Some(new.clone())),
            ErrorKind::Malformed,
            "{path} {new}"
        );
    }
    assert_eq!(
        edit("/version", Some(Value::from(2))),
        ErrorKind::Unsupported
    );
    let twice = json().replacen("\"digest\"", "\"version\": 1,\n\"digest\"", 1);
    assert!(Evidence::from_json(&twice).is_err());
    assert!(Evidence::from_json(&" ".repeat(64 * 1024 * 1024 + 1)).is_err());
}

#[test]
fn a_waiver_says_what_and_why() {
    for (name, reason) in [("", "x"), ("x", ""), ("x", " \n")] {
        let error = Evidence::builder(now()).waive(name, reason).finish();
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Malformed);
    }
}

proptest! {
    /// Any byte that is changed, put in or taken out is noticed, or is white space.
    #[test]
    fn damage_is_noticed(at: prop::sample::Index, byte in 0_u8..0x80, what in 0..3) {
        let json = json();
        let at = at.index(json.len());
        let mut damaged = json.clone().into_bytes();
        match what {
            0 => damaged[at] = byte,
            1 => damaged.insert(at, byte),
            _ => drop(damaged.remove(at)),
        }
        let damaged = String::from_utf8(damaged).unwrap();
        if let Ok(read) = Evidence::from_json(&damaged) {
            let same = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            prop_assert_eq!(same(&damaged), same(&json));
            prop_assert_eq!(read, sample());
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Evidence::from_json(&text);
    }
}
