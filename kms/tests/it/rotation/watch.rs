//! `kms rotation watch` on a real etcd, with two plugins and the API servers behind them.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kms::provider::open_endpoint;
use kms_cluster::etcd::{EtcdOptions, EtcdStore};
use kms_core::object::{
    FetchOptions, HistoryOptions, ObjectKey, ObjectSource as _, ObjectStore as _, Revision, Swap,
};
use kms_core::{CallOptions, Clock, OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, ProviderConfiguration, Transformer};
use serde_json::Value;

use crate::command::{Events, Ran, Served, kms};
use crate::etcd_server::Server;

const KMS: &str = "my-kms";

/// An etcd, a keyring, and two plugins over it.
struct World {
    directory: tempfile::TempDir,
    server: Server,
    _plugins: [Served; 2],
    clock: Arc<dyn Clock>,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keyring = format!("local:{}", directory.path().join("keyring.json").display());
        kms(&["key", "create", "--provider", &keyring]).ok();
        let plugins = [0, 1].map(|number| {
            let socket = directory.path().join(format!("{number}.sock"));
            let listen = format!("unix:{}", socket.display());
            let arguments = [
                "serve",
                "--provider",
                &keyring,
                "--listen",
                &listen,
                "--poll",
                "1",
            ];
            Served::start(&arguments, &socket)
        });
        let world = Self {
            directory,
            server: Server::start(),
            _plugins: plugins,
            clock: Arc::new(TokioClock::new()),
        };
        std::fs::write(world.path("config.yaml"), world.config(0)).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn keyring(&self) -> String {
        format!("local:{}", self.text("keyring.json"))
    }

