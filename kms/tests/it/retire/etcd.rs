//! A live etcd, from the first look to the retirement.

use std::path::PathBuf;

use kms_cluster::etcd::{EtcdOptions, EtcdStore};
use kms_core::CallOptions;
use kms_core::object::{FetchOptions, ObjectKey, ObjectSource as _, ObjectStore as _, Swap};
use serde_json::Value;

use super::known::{WAIVERS, keyring};
use super::{codes, commands, plan, snapshot, text, under, under_v1};
use crate::command::{Ran, kms};
use crate::etcd_server::Server;

const OLD: &str = "kek-1";

struct World {
    server: Server,
    scratch: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            server: Server::start(),
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    /// Writes an object, whatever was there.
    fn put(&self, name: &str, value: Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let options = EtcdOptions::new([self.server.url()]).unwrap();
            let store = EtcdStore::connect(options).await.unwrap();
            let key = ObjectKey::new(format!("/registry/secrets/default/{name}")).unwrap();
            let found = store.fetch(&key, &FetchOptions::default()).await.unwrap();
            let swap = match found {
                Some(found) => Swap::Replace {
                    expected: found.revision,
                    value,
                },
                None => Swap::Create { value },
            };
            let call = CallOptions::default();
            let outcome = store.compare_and_swap(&key, &swap, &call);
            outcome.await.unwrap().swapped().unwrap();
        });
    }

    fn evidence(&self) -> PathBuf {
        self.scratch.path().join("evidence.json")
    }

    fn plan(&self, more: &[&str]) -> Ran {
        let out = self.evidence();
        let mut arguments = vec!["--json", "--etcd", self.server.url(), "--out", text(&out)];
        for waiver in ["backups=none", "replicas=none", "other-clusters=none"] {
            arguments.extend(["--waive", waiver]);
        }
        arguments.extend(more);
        plan(OLD, &arguments)
    }

    fn retire(&self, more: &[&str]) -> Ran {
        self.retire_from(self.server.url(), more)
    }

    fn retire_from(&self, url: &str, more: &[&str]) -> Ran {
        let out = self.evidence();
        let arguments = [
            "key",
            "retire",
            OLD,
            "--json",
            "--evidence",
            text(&out),
            "--etcd",
            url,
        ];
        let mut arguments = [&arguments[..], more].concat();
        // Where it is recorded has to be said.
        let statement = self.scratch.path().join("statement.json");
        if more == ["--yes"] {
            arguments.extend(["--out", text(&statement)]);
        }
        kms(&arguments)
    }

    /// Does what a command of a plan says.
    fn obey(&self, command: &str) {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("etcdctl"));
        assert_eq!(
            words.next().unwrap(),
            format!("--endpoints={}", self.server.url())
        );
        self.server.control(&words.collect::<Vec<_>>());
    }
}

fn refused(ran: &Ran) -> Vec<String> {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let found: Value = ran.json();
    codes(&found).into_iter().map(str::to_owned).collect()
}

