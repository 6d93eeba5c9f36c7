//! From one thing to another, with one worker that nobody disturbs.

use super::{CONFIG, World, number, secret};
use crate::command::{Served, kms};

const OBJECTS: usize = 300;

/// R23 and R37: switched on, rotated, and switched off again, each seen by a census.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn r23_r24_r37_on_rotated_and_off() {
    let world = World::new();
    world.fill(&world.api_server(2).await, OBJECTS).await;
    assert_eq!(world.key_ids()[""], OBJECTS as u64);

    let dry = world.migrate(&["--dry-run", "--json"]).ok().json();
    assert_eq!(number(&dry["counts"]["would_rewrite"]), OBJECTS as u64);
    assert_eq!(world.key_ids()[""], OBJECTS as u64, "it changed nothing");

    let on = world.migrate(&["--json"]).ok().json();
    assert_eq!(on["end"]["state"], "complete");
    assert_eq!(number(&on["counts"]["rewritten"]), OBJECTS as u64);
    let first = world.current_key().await.to_string();
    assert_eq!(world.key_ids()[&first], OBJECTS as u64);
    // Nobody was named, and that is said.
    assert!(
        on["unchecked"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    );

    world.rotate();
    let text = world.migrate(&[]).ok();
    assert!(text.text().contains("Verified"), "{}", text.text());
    assert!(text.stderr.contains("not checked"), "{}", text.stderr);
    let second = world.current_key().await.to_string();
    assert_ne!(first, second);
    let ids = world.key_ids();
    assert_eq!((ids.len(), ids[&second]), (1, OBJECTS as u64));

    let off = world.migrate(&["--to", "plain", "--json"]).ok().json();
    assert_eq!(number(&off["counts"]["rewritten"]), OBJECTS as u64);
    assert_eq!(world.key_ids()[""], OBJECTS as u64);
    let left = world
        .server
        .control(&["get", "--prefix", "/kms/", "--keys-only"]);
    assert_eq!(left.trim(), "", "no checkpoint stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn an_object_that_does_not_open_is_named_and_the_exit_code_is_1() {
    let world = World::new();
    world.fill(&world.api_server(1).await, 20).await;
    let bad = secret(99).to_string();
    world
        .server
        .control(&["put", &bad, "k8s:enc:kms:v2:away:x"]);
    let ran = world.migrate(&["--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.error_json()["error"]["kind"], "incomplete");
    let report = ran.json();
    assert_eq!(report["remaining"][0]["etcd_key"], bad.as_str());
    assert_eq!(number(&report["counts"]["rewritten"]), 20);
}

/// An API server whose plugin still gives the old key would write under it: it is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn an_api_server_that_lags_behind_is_noticed_before_anything_is_written() {
    let world = World::new();
    world.fill(&world.api_server(2).await, 20).await;
    // A control plane node whose keyring was not rotated.
    let old = world.path("old.json");
    std::fs::copy(world.path("keyring.json"), &old).unwrap();
    world.rotate();
    let socket = world.path("old.sock");
    let (keyring, listen) = (
        format!("local:{}", old.display()),
        format!("unix:{}", socket.display()),
    );
    let arguments = ["serve", "--provider", &keyring, "--listen", &listen];
    let served = Served::start(&arguments, &socket);
    let ran = world.migrate(&["--replica", &listen, "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.error_json()["error"]["kind"], "replicas");
    assert_eq!(world.key_ids()[""], 20, "nothing was written");
    served.terminate();

    let socket = world.path("new.sock");
    let listen = format!("unix:{}", socket.display());
    let keyring = world.keyring();
    let arguments = ["serve", "--provider", &keyring, "--listen", &listen];
    let served = Served::start(&arguments, &socket);
    let agreed = [
        "--replica",
        &listen,
        "--replicas",
        "1",
        "--no-settling",
        "--json",
    ];
    let report = world.migrate(&agreed).ok().json();
    assert_eq!(report["replicas"][0]["agrees"], true, "{report}");
    let missing = [
        "--replica",
        &listen,
        "--replicas",
        "3",
        "--no-settling",
        "--json",
    ];
    let ran = world.migrate(&missing);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("2 API servers"), "{}", ran.stderr);
    served.terminate();
}

/// R24: a replica that was named and cannot be asked may write with any key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn an_api_server_that_cannot_be_asked_stands_in_the_way() {
    let world = World::new();
    world.fill(&world.api_server(2).await, 5).await;
    let nobody = format!("cp1=unix:{}", world.path("nope.sock").display());
    let named = ["--replica", &nobody, "--replicas", "1"];
    let ran = world.migrate(&[&named[..], &["--json"]].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let error = &ran.error_json()["error"];
    assert_eq!(error["kind"], "replicas");
    assert!(error["message"].as_str().unwrap().contains("cp1"));
    assert_eq!(world.key_ids()[""], 5, "nothing was written");
    // To look changes nothing.
    let dry = world.migrate(&[&named[..], &["--dry-run"]].concat()).ok();
    assert!(dry.stderr.contains("not checked: cp1"), "{}", dry.stderr);
    let nobody_named = world.migrate(&[]).ok();
    assert!(
        nobody_named
            .stderr
            .contains("no API server and no plugin was named"),
        "{}",
        nobody_named.stderr
    );
}

/// A rotation is noticed by the first Encrypt: until then Status tells the key before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_plugin_that_has_just_been_rotated_is_not_called_broken() {
    let world = World::new();
    let socket = world.path("kms.sock");
    let listen = format!("unix:{}", socket.display());
    let keyring = world.keyring();
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
    world.fill(&world.api_server(2).await, 5).await;
    let config = CONFIG.replace("/nonexistent/kms.sock", socket.to_str().unwrap());
    std::fs::write(world.path("config.yaml"), config).unwrap();
    let (etcd, config) = (world.server.url(), world.path("config.yaml"));
    let config = config.to_str().unwrap();
    let etcd = ["--etcd", etcd, "--encryption-config", config, "--json"];
    for command in [&["migrate"][..], &["census", "--verify"]] {
        world.rotate();
        kms(&[command, &etcd[..]].concat()).ok();
    }
}

/// A wrong prefix is not a migration of nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_prefix_under_which_nothing_lies_is_refused() {
    let world = World::new();
    // Nothing at all is stored: nothing is to be done, which is said.
    let ran = world.migrate(&[]).ok();
    assert!(ran.stderr.contains("no object"), "{}", ran.stderr);

    world.fill(&world.api_server(2).await, 3).await;
    let ran = world.migrate(&["--etcd-prefix", "/nope", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.error_json()["error"]["kind"], "no_objects");
    // The prefix is right, and the resource has no objects.
    let ran = world.migrate(&["--namespace", "nobody"]).ok();
    assert!(ran.stderr.contains("no object"), "{}", ran.stderr);
    assert_eq!(world.key_ids()[""], 3);
}

/// What nothing encrypted needs no key afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn what_is_said_of_the_past_is_true_of_it() {
    let world = World::new();
    world.fill(&world.api_server(2).await, 3).await;
    let on = world.migrate(&[]).ok();
    assert!(
        !on.text().contains("old key is still needed"),
        "{}",
        on.text()
    );
    assert!(
        on.text().contains("still holds them in clear"),
        "{}",
        on.text()
    );
    world.rotate();
    let again = world.migrate(&[]).ok();
    assert!(
        again.text().contains("old key is still needed"),
        "{}",
        again.text()
    );
    assert!(!again.text().contains("in clear"), "{}", again.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_file_that_is_no_checkpoint_is_left_alone() {
    let world = World::new();
    world.fill(&world.api_server(2).await, 5).await;
    let path = world.path("notes.txt");
    std::fs::write(&path, "notes").unwrap();
    let file = path.to_str().unwrap();
    let ran = world.migrate(&["--checkpoint", file, "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no checkpoint"), "{}", ran.stderr);
    assert_eq!(std::fs::read(&path).unwrap(), b"notes");
    let other = world.path("checkpoint.json");
    let file = other.to_str().unwrap();
    world.migrate(&["--checkpoint", file]).ok();
    assert!(!other.exists(), "it is done");
    kms(&["census", "--etcd", world.server.url()]).ok();
}