    /// As the API server of this number has it.
    fn config(&self, number: usize) -> String {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - kms: {{apiVersion: v2, name: {KMS}, endpoint: \"unix://{}\"}}
      - identity: {{}}
",
            self.text(&format!("{number}.sock"))
        )
    }

    async fn api_server(&self, number: usize) -> Transformer {
        let config = EncryptionConfiguration::parse(&self.config(number)).unwrap();
        let providers = config.providers_for("", "secrets");
        let builder = Transformer::builder(
            providers.iter().copied(),
            Arc::clone(&self.clock),
            Arc::new(OsRandom),
        );
        let ProviderConfiguration::Kms(kms) = providers[0] else {
            panic!("{providers:?}");
        };
        let plugin = open_endpoint(kms, Arc::clone(&self.clock)).unwrap();
        let server = builder.kms(KMS, plugin).build().unwrap();
        server.refresh().await.unwrap();
        server
    }

    async fn store(&self) -> EtcdStore {
        let options = EtcdOptions::new([self.server.url()])
            .unwrap()
            .with_clock(Arc::clone(&self.clock));
        EtcdStore::connect(options).await.unwrap()
    }

    /// Both API servers, who go on writing and asking their plugins until they are told to stop, and
    /// have etcd compacted. Returns how often they wrote.
    fn live(&self, stop: &AtomicBool, compacts: bool) -> u64 {
        run(async {
            let servers = [self.api_server(0).await, self.api_server(1).await];
            let store = self.store().await;
            let mut writes = 0;
            while !stop.load(Ordering::Relaxed) {
                for (number, server) in servers.iter().enumerate() {
                    server.refresh().await.unwrap();
                    let key = secret(&format!("busy-{number}"));
                    put(&store, server, &key).await;
                    writes += 1;
                }
                if compacts && writes % 8 == 0 {
                    let call = CallOptions::default();
                    let newest = store.identity(&call).await.unwrap().revision;
                    self.server.compact(newest);
                }
                self.clock
                    .sleep_until(self.clock.now() + Duration::from_millis(200))
                    .await;
            }
            writes
        })
    }

    fn fill(&self, count: usize) {
        run(async {
            let server = self.api_server(0).await;
            let store = self.store().await;
            for number in 0..count {
                put(&store, &server, &secret(&format!("{number:04}"))).await;
            }
        });
    }

    /// Arguments of a driver, for seconds instead of minutes.
    fn watch(&self, more: &[&str]) -> Vec<String> {
        let replica = |number| format!("cp-{number}=unix:{}", self.text(&format!("{number}.sock")));
        let (first, second) = (replica(0), replica(1));
        let (keyring, config) = (self.keyring(), self.text("config.yaml"));
        let evidence = self.text("evidence.json");
        let fixed = [
            ["rotation", "watch"],
            ["--etcd", self.server.url()],
            ["--provider", &keyring],
            ["--kms", KMS],
            ["--encryption-config", &config],
            ["--replica", &first],
            ["--replica", &second],
            ["--replicas", "2"],
            ["--waive", "backups=none are kept"],
            ["--waive", "other-clusters=one keyring, one cluster"],
            ["--poll", "1"],
            ["--activation-delay", "0"],
            ["--skew", "0"],
            ["--write-lease", "2"],
            ["--verify-again", "1"],
            ["--takeover", "3"],
            ["--evidence", &evidence],
        ];
        let fixed = fixed.iter().flatten().chain(more);
        fixed.map(|it| (*it).to_owned()).collect()
    }

    fn start(&self, more: &[&str]) -> Events {
        let arguments = self.watch(&[&["--json"], more].concat());
        Events::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self, more: &[&str]) -> Ran {
        let arguments = self.watch(more);
        kms(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// One run of a timer: it waits for nobody, or for more than time.
    fn once(&self) {
        let ran = self.run(&["--once"]);
        assert!(matches!(ran.code, Some(0 | 3)), "{ran:?}");
    }

    fn rotate(&self) -> (String, String) {
        let keyring = self.keyring();
        kms(&["key", "rotate", "--provider", &keyring]).ok();
        let listed = kms(&["key", "list", "--json", "--provider", &keyring]);
        let listed = listed.ok().json();
        let keys = listed["keys"].as_array().unwrap();
        let id = |at: usize| keys[at]["key_id"].as_str().unwrap().to_owned();
        (id(keys.len() - 2), id(keys.len() - 1))
    }

    fn status(&self) -> Value {
        let (keyring, replica) = (self.keyring(), format!("unix:{}", self.text("0.sock")));
        let arguments = [
            ["rotation", "status"],
            ["--state", "etcd"],
            ["--etcd", self.server.url()],
            ["--provider", &keyring],
            ["--kms", KMS],
            ["--replica", &replica],
        ];
        let arguments = arguments.iter().flatten().chain(&["--json"]);
        kms(&arguments.copied().collect::<Vec<_>>()).ok().json()
    }

    /// How often each object of `fill` was written since etcd was last compacted.
    fn writes(&self) -> BTreeMap<ObjectKey, usize> {
        run(async {
            let store = self.store().await;
            let mut options = HistoryOptions::default().with_prefix("/registry/secrets/ns/0");
            let mut found = BTreeMap::new();
            loop {
                let page = store.history(&options).await.unwrap();
                for record in page.records {
                    *found.entry(record.key.clone()).or_default() += 1;
                }
                match page.next {
                    Some(next) => options.after = Some(next),
                    None => return found,
                }
            }
        })
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

fn secret(name: &str) -> ObjectKey {
    ObjectKey::new(format!("/registry/secrets/ns/{name}")).unwrap()
}

/// Writes an object as an API server does: whatever is there is opened first.
async fn put(store: &EtcdStore, server: &Transformer, key: &ObjectKey) {
    loop {
        let found = store.fetch(key, &FetchOptions::default()).await.unwrap();
        if let Some(found) = &found {
            server.read(key.as_bytes(), &found.value).await.unwrap();
        }
        let value = server.write(key.as_bytes(), b"k8s\0content").await.unwrap();
        let swap = match found {
            Some(found) => Swap::Replace {
                expected: found.revision,
                value,
            },
            None => Swap::Create { value },
        };
        let call = CallOptions::default();
        let swapped = store.compare_and_swap(key, &swap, &call).await.unwrap();
        if swapped.swapped().is_some() {
            return;
        }
    }
}

fn key<'v>(status: &'v Value, id: &str) -> &'v Value {
    let keys = status["keys"].as_array().unwrap();
    let found = keys.iter().find(|key| key["key_id"] == id);
    found.unwrap_or(&Value::Null)
}

/// R23, R25, R26, R57 to R59: somebody makes a new version, and nobody does anything else. It is
/// seen, waited for until both API servers write with it, every object is rewritten under their
/// hands and counted, and the old key is said to be free; then it can be retired.
#[test]
#[ignore = "needs etcd"]
fn a_new_version_is_carried_through_to_the_retired_key_unattended() {
    let world = World::new();
    world.fill(120);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let live = scope.spawn(|| world.live(&stop, true));
        let mut events = world.start(&[]);
        events.wait(|it| it["event"] == "settled");
        let (old, new) = world.rotate();
        let to = |stage: &str, id: &str| {
            let (stage, id) = (stage.to_owned(), id.to_owned());
            move |it: &Value| it["event"] == "key" && it["key_id"] == *id && it["to"] == *stage
        };
        events.wait(to("active", &new));
        events.wait(|it| it["event"] == "converged");
        let migrated = events.wait(|it| it["event"] == "migrated");
        assert!(migrated["rewritten"].as_u64().unwrap() >= 100, "{migrated}");
        events.wait(|it| it["event"] == "census" && it["remaining"]["off_target"] == 0);
        events.wait(to("retirable", &old));
        assert_eq!(events.terminate(), Some(0));
        stop.store(true, Ordering::Relaxed);
        assert!(live.join().unwrap() > 10);

        let status = world.status();
        assert_eq!(status["current"], *new);
        assert_eq!(status["previous"], *old);
        let freed = key(&status, &old);
        assert_eq!(freed["deletion"], "look_again", "{status:#}");
        assert_eq!(
            (&freed["live_objects"], &freed["history"]),
            (&0.into(), &0.into())
        );
        assert_eq!(key(&status, &new)["replicas"], 1);
        assert_eq!(key(&status, &new)["live_objects"], 122);
        assert_eq!(status["rotation"]["settled"], true);
        assert_eq!(
            status["rotation"]["driver"],
            Value::Null,
            "it left in order"
        );

        let evidence = world.text("evidence.json");
        let arguments = [
            "key",
            "retire",
            &old,
            "--evidence",
            &evidence,
            "--state",
            "etcd",
        ];
        let retire =
            |more: &[&str]| kms(&[&arguments[..], &["--etcd", world.server.url()], more].concat());
        retire(&[]).ok();
        assert_eq!(
            key(&world.status(), &old)["phase"],
            "retirable",
            "nothing was recorded"
        );
        retire(&["--yes"]).ok();
        let status = world.status();
        let retired = key(&status, &old);
        assert_eq!(retired["phase"], "retired", "{status:#}");
        assert_eq!(retired["safe_to_delete"], true);
        assert!(
            retired["reasons"][0]
                .as_str()
                .unwrap()
                .contains("leave to delete"),
            "{status:#}"
        );
        // The rotation has a say: what is in use is not let go, whatever evidence says.
        let place = format!("file:{}", world.text("nothing"));
        let nowhere = kms(&[
            &arguments[..5],
            &["--state", &place, "--etcd", world.server.url()],
        ]
        .concat());
        assert_eq!(nowhere.code, Some(1));
        assert!(nowhere.stderr.contains("no rotation"), "{nowhere:?}");
    });
}

/// A driver that is killed while objects are rewritten: the next one waits for its signs of life to
/// end, takes over and goes on where it stood; no object is written twice.
#[test]
#[ignore = "needs etcd"]
fn a_driver_that_is_killed_in_the_middle_is_gone_on_from() {
    let world = World::new();
    world.fill(400);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| world.live(&stop, false));
        world.run(&["--until-done"]).ok();
        let before = world.writes();
        world.rotate();
        let mut first = world.start(&["--rate", "60"]);
        first.wait(|it| it["event"] == "progress" && it["rewritten"].as_u64().unwrap() > 60);
        first.kill();
        let halfway = world.writes();
        let rewritten = |now: &BTreeMap<ObjectKey, usize>| {
            let changed = now
                .iter()
                .filter(|(key, count)| before.get(*key) != Some(*count));
            changed.count()
        };
        assert!(
            (60..400).contains(&rewritten(&halfway)),
            "{}",
            rewritten(&halfway)
        );

