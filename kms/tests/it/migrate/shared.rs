//! Several workers on one etcd.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{World, number};

fn worker(world: &World, name: &str, more: &[&str]) -> Child {
    let shared = ["--workers-shared", "--worker-id", name, "--json"];
    Command::new(env!("CARGO_BIN_EXE_kms"))
        .args(world.arguments(&[&shared, more].concat()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn report(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn assert_written_once(world: &World, objects: usize) {
    let new = world.current_key().await.to_string();
    assert_eq!(world.key_ids()[&new], objects as u64);
    let history = world.history().await;
    assert_eq!(history.len(), objects);
    for (key, records) in history {
        assert_eq!(records.len(), 2, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn two_workers_do_no_work_twice() {
    let world = World::new();
    let objects = 6000;
    world.fill(&world.api_server(1).await, objects).await;
    let rate = ["--rate", "800/s"];
    let children = [worker(&world, "a", &rate), worker(&world, "b", &rate)];
    let reports = children.map(|child| report(&child.wait_with_output().unwrap()));
    let done = reports
        .each_ref()
        .map(|report| number(&report["counts"]["rewritten"]));
    assert_eq!(done[0] + done[1], objects as u64);
    assert!(done.iter().all(|done| *done >= 1000), "{done:?}");
    for report in &reports {
        assert_eq!(report["end"]["state"], "complete");
        assert_eq!(number(&report["counts"]["conflicts"]), 0);
    }
    assert_written_once(&world, objects).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn what_a_killed_worker_had_claimed_is_taken_over() {
    let world = World::new();
    let objects = 4000;
    world.fill(&world.api_server(1).await, objects).await;
    let rate = ["--rate", "400/s"];
    let mut dies = worker(&world, "dies", &rate);
    let lives = worker(&world, "lives", &rate);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(dies.try_wait().unwrap().is_none());
    dies.kill().unwrap();
    dies.wait().unwrap();
    let report = report(&lives.wait_with_output().unwrap());
    assert_eq!(report["end"]["state"], "complete");
    assert_eq!(number(&report["verification"]["right"]), objects as u64);
    assert_written_once(&world, objects).await;
}
