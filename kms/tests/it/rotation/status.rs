//! `kms rotation status`

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use kms::cluster::{CensusOutcome, CensusRequest, ClusterSource, census};
use kms::rotation::{
    Deletion, KeyRole, RecordedRetirement, Registry, RegistrySources, WriterStates,
};
use kms_core::state::{FileStateOptions, FileStateStore, StateStore as _, StateVersion};
use kms_core::{CallOptions, Clock as _, KeyId, KeyProvider as _, TokioClock};
use kms_envelope::reencrypt::{CensusOptions, ReplicaState};
use serde_json::{Value, json};

use super::world::World;
use crate::command::{Ran, kms};
use crate::retire::{snapshot, text, under, vectors};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn status(arguments: &[&str]) -> Ran {
    kms(&[&["rotation", "status"], arguments].concat())
}

/// One key of the JSON.
fn key<'v>(status: &'v Value, id: &str) -> &'v Value {
    let keys = status["keys"].as_array().unwrap();
    let found = keys.iter().find(|key| key["key_id"] == id);
    found.unwrap_or_else(|| panic!("no {id}: {status}"))
}

fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    list.map(|it| it.as_str().unwrap()).collect()
}

/// A world whose first key may go.
fn rotated() -> World {
    let world = World::new();
    let _ = world.drive(World::options(), HOUR);
    world.keys.rotate().unwrap();
    let _ = world.drive(World::options(), 24 * HOUR);
    world
}

fn registry(world: &World, with: impl FnOnce(&mut RegistrySources)) -> Registry {
    let mut sources = RegistrySources::default();
    sources.record = Some((StateVersion::new(7), world.record()));
    let call = CallOptions::default();
    let listed = world.clock.run(world.keys.list_keys(&call)).unwrap();
    sources.keys = Some(listed.unwrap());
    with(&mut sources);
    Registry::new(sources, world.clock.wall_time())
}