        let mut second = world.start(&["--until-done"]);
        second.wait(|it| it["event"] == "waiting");
        let driving = second.wait(|it| it["event"] == "driving");
        assert!(driving["after"]["id"].is_string(), "{driving}");
        assert_eq!(driving["new"], false);
        let migrated = second.wait(|it| it["event"] == "migrated");
        assert!(migrated["rewritten"].as_u64().unwrap() < 402, "{migrated}");
        stop.store(true, Ordering::Relaxed);
        assert_eq!(second.end(), Some(0));
        let after = world.writes();
        assert_eq!(rewritten(&after), 400);
        for (key, count) in &after {
            assert_eq!(*count, before[key] + 1, "{key}");
        }
    });
}

/// What a timer runs: each run does what can be done, and the last one finds everything done.
#[test]
#[ignore = "needs etcd"]
fn once_is_enough_if_it_is_often_enough() {
    let world = World::new();
    world.fill(30);
    let dry = world.run(&["--dry-run", "--json"]).ok().json();
    assert_eq!(dry["has_state"], false);
    let settle = || {
        until("everything is done", || {
            world.once();
            world.status()["rotation"]["settled"] == true
        });
        world.status()
    };
    settle();
    let (old, new) = world.rotate();
    // The plugins see it within a second or so.
    until("the plugin names it", || {
        key(&world.status(), &new)["replicas"] == 1
    });
    world.once();
    let status = settle();
    assert_eq!(status["current"], *new);
    assert_eq!(key(&status, &old)["live_objects"], 0);
    // Nobody compacts here: history is in the way, and is said to be.
    assert_eq!(key(&status, &old)["history"], 30);
    assert_eq!(key(&status, &old)["safe_to_delete"], false);
    assert_eq!(world.run(&["--once"]).code, Some(3));
    let newest = run(async {
        let store = world.store().await;
        store
            .identity(&CallOptions::default())
            .await
            .unwrap()
            .revision
    });
    world.server.compact(Revision::new(newest.get()));
    until("the old key may go", || {
        world.once();
        key(&world.status(), &old)["deletion"] == "look_again"
    });
    world.run(&["--once"]).ok();
}

