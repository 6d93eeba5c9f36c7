//! A live etcd, from the first look to the retirement.

use std::path::PathBuf;

use kms_cluster::etcd::{EtcdOptions, EtcdStore};
use kms_core::CallOptions;
use kms_core::object::{FetchOptions, ObjectKey, ObjectSource as _, ObjectStore as _, Swap};
use serde_json::Value;

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
        kms(&[&arguments[..], more].concat())
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
    world.plan(&[]).ok();
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
    world.plan(&[]).ok();
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