/// R23, R25, R37: encryption is switched off, every object is rewritten, history is compacted as
/// the plan says; then, and no sooner, the key may go.
#[test]
#[ignore = "needs etcd"]
fn a_key_goes_when_the_plan_was_followed() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.put(name, under(OLD));
    }
    let found = world.plan(&[]);
    assert_eq!(refused(&found), ["live_objects"]);
    let found = found.json();
    assert_eq!(found["needed_by"]["live"]["objects"], 3);
    let migrate = format!(
        "kms migrate --etcd {} --encryption-config FILE",
        world.server.url()
    );
    assert!(commands(&found).contains(&migrate.as_str()), "{found}");
    assert_eq!(refused(&world.retire(&["--yes"])), ["live_objects"]);

    for name in ["a", "b", "c"] {
        world.put(name, b"k8s\0plain".to_vec());
    }
    // The evidence of before says what it said.
    assert_eq!(refused(&world.retire(&["--yes"])), ["live_objects"]);
    let found = world.plan(&[]);
    assert_eq!(refused(&found), ["history"]);
    let found = found.json();
    assert_eq!(found["needed_by"]["history"]["records"], 3);
    for command in commands(&found)
        .into_iter()
        .filter(|it| it.starts_with("etcdctl"))
    {
        world.obey(command);
    }

    let found = world.plan(&[]).ok().json();
    assert_eq!(found["objections"], serde_json::json!([]));
    let source = &found["evidence"]["content"]["sources"][0];
    assert_eq!(source["kind"], "etcd");
    assert_eq!(source["cluster_id"].as_str().unwrap().len(), 16);
    assert!(source["compact_revision"].as_u64().unwrap() > 1, "{source}");
    let last = commands(&found).pop().unwrap();
    assert!(
        last.starts_with("kms key retire kek-1 --evidence "),
        "{last}"
    );

    let out = world.scratch.path().join("retirement.json");
    let looked = world.retire(&[]).ok();
    assert!(looked.stderr.contains("nothing was recorded"), "{looked:?}");
    let recorded = world.retire(&["--yes", "--out", text(&out)]).ok().json();
    let written: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(recorded, written);
    assert_eq!(recorded["key_id"], OLD);
    assert_eq!(recorded["cluster_id"], source["cluster_id"]);
    assert_eq!(recorded["plan"], found["evidence"]["digest"]);
    assert_eq!(
        recorded["evidence"]["content"]["waivers"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    // A statement is not overwritten.
    let again = world.retire(&["--yes", "--out", text(&out)]);
    assert_eq!(again.code, Some(1), "{again:?}");
}

#[test]
#[ignore = "needs etcd"]
fn one_object_that_was_written_since_is_found() {
    let world = World::new();
    world.put("a", under("kek-2"));
    world.plan(&["--never-seen"]).ok();
    world.retire(&[]).ok();
    world.put("late", under(OLD));
    assert_eq!(refused(&world.retire(&["--yes"])), ["live_objects"]);
    let out = world.scratch.path().join("retirement.json");
    world.retire(&["--yes", "--out", text(&out)]);
    assert!(!out.exists());
    // Gone again, it is still in history; and what cannot be known is found, too.
    world
        .server
        .control(&["del", "/registry/secrets/default/late"]);
    world.put("v1", under_v1("old"));
    assert_eq!(
        refused(&world.retire(&["--yes"])),
        ["history", "unknown_key"]
    );
}

#[test]
#[ignore = "needs etcd"]
fn evidence_of_another_cluster_or_of_a_copy_is_refused() {
    let world = World::new();
    world.put("a", under("kek-2"));
    world.plan(&["--never-seen"]).ok();
    let other = Server::start_with("http", &["--initial-cluster-token=other"], &[]);
    let ran = world.retire_from(other.url(), &["--yes"]);
    assert_eq!(refused(&ran), ["other_cluster"]);

    let copy = snapshot(
        world.scratch.path(),
        "copy.db",
        &[("a", Some(under("kek-2")))],
    );
    let out = world.evidence();
    plan(OLD, &["--snapshot", text(&copy), "--out", text(&out)]);
    let found = refused(&world.retire(&["--yes"]));
    assert!(found.contains(&"no_live_source".to_owned()), "{found:?}");
    assert!(found.contains(&"other_cluster".to_owned()), "{found:?}");
}

/// R25: the number of a version is no key id; without the provider it gives no leave, and with it
/// the key in use stays and the other one goes by its whole id.
#[test]
#[ignore = "needs etcd"]
fn a_key_that_nothing_names_goes_on_the_word_of_its_provider() {
    let world = World::new();
    let (uri, [old, current]) = keyring(world.scratch.path());
    world.put("a", under(&current));
    let out = world.evidence();
    let url = world.server.url();
    let look = |key: &str, more: &[&str]| {
        let arguments = ["--json", "--etcd", url, "--out", text(&out)];
        plan(key, &[&arguments[..], &WAIVERS, more].concat())
    };
    let retire = |key: &str, more: &[&str]| {
        let arguments = ["key", "retire", key, "--json", "--etcd", url, "--evidence"];
        kms(&[&arguments[..], &[text(&out)], more].concat())
    };
    let provider = ["--provider", uri.as_str()];
    for number in ["1", "2"] {
        assert_eq!(look(number, &[]).code, Some(2));
        assert_eq!(retire(number, &["--yes"]).code, Some(2));
    }
    // Nothing under it is left, and nobody was asked who knows it.
    assert_eq!(refused(&look(&old, &[])), ["never_seen"]);
    assert_eq!(refused(&retire(&old, &[])), ["never_seen"]);
    assert_eq!(
        refused(&look("2", &provider)),
        ["live_objects", "current_key"]
    );
    // Also if the objects were gone, and by the last look, too.
    assert_eq!(refused(&look("3-x", &provider)), ["never_seen"]);
    let found = look("1", &provider).ok().json();
    let last = commands(&found).pop().unwrap();
    assert!(last.contains(&format!(" {old} ")), "{last}");
    assert!(last.contains(&format!("--provider {uri}")), "{last}");
    assert_eq!(
        refused(&retire(&current, &[])),
        ["live_objects", "current_key"]
    );
    assert_eq!(refused(&retire(&old[..old.len() - 1], &[])), ["never_seen"]);

    let nowhere = retire("1", &[&provider[..], &["--yes"]].concat());
    assert_eq!(nowhere.code, Some(2), "{nowhere:?}");
    assert!(nowhere.stderr.contains("--out"), "{nowhere:?}");
    let statement = world.scratch.path().join("statement.json");
    let arguments = [&provider[..], &["--yes", "--out", text(&statement)]].concat();
    let ran = retire("1", &arguments).ok();
    assert!(ran.stderr.contains("recorded in"), "{ran:?}");
    let gone = ran.json();
    assert_eq!(gone["key_id"], old.as_str());
    assert_eq!(
        commands(&gone),
        [
            format!("kms key disable --provider {uri} {old}"),
            format!("kms key destroy --provider {uri} {old}")
        ]
    );

    // Evidence that somebody answered for is enough, and says so.
    look(&old, &["--never-seen"]).ok();
    retire(&old, &[]).ok();
    // The provider wraps with it again by then, whatever the evidence says.
    kms(&["key", "create", "--provider", &format!("{uri}.2")]).ok();
    let keys = kms(&["key", "list", "--provider", &format!("{uri}.2"), "--json"]);
    let other = keys.ok().json()["keys"][0]["key_id"].clone();
    let other = other.as_str().unwrap();
    look(other, &["--never-seen"]).ok();
    assert_eq!(
        refused(&retire(other, &["--provider", &format!("{uri}.2")])),
        ["current_key"]
    );
}

/// What a rotation has recorded is not recorded again by a statement that cannot be written.
#[test]
#[ignore = "needs etcd"]
fn a_statement_that_cannot_be_written_is_known_before_anything_is_done() {
    let world = World::new();
    world.put("a", under("kek-2"));
    world.plan(&["--never-seen"]).ok();
    let taken = world.scratch.path().join("taken.json");
    std::fs::write(&taken, "mine").unwrap();
    let state = format!("file:{}", text(&world.scratch.path().join("state")));
    let recorded = ["--yes", "--state", &state, "--out"];
    let ran = world.retire(&[&recorded[..], &[text(&taken)]].concat());
    assert!(ran.stderr.contains("File exists"), "{ran:?}");
    assert_eq!(std::fs::read(&taken).unwrap(), b"mine");
    // And what is not recorded there leaves no statement.
    let out = world.scratch.path().join("statement.json");
    let ran = world.retire(&[&recorded[..], &[text(&out)]].concat());
    assert_eq!(ran.error_json()["error"]["kind"], "no_state");
    assert!(!out.exists());
}
