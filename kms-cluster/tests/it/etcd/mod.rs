//! A live etcd. What needs one is ignored unless asked for: `etcd` and `etcdctl` must be in `PATH`,
//! or `KMS_ETCD` must name the first, with the second beside it.

mod conformance;
mod lease;
mod login;
mod lost;
mod proxy;
mod restored;
mod server;
mod sizes;
mod state;
mod tls;
mod unreachable;
mod upkeep;

use core::time::Duration;

use kms_cluster::etcd::{EtcdOptions, EtcdStore};
use kms_core::CallOptions;
use kms_core::object::{
    HistoryOptions, HistoryRecord, ObjectKey, ObjectSource, ObjectStore as _, Revision, Scan,
    ScanOptions, StoredObject, Swap,
};

pub(super) fn key(text: impl AsRef<[u8]>) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

pub(super) fn call() -> CallOptions {
    CallOptions::default()
}

/// Machines that test are slow at times; nothing here waits that long unless something is wrong.
pub(super) fn options(endpoint: impl Into<String>) -> EtcdOptions {
    EtcdOptions::new([endpoint.into()])
        .unwrap()
        .with_timeout(Duration::from_secs(120))
}

pub(super) async fn connect(endpoint: impl Into<String>) -> EtcdStore {
    EtcdStore::connect(options(endpoint)).await.unwrap()
}

async fn swap(store: &EtcdStore, key: &ObjectKey, swap: Swap) -> Revision {
    let outcome = store.compare_and_swap(key, &swap, &call()).await;
    outcome.unwrap().swapped().unwrap()
}

pub(super) async fn create(store: &EtcdStore, key: &ObjectKey, value: &[u8]) -> Revision {
    let value = value.to_vec();
    swap(store, key, Swap::Create { value }).await
}

pub(super) async fn replace(
    store: &EtcdStore,
    key: &ObjectKey,
    expected: Revision,
    value: &[u8],
) -> Revision {
    let value = value.to_vec();
    swap(store, key, Swap::Replace { expected, value }).await
}

pub(super) async fn delete(store: &EtcdStore, key: &ObjectKey, expected: Revision) -> Revision {
    swap(store, key, Swap::Delete { expected }).await
}

pub(super) async fn scan(source: &dyn ObjectSource, options: ScanOptions) -> Vec<StoredObject> {
    let mut scan = Scan::new(source, options);
    let mut objects = Vec::new();
    while let Some(page) = scan.next_page().await.unwrap() {
        objects.extend(page.objects);
    }
    objects
}

pub(super) async fn history(
    source: &dyn ObjectSource,
    mut options: HistoryOptions,
) -> Vec<HistoryRecord> {
    let mut records: Vec<HistoryRecord> = Vec::new();
    loop {
        let page = source.history(&options).await.unwrap();
        records.extend(page.records);
        match page.next {
            Some(next) => options.after = Some(next),
            None => break,
        }
    }
    assert!(records.is_sorted_by(|a, b| a.position < b.position));
    records
}
