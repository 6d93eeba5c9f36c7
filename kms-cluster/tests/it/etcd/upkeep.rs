//! Status, compaction, defragmentation and backups.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use kms_cluster::etcd::EtcdStore;
use kms_cluster::snapshot::{Snapshot, SnapshotOptions};
use kms_core::ErrorKind;
use kms_core::object::{
    FetchOptions, HistoryOptions, ObjectSource as _, ObjectStore as _, Revision, ScanOptions, Swap,
};
use kms_testkit::ManualClock;
use tokio::io::AsyncWrite;

use super::proxy::{Passes, Proxy};
use super::server::Server;
use super::{call, connect, create, delete, key, replace};

/// Changes of a few megabytes, of which the newest are few bytes.
async fn fill(store: &EtcdStore) -> Revision {
    let mut last = Revision::default();
    for number in 0..12 {
        let key = key(format!("/registry/secrets/default/{number}"));
        let made = create(store, &key, &vec![0xa5; 500 * 1024]).await;
        last = match number % 2 {
            0 => replace(store, &key, made, b"small").await,
            _ => delete(store, &key, made).await,
        };
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn history_is_compacted_and_what_it_took_is_given_back() {
    let server = Server::start();
    let store = connect(server.url()).await;
    assert_eq!(store.compacted(&call()).await.unwrap(), None);
    let last = fill(&store).await;
    assert_eq!(store.compacted(&call()).await.unwrap(), None);
    let first = FetchOptions::default().with_at(Revision::new(2));
    let old = key("/registry/secrets/default/0");
    assert!(store.fetch(&old, &first).await.unwrap().is_some());

    let future = Revision::new(last.get() + 1);
    let error = store.compact(future, &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    store.compact(last, &call()).await.unwrap();
    assert_eq!(store.compacted(&call()).await.unwrap(), Some(last));
    let error = store.fetch(&old, &first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compacted, "{error}");
    // Again, and up to what is gone already: nothing is left to do.
    for revision in [last, Revision::new(2)] {
        store.compact(revision, &call()).await.unwrap();
    }

    let before = store.status(&call()).await.unwrap();
    assert_eq!(before.revision, last);
    assert_eq!(before.leader_id, Some(before.member_id));
    assert!(before.version.starts_with('3'), "{before:?}");
    assert!(!before.is_learner && before.faults.is_empty(), "{before:?}");
    assert!(before.database_bytes > 4 << 20, "{before:?}");
    let endpoints: Vec<_> = store.endpoints().map(str::to_owned).collect();
    assert_eq!(endpoints, [server.url()]);
    store.defragment(server.url(), &call()).await.unwrap();
    let after = store.status(&call()).await.unwrap();
    assert!(after.database_bytes < 1 << 20, "{after:?}");
    let error = store
        .defragment("http://127.0.0.1:1", &call())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

/// An alarm is a fault that etcd tells of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_full_database_shows_in_the_status() {
    let server = Server::start_with("http", &["--quota-backend-bytes=2097152"], &[]);
    let store = connect(server.url()).await;
    let full = async {
        // etcd counts a little late.
        for number in 0..200 {
            let value = vec![7; 512 * 1024];
            let swap = Swap::Create { value };
            let key = key(format!("k{number}"));
            let _ = store.compare_and_swap(&key, &swap, &call()).await?;
        }
        Ok::<_, kms_core::Error>(())
    };
    assert_eq!(full.await.unwrap_err().kind(), ErrorKind::Io);
    let status = store.status(&call()).await.unwrap();
    assert!(
        status.faults.iter().any(|fault| fault.contains("NOSPACE")),
        "{status:?}"
    );
}

/// Neither can be taken back, so another cluster is not even asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn another_cluster_is_neither_compacted_nor_defragmented() {
    let (other, mut ours) = (Server::start(), Server::start());
    let stranger = connect(other.url()).await;
    let last = fill(&stranger).await;
    // etcd writes its file, and counts it, a little late.
    let is_written = async {
        while stranger.status(&call()).await.unwrap().database_bytes <= 4 << 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, is_written).await.unwrap();
    let endpoints = [ours.url(), other.url()];
    let options = kms_cluster::etcd::EtcdOptions::new(endpoints).unwrap();
    let store = EtcdStore::connect(options).await.unwrap();
    let error = store.defragment(other.url(), &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    ours.stop();
    let error = store.compact(last, &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert_eq!(stranger.compacted(&call()).await.unwrap(), None);
    let status = stranger.status(&call()).await.unwrap();
    assert!(status.database_bytes > 4 << 20, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_backup_that_was_taken_here_is_read_and_restored() {
    let server = Server::start();
    let store = connect(server.url()).await;
    fill(&store).await;
    store.compact(Revision::new(9), &call()).await.unwrap();
    let mut bytes = Vec::new();
    let taken = store.snapshot(&mut bytes, &call()).await.unwrap();
    assert_eq!(taken.bytes, bytes.len() as u64);

    let file = Snapshot::from_bytes(bytes.clone(), "taken", &SnapshotOptions::default()).unwrap();
    assert_eq!(file.info().sha256.as_deref(), Some(taken.sha256.as_str()));
    assert_eq!(file.info().compacted, Some(Revision::new(9)));
    let all = ScanOptions::default;
    let objects = super::scan(&store, all()).await;
    assert_eq!(objects.len(), 6);
    assert!(objects == super::scan(&file, all()).await);

    // etcd's own tool checks the digest, too.
    let path = server.directory.path().join("taken.db");
    std::fs::write(&path, bytes).unwrap();
    let restored = Server::restore(&path);
    let restored = connect(restored.url()).await;
    assert!(objects == super::scan(&restored, all()).await);
    let history = HistoryOptions::default;
    let records = super::history(&store, history()).await;
    assert!(records == super::history(&restored, history()).await);
}

/// Takes what it is given, and does something when it is given it for the first time.
struct Interrupted<F>(Option<F>);

impl<F: FnOnce() + Unpin> AsyncWrite for Interrupted<F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(interrupt) = self.0.take() {
            interrupt();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// More than what may be on its way unread is still to come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_backup_that_breaks_off_is_an_error() {
    let server = Server::start();
    let proxy = Proxy::start(server.url()).await;
    let clock = ManualClock::new();
    let timeout = Duration::from_secs(30);
    let options = super::options(proxy.url())
        .with_timeout(timeout)
        .with_clock(Arc::new(clock.clone()));
    let store = EtcdStore::connect(options).await.unwrap();
    fill(&store).await;

    let mut cut = Interrupted(Some(|| proxy.cut()));
    let error = store.snapshot(&mut cut, &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");

    // The next call may still be sent along the connection that was cut.
    let patience = Duration::from_millis(100);
    while !matches!(
        tokio::time::timeout(patience, store.status(&call())).await,
        Ok(Ok(_))
    ) {
        clock.advance(timeout);
    }

    // Silence is not waited for beyond the timeout, which begins anew with all that comes.
    let mut silent = Interrupted(Some(|| proxy.let_pass(Passes::Nothing)));
    let call = call();
    let mut taken = Box::pin(store.snapshot(&mut silent, &call));
    let error = loop {
        let pause = Duration::from_millis(2);
        match tokio::time::timeout(pause, taken.as_mut()).await {
            Ok(taken) => break taken.unwrap_err(),
            Err(_) => clock.advance(timeout),
        }
    };
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
}

/// A disk that is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_backup_that_cannot_be_written_is_an_error() {
    let server = Server::start();
    let store = connect(server.url()).await;
    let mut full = [0_u8; 1000];
    let mut full = io::Cursor::new(&mut full[..]);
    let error = store.snapshot(&mut full, &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}
