//! Members that fail, connections that break, answers that never come.

use core::time::Duration;
use std::sync::Arc;

use kms_cluster::etcd::{EtcdOptions, EtcdStore};
use kms_core::object::{
    FetchOptions, HistoryOptions, ObjectSource as _, ObjectStore as _, Revision, ScanOptions, Swap,
    SwapOutcome,
};
use kms_core::{CallOptions, Clock as _, ErrorKind, TokioClock};

use super::proxy::{Passes, Proxy};
use super::server::Server;
use super::{call, connect, create, key, replace};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn of_three_endpoints_one_is_enough() {
    let server = Server::start();
    let mut stopped = Server::start();
    stopped.stop();
    let endpoints = [stopped.url(), "http://127.0.0.1:1", server.url()];
    let store = EtcdStore::connect(EtcdOptions::new(endpoints).unwrap())
        .await
        .unwrap();
    let made = create(&store, &key("a"), b"1").await;
    replace(&store, &key("a"), made, b"2").await;
    let found = super::scan(&store, ScanOptions::default()).await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        store.identity(&call()).await.unwrap().name,
        endpoints.join(",")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn endpoints_of_two_clusters_are_refused() {
    let (one, mut other) = (Server::start(), Server::start());
    let options = EtcdOptions::new([other.url(), one.url()]).unwrap();
    let store = EtcdStore::connect(options.with_timeout(Duration::from_secs(60)))
        .await
        .unwrap();
    other.stop();
    let error = store.identity(&call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(error.message().contains("of the cluster"), "{error}");
    // And a change is not even sent.
    let swap = Swap::Create { value: vec![1] };
    let outcome = store.compare_and_swap(&key("k"), &swap, &call()).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Protocol);
    let untouched = connect(one.url()).await;
    let objects = super::scan(&untouched, ScanOptions::default()).await;
    assert!(objects.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_member_that_hangs_is_left_for_another() {
    let server = Server::start();
    let proxy = Proxy::start(server.url()).await;
    let options = EtcdOptions::new([proxy.url(), server.url()]).unwrap();
    let store = EtcdStore::connect(options.with_timeout(Duration::from_secs(120)))
        .await
        .unwrap();
    let made = create(&store, &key("k"), b"1").await;
    proxy.let_pass(Passes::Nothing);
    assert!(store.identity(&call()).await.unwrap().revision >= made);
    replace(&store, &key("k"), made, b"2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd"]
async fn a_restart_is_waited_for() {
    let mut server = Server::start();
    let store = connect(server.url()).await;
    for number in 0..50 {
        create(&store, &key(format!("k{number:02}")), b"x").await;
    }
    let half = ScanOptions::default().with_page_limit(20);
    let first = store.scan(&half).await.unwrap();
    let some = HistoryOptions::default().with_page_limit(20);
    let past = store.history(&some).await.unwrap();
    server.stop();
    let rest = half.with_at(first.revision).with_after(first.next.clone());
    let later = some.clone().with_after(past.next);
    let (scanned, read, ()) = tokio::join!(
        super::scan(&store, rest),
        super::history(&store, later),
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            tokio::task::block_in_place(|| server.run());
        }
    );
    assert_eq!(first.objects.len() + scanned.len(), 50);
    assert_eq!(past.records.len() + read.len(), 50);
}

/// A change is under way behind a proxy: what it is, and whether it got through, is up to the test.
async fn interrupted(
    passes: Passes,
    swap: impl FnOnce(Revision) -> Swap,
    meanwhile: impl AsyncFnOnce(&EtcdStore),
) -> (Result<SwapOutcome, kms_core::Error>, EtcdStore, Server) {
    let server = Server::start();
    let proxy = Proxy::start(server.url()).await;
    let (behind, direct) = (connect(proxy.url()).await, connect(server.url()).await);
    let expected = create(&direct, &key("k"), b"old").await;
    proxy.let_pass(passes);
    let swap = swap(expected);
    let change = tokio::spawn(async move {
        let (key, call) = (key("k"), call());
        behind.compare_and_swap(&key, &swap, &call).await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    meanwhile(&direct).await;
    proxy.cut();
    (change.await.unwrap(), direct, server)
}

fn new(expected: Revision) -> Swap {
    let value = b"new".to_vec();
    Swap::Replace { expected, value }
}

fn gone(expected: Revision) -> Swap {
    Swap::Delete { expected }
}

async fn revision(store: &EtcdStore) -> Revision {
    let found = store.fetch(&key("k"), &FetchOptions::default()).await;
    found.unwrap().unwrap().revision
}

async fn value(store: &EtcdStore) -> Vec<u8> {
    let found = store.fetch(&key("k"), &FetchOptions::default()).await;
    found.unwrap().unwrap().value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_change_that_got_lost_is_made() {
    let (outcome, store, _server) = interrupted(Passes::Nothing, new, async |_| {}).await;
    assert!(outcome.unwrap().swapped().is_some());
    assert_eq!(value(&store).await, b"new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_lost_race_behind_a_broken_connection_is_told() {
    for swap in [new, gone] {
        let (outcome, store, _server) = interrupted(Passes::Nothing, swap, async |direct| {
            replace(direct, &key("k"), revision(direct).await, b"other").await;
        })
        .await;
        let current = Some(revision(&store).await);
        assert_eq!(outcome.unwrap(), SwapOutcome::Changed { current });
        assert_eq!(value(&store).await, b"other");
    }
}

/// It may have been deleted by this call, or by another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_deletion_whose_answer_is_lost_is_not_claimed() {
    for is_made_again in [false, true] {
        let (outcome, _store, _server) = interrupted(Passes::Nothing, gone, async |direct| {
            super::delete(direct, &key("k"), revision(direct).await).await;
            if is_made_again {
                create(direct, &key("k"), b"again").await;
            }
        })
        .await;
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

/// The bytes are there, but another may have written the same: both would think they won.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_change_whose_answer_is_lost_is_not_claimed() {
    let (outcome, store, _server) = interrupted(Passes::Questions, new, async |direct| {
        while value(direct).await != b"new" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_retryable());
    assert!(error.message().contains("is not known"), "{error}");
    assert_eq!(value(&store).await, b"new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_callers_deadline_ends_a_call() {
    let server = Server::start();
    let proxy = Proxy::start(server.url()).await;
    let clock = Arc::new(TokioClock::new());
    let options = super::options(proxy.url()).with_clock(clock.clone());
    let store = EtcdStore::connect(options).await.unwrap();
    proxy.let_pass(Passes::Nothing);
    let call = CallOptions::default().with_deadline(clock.now() + Duration::from_millis(300));
    let started = clock.now();
    let error = store.identity(&call).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    let swap = Swap::Create { value: vec![1] };
    let error = store
        .compare_and_swap(&key("k"), &swap, &call)
        .await
        .unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(clock.now().since(started) < Duration::from_secs(60));
}
