//! Answers that would be too long.

use kms_cluster::etcd::EtcdStore;
use kms_core::ErrorKind;
use kms_core::object::{
    FetchOptions, HistoryOptions, ObjectSource as _, ObjectStore as _, ScanOptions, Swap,
};

use super::server::Server;
use super::{call, connect, create, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn pages_shrink_until_they_fit() {
    let server = Server::start();
    let writer = connect(server.url()).await;
    for number in 0..150 {
        create(&writer, &key(format!("a{number:03}")), b"small").await;
    }
    let large = vec![0xa5; 700 * 1024];
    for number in 0..12 {
        create(&writer, &key(format!("b{number:03}")), &large).await;
    }
    let before = writer.identity(&call()).await.unwrap().revision;
    server.compact(before);
    for number in 0..12 {
        create(&writer, &key(format!("c{number:03}")), &large).await;
    }
    // Each answer may hold two of the large ones.
    let narrow = super::options(server.url()).with_max_message_len(2 * 1024 * 1024);
    let store = EtcdStore::connect(narrow).await.unwrap();
    let found = super::scan(&store, ScanOptions::default()).await;
    assert_eq!(found.len(), 174);
    assert!(found == super::scan(&writer, ScanOptions::default()).await);
    let changes = super::history(&store, HistoryOptions::default()).await;
    assert_eq!(changes.len(), 174);
    // One alone does not fit here.
    let tiny = super::options(server.url()).with_max_message_len(512 * 1024);
    let store = EtcdStore::connect(tiny).await.unwrap();
    let error = store
        .fetch(&key("b000"), &FetchOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(
        error.remedy().contains("longer answers"),
        "{}",
        error.remedy()
    );
    let later = ScanOptions::default().with_prefix("b");
    assert_eq!(
        store.scan(&later).await.unwrap_err().kind(),
        ErrorKind::Protocol
    );
}

/// What happened at one revision may be too long for one answer, and comes in fragments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_revision_that_comes_in_fragments_is_read_whole() {
    let server = Server::start();
    let store = connect(server.url()).await;
    for number in 0..60 {
        let long = format!("{number:03}{}", "k".repeat(60_000));
        create(&store, &key(long), b"").await;
    }
    server.control(&["del", "", "--from-key"]);
    let changes = super::history(&store, HistoryOptions::default()).await;
    let newest = store.identity(&call()).await.unwrap().revision;
    let deleted = changes
        .iter()
        .filter(|change| change.value.is_none() && change.position.revision == newest);
    assert!(deleted.map(|change| change.position.sub).eq(0..60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn what_etcd_does_not_take_is_an_error_of_the_caller() {
    let server = Server::start();
    let store = connect(server.url()).await;
    for length in [1800 * 1024, 8 * 1024 * 1024] {
        let swap = Swap::Create {
            value: vec![7; length],
        };
        let outcome = store.compare_and_swap(&key("k"), &swap, &call()).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_full_database_takes_no_change_and_says_what_to_do() {
    let server = Server::start_with("http", &["--quota-backend-bytes=4194304"], &[]);
    let store = connect(server.url()).await;
    let mut error = None;
    for number in 0..40 {
        let swap = Swap::Create {
            value: vec![7; 512 * 1024],
        };
        let key = key(format!("k{number}"));
        error = store.compare_and_swap(&key, &swap, &call()).await.err();
        if error.is_some() {
            break;
        }
    }
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.remedy().contains("NOSPACE"), "{}", error.remedy());
    assert!(!super::scan(&store, ScanOptions::default()).await.is_empty());
}