/// A timer tells by the exit code that somebody has to look, or that nothing could be done.
#[test]
#[ignore = "needs etcd"]
fn once_says_that_it_waits_for_an_operator_and_ends_without_a_store() {
    let world = World::new();
    world.fill(3);
    let nobody = format!("cp-9=unix:{}", world.text("9.sock"));
    let ran = world.run(&["--once", "--replica", &nobody]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("waits for an operator"), "{ran:?}");
    let json = world.run(&["--once", "--json", "--replica", &nobody]);
    assert_eq!(json.code, Some(3), "{json:?}");
    assert_eq!(json.error_json()["error"]["kind"], "waits");

    let nowhere = format!("file:{}", world.text("nodir/w.json"));
    let ran = world.run(&["--once", "--state", &nowhere]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("nodir"), "{ran:?}");
}

/// A keyring that no plugin of the cluster has.
#[test]
#[ignore = "needs etcd"]
fn another_keyring_begins_nothing_and_does_not_end_what_was_begun() {
    let world = World::new();
    world.fill(3);
    let other = format!("local:{}", world.text("other.json"));
    kms(&["key", "create", "--provider", &other]).ok();
    let run = |more: &[&str]| {
        let own = world.keyring();
        let of_other = |it: String| if it == own { other.clone() } else { it };
        let arguments: Vec<_> = world.watch(more).into_iter().map(of_other).collect();
        kms(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let ran = run(&["--once", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.error_json()["error"]["kind"], "another_provider");
    assert_eq!(
        world.server.control(&["get", "--prefix", "/kms/"]).trim(),
        "",
        "no state was begun"
    );
    world.once();
    let ran = run(&["--once", "--json"]);
    assert!(!ran.stderr.contains("another_provider"), "{ran:?}");
}

/// Looks again and again, for as long as anybody would.
fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..200 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("not in time: {what}");
}