/// R26: of a copy alone every key is shown with what needs it, and none may go.
#[test]
fn a_snapshot_shows_what_needs_each_key_and_no_more() {
    let set =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../kms-cluster/tests/vectors/etcd-snapshot");
    let scratch = tempfile::tempdir().unwrap();
    let snapshot = vectors::snapshot(&set, scratch.path());
    let found = status(&["--json", "--snapshot", text(&snapshot)])
        .ok()
        .json();
    assert_eq!(found["schema_version"], 1);
    assert_eq!(found["current"], Value::Null, "nothing says which it is");
    for (id, live, history) in [("kek-0", 0, 15), ("kek-1", 96, 85), ("kek-2", 164, 12)] {
        let key = key(&found, id);
        assert_eq!(key["live_objects"], live, "{id}");
        assert_eq!(key["history"], history, "{id}");
        assert_eq!(key["backups"], Value::Null, "none was scanned");
        assert_eq!(key["replicas"], Value::Null, "none was asked");
        assert_eq!(key["safe_to_delete"], false, "{id}");
        assert_eq!(key["role"], "unknown", "{id}");
        let reasons = strings(&key["reasons"]).join("\n");
        assert!(reasons.contains("KMS v1"), "{reasons}");
        assert!(reasons.contains("not proven"), "{reasons}");
    }
    let notes = strings(&found["notes"]).join("\n");
    for missing in [
        "no rotation is stored",
        "no API server",
        "no backup",
        "copy",
    ] {
        assert!(notes.contains(missing), "{missing}: {notes}");
    }
    let told = status(&["--snapshot", text(&snapshot)]).ok();
    let told = told.text();
    for part in ["MAY BE DELETED", "kek-0", "REPLICAS", "Not known:"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let one = told.lines().find(|line| line.starts_with("kek-1"));
    let one: Vec<_> = one.unwrap().split_whitespace().collect();
    assert_eq!(one[4..7], ["96", "85", "?"], "{told}");
}

/// R26, R27: the key of before may go since a time, unless somebody is found who needs it.
#[test]
fn what_may_go_is_told_with_since_when_and_who_is_in_the_way() {
    let world = rotated();
    let shown = registry(&world, |_| {});
    assert_eq!(shown.current.as_deref(), Some("static-2"));
    assert_eq!(shown.previous.as_deref(), Some("static-1"));
    let [current, previous] = &shown.keys[..] else {
        panic!("{shown:#?}");
    };
    assert_eq!(current.role, KeyRole::Current);
    assert!(!current.safe_to_delete);
    assert_eq!(previous.role, KeyRole::Previous);
    let since = world
        .rotation()
        .key(&KeyId::new("static-1").unwrap())
        .unwrap()
        .since();
    // Nobody has given leave, which lasts for a while.
    assert_eq!(previous.deletion, Deletion::LookAgain, "{previous:#?}");
    assert_eq!((previous.safe_since, previous.since), (None, Some(since)));
    assert!(shown.to_string().contains("look again"), "{shown}");
    assert!(
        previous.reasons[0].contains("`kms key retire KEY"),
        "{previous:#?}"
    );
    assert!(shown.rotation.as_ref().unwrap().settled);
    assert_eq!(shown.rotation.as_ref().unwrap().waiting_for, [""; 0]);

    // An API server that came back with what it had tells the hash of its key.
    let hash = KeyId::new(vectors::ring_sha256("static-1")).unwrap();
    let back = ReplicaState::new("cp-9", &hash, world.clock.wall_time());
    let writers = WriterStates::new(vec![back], vec!["cp-8".to_owned()]);
    let shown = registry(&world, |sources| sources.writers = Some(writers));
    assert_eq!(shown.keys.len(), 2, "the hash is no third key");
    assert_eq!(shown.keys[1].replicas, Some(1));
    assert_eq!(shown.keys[0].replicas, Some(0));
    assert!(!shown.keys[1].safe_to_delete);
    assert_eq!(shown.safe_to_delete().count(), 0);
    assert!(shown.notes.iter().any(|note| note.contains("cp-8")));
}

/// What is stored is joined with what is counted: an object that nobody expected is in the way.
#[test]
fn a_stored_rotation_is_shown_beside_what_is_counted() {
    let world = rotated();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("rotation.json");
    let bytes = world.record().to_bytes().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = FileStateOptions::new(Arc::new(TokioClock::new()));
        let store = FileStateStore::new(&path, options);
        let call = CallOptions::default();
        let _ = store.swap(None, &bytes, &call).await.unwrap();
    });
    let place = format!("file:{}", path.display());
    let found = status(&["--json", "--state", &place]).ok().json();
    let old = key(&found, "static-1");
    assert_eq!(old["phase"], "retirable");
    assert_eq!(old["safe_to_delete"], false);
    assert_eq!(old["deletion"], "look_again");
    assert_eq!(old["live_objects"], Value::Null);
    assert_eq!(old["safe_since"], Value::Null);
    assert_eq!(found["rotation"]["settled"], true);
    assert_eq!(found["rotation"]["driver"], Value::Null);

    let objects = [
        ("a", Some(under("static-2"))),
        ("b", Some(under("static-1"))),
    ];
    let copy = snapshot(scratch.path(), "copy.db", &objects);
    let found = status(&["--json", "--state", &place, "--snapshot", text(&copy)]);
    let found = found.ok().json();
    let old = key(&found, "static-1");
    assert_eq!(old["live_objects"], 1);
    assert_eq!(old["safe_to_delete"], false);
    assert_eq!(old["safe_since"], Value::Null);
    assert!(strings(&old["reasons"]).contains(&"1 live objects are under it"));
    // A backup is as much in the way as the cluster.
    let clean = snapshot(scratch.path(), "clean.db", &objects[..1]);
    let arguments = ["--snapshot", text(&clean), "--backup", text(&copy)];
    let found = status(&[&["--json", "--state", &place][..], &arguments].concat());
    let found = found.ok().json();
    let old = key(&found, "static-1");
    assert_eq!(
        (&old["live_objects"], &old["backups"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(old["safe_to_delete"], false);
}

/// An object's name and value; without one it is deleted.
type Record = (&'static str, Option<Vec<u8>>);

/// A count of objects.
fn counted(objects: &[Record]) -> CensusOutcome {
    let scratch = tempfile::tempdir().unwrap();
    let source = ClusterSource::snapshot(&snapshot(scratch.path(), "now.db", objects)).unwrap();
    let request = CensusRequest::new(CensusOptions::default()).with_history(true);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let taken = census(&source, request, Arc::new(TokioClock::new()), |_| {});
    runtime.block_on(taken).unwrap()
}

/// R26, rule 7: a key may be deleted while its leave lasts and nothing that is counted now needs it.
#[test]
fn a_key_may_go_while_its_leave_lasts_and_no_longer() {
    let world = rotated();
    let (old, evidence) = (KeyId::new("static-1").unwrap(), world.evidence());
    let store = world.store();
    let retired = RecordedRetirement::new(&store, &old, &evidence);
    world.run(retired.record(&world.clock)).unwrap();
    let look = |objects: Option<&[Record]>| {
        let shown = registry(&world, |it| it.cluster = objects.map(counted));
        let text = shown.to_string();
        let key = shown.keys.into_iter().find(|key| key.key_id == "static-1");
        let key = key.unwrap();
        assert_eq!(key.safe_to_delete, key.deletion == Deletion::Yes);
        assert_eq!(key.safe_since.is_some(), key.safe_to_delete);
        (key.deletion, text)
    };
    let clean = [("a", Some(under("static-2")))];
    let dirty = [("a", Some(under("static-1")))];
    let past = [("a", Some(under("static-1"))), ("a", None)];
    let (deletion, text) = look(None);
    assert_eq!(deletion, Deletion::NotCounted, "{text}");
    assert!(
        text.contains("not counted now") && !text.contains("yes, until"),
        "{text}"
    );
    let (deletion, text) = look(Some(&clean));
    assert_eq!(deletion, Deletion::Yes, "{text}");
    assert!(text.contains("yes, until 20"), "{text}");
    assert_eq!(look(Some(&dirty)).0, Deletion::No);
    assert_eq!(look(Some(&past)).0, Deletion::No);

    // What is stored says the same as before; it is the time that has passed.
    world.pass(HOUR);
    for objects in [None, Some(&clean[..])] {
        let (deletion, text) = look(objects);
        assert_eq!(deletion, Deletion::LookAgain, "{text}");
        assert!(
            text.contains("look again") && !text.contains("yes, until"),
            "{text}"
        );
        assert!(
            text.contains("leave to delete it has ended: `kms key plan-retire"),
            "{text}"
        );
    }
    assert_eq!(look(Some(&dirty)).0, Deletion::No);
}

#[test]
fn nothing_to_look_at_is_wrong_usage() {
    assert_eq!(status(&[]).code, Some(2));
    let ran = status(&["--state", "s3:bucket"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let ran = status(&[
        "--state",
        "file:/nonexistent/state",
        "--replica",
        "unix:/nowhere",
    ]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("--kms"), "{ran:?}");
}
