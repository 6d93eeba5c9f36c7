//! Everything at once: three writers, a worker that is killed again and again, an etcd that restarts.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms_cluster::etcd::EtcdStore;
use kms_core::object::{
    FetchOptions, HistoryRecord, ObjectKey, ObjectSource as _, ObjectStore as _, Swap,
};
use kms_core::{CallOptions, OsRandom, SecureRandom as _};
use kms_envelope::kubernetes::Transformer;
use serde_json::Value;

use super::{World, number, secret};

const OBJECTS: usize = 20_000;
const KILLS: u32 = 4;

/// What writers did.
#[derive(Default)]
struct Log {
    /// The content behind every value that a writer has sent, whether it arrived or not. Values are
    /// sealed with random nonces: no two are the same.
    sent: HashMap<Vec<u8>, Vec<u8>>,
    /// What etcd has confirmed.
    confirmed: Vec<(ObjectKey, u64, Vec<u8>)>,
}

/// An API server that updates objects until it is told to stop.
struct Writer {
    store: EtcdStore,
    transformer: Transformer,
    name: usize,
    log: Arc<Mutex<Log>>,
}

impl Writer {
    async fn update(&self, count: u64) {
        let mut bytes = [0; 8];
        OsRandom.fill(&mut bytes).unwrap();
        let key = secret((u64::from_be_bytes(bytes) % OBJECTS as u64) as usize);
        let found = self.store.fetch(&key, &FetchOptions::default()).await;
        let Ok(Some(object)) = found else {
            return;
        };
        let opened = self.transformer.read(key.as_bytes(), &object.value).await;
        let opened = opened.unwrap_or_else(|error| panic!("{key} is not readable: {error}"));
        assert!(opened.plaintext().starts_with(b"k8s\0"));
        let content = format!("k8s\0writer {} update {count}", self.name).into_bytes();
        let value = self
            .transformer
            .write(key.as_bytes(), &content)
            .await
            .unwrap();
        self.log.lock().unwrap().sent.insert(value.clone(), content);
        let swap = Swap::Replace {
            expected: object.revision,
            value: value.clone(),
        };
        let call = CallOptions::default();
        let swapped = self.store.compare_and_swap(&key, &swap, &call).await;
        // Without an answer history tells what became of it.
        if let Ok(outcome) = swapped
            && let Some(revision) = outcome.swapped()
        {
            let mut log = self.log.lock().unwrap();
            log.confirmed.push((key, revision.get(), value));
        }
    }
}

async fn keep_writing(writer: Writer, stop: Arc<AtomicBool>, updates: Arc<AtomicU64>) {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        writer.update(count).await;
        count += 1;
        updates.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// R25, R59: 20,000 objects under three concurrent writers and a `kill -9` of the worker every two
/// seconds, with a restart of etcd in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn r25_no_update_is_lost_and_nothing_is_written_twice_whatever_dies() {
    let mut world = World::new();
    world.fill(&world.api_server(0).await, OBJECTS).await;
    let old = world.current_key().await.to_string();
    assert_eq!(world.key_ids()[&old], OBJECTS as u64);
    // One that has not seen the rotation yet, and two that have.
    let lagging = world.api_server(0).await;
    world.rotate();
    let new = world.current_key().await.to_string();
    let log = Arc::<Mutex<Log>>::default();
    let (stop, lags_no_more) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let updates = Arc::<AtomicU64>::default();
    let mut writers = Vec::new();
    for (name, transformer) in [
        lagging,
        world.api_server(0).await,
        world.api_server(0).await,
    ]
    .into_iter()
    .enumerate()
    {
        let stop = if name == 0 { &lags_no_more } else { &stop };
        let writer = Writer {
            store: world.store().await,
            transformer,
            name,
            log: Arc::clone(&log),
        };
        writers.push(tokio::spawn(keep_writing(
            writer,
            Arc::clone(stop),
            Arc::clone(&updates),
        )));
    }

    let mut kills = 0;
    // So slow that it is killed often enough before it is done.
    let arguments = world.arguments(&["--resume", "--json", "--rate", "2000/s"]);
    let report: Value = loop {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kms"))
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if kills < KILLS {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "it ended before it was killed {KILLS} times"
            );
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            if kills == 2 {
                lags_no_more.store(true, Ordering::Relaxed);
            }
            continue;
        }
        // The last one lives, and sees etcd restart.
        tokio::time::sleep(Duration::from_millis(700)).await;
        world.server.stop();
        tokio::task::block_in_place(|| world.server.run());
        let output = tokio::task::block_in_place(|| child.wait_with_output().unwrap());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        break serde_json::from_slice(&output.stdout).unwrap();
    };
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer
            .await
            .expect("every object was readable all the time");
    }
    assert_eq!(report["end"]["state"], "complete", "{report}");
    let verified = &report["verification"];
    assert_eq!(number(&verified["right"]), OBJECTS as u64);
    // Zero for the old key.
    let ids = world.key_ids();
    assert_eq!(ids, BTreeMap::from([(new, OBJECTS as u64)]));
    assert!(
        updates.load(Ordering::Relaxed) > 500,
        "the writers hardly wrote"
    );
    let log = core::mem::take(&mut *log.lock().unwrap());
    check(&world, &log).await;
}

async fn check(world: &World, log: &Log) {
    let history = world.history().await;
    assert_eq!(history.len(), OBJECTS);
    // What was confirmed did happen.
    for (key, revision, value) in &log.confirmed {
        let record = history[key]
            .iter()
            .find(|record| record.position.revision.get() == *revision);
        assert_eq!(record.unwrap().value.as_ref(), Some(value), "{key}");
    }
    let reader = world.api_server(0).await;
    let mut rewrites = 0;
    for (place, (key, records)) in history.iter().enumerate() {
        let content = wanted(key, records, log, &mut rewrites);
        let value = records.last().unwrap().value.as_ref().unwrap();
        let opened = reader.read(key.as_bytes(), value).await;
        let opened = opened.unwrap_or_else(|error| panic!("{place} {key}: {error}"));
        assert_eq!(opened.plaintext(), &*content, "{key}: an update was lost");
        assert!(!opened.is_stale(), "{key}");
    }
    assert!(rewrites > OBJECTS / 2, "{rewrites} rewrites");
}

/// What an object is to hold: what was written last by anybody but the migration. Of two
/// rewrites by the migration in a row, one was for nothing.
fn wanted<'l>(
    key: &ObjectKey,
    records: &'l [HistoryRecord],
    log: &'l Log,
    rewrites: &mut usize,
) -> Cow<'l, [u8]> {
    let number = key.to_string();
    let number: usize = number.rsplit('/').next().unwrap().parse().unwrap();
    let mut content: Cow<'l, [u8]> = Cow::Owned(format!("k8s\0first {number}").into_bytes());
    let mut was_rewrite = false;
    for record in &records[1..] {
        let value = record.value.as_ref().expect("nobody deletes");
        match log.sent.get(value) {
            Some(sent) => {
                content = Cow::Borrowed(sent.as_slice());
                was_rewrite = false;
            }
            None => {
                assert!(!was_rewrite, "{key} was rewritten twice for nothing");
                was_rewrite = true;
                *rewrites += 1;
            }
        }
    }
    content
}
