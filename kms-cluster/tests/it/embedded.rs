//! The store in memory conforms, and keeps no more than it was told to.

use std::sync::Arc;

use async_trait::async_trait;
use kms_cluster::embedded::EmbeddedStore;
use kms_core::object::{LeaseId, ObjectKey, ObjectSource as _, Revision, ScanOptions};
use kms_core::{CallOptions, Error, ErrorKind};
use kms_testkit::objects::{StoreHarness, run_store};

pub(crate) struct Embedded;

#[async_trait]
impl StoreHarness for Embedded {
    type Store = EmbeddedStore;

    async fn empty_store(&self) -> Result<Arc<EmbeddedStore>, Error> {
        Ok(Arc::new(EmbeddedStore::new("test")))
    }

    async fn put_with_lease(
        &self,
        store: &EmbeddedStore,
        key: &ObjectKey,
        value: Vec<u8>,
    ) -> Result<Option<LeaseId>, Error> {
        let lease = LeaseId::new(7);
        store.put(key, value, lease)?;
        Ok(lease)
    }

    async fn compact(&self, store: &EmbeddedStore, revision: Revision) -> Result<bool, Error> {
        store.compact(revision)?;
        Ok(true)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms() {
    let report = run_store(&Embedded).await;
    assert!(report.has_passed(), "{report}");
    // It does not count what remains; everything else is checked.
    assert_eq!(report.skipped().count(), 1, "{report}");
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

#[tokio::test]
async fn history_is_bounded() {
    let store = EmbeddedStore::new("test").with_history(10);
    for round in 0..1000 {
        store.put(&key("changed"), vec![0; 100], None).unwrap();
        store.put(&key("kept"), vec![], None).unwrap();
        let brief = key(&format!("brief {round}"));
        store.put(&brief, vec![], None).unwrap();
        store.delete(&brief).unwrap();
        assert!(store.kept_changes() <= 12, "{}", store.kept_changes());
    }
    let newest = store.revision().get();
    for (back, kind) in [(10, None), (11, Some(ErrorKind::Compacted))] {
        let options = ScanOptions::default().with_at(Revision::new(newest - back));
        let result = store.scan(&options).await;
        assert_eq!(result.err().map(|error| error.kind()), kind);
    }
}

#[tokio::test]
async fn compaction_leaves_the_newest_state() {
    let store = EmbeddedStore::new("test");
    let (stays, goes) = (key("stays"), key("goes"));
    store.put(&stays, b"1".to_vec(), None).unwrap();
    store.put(&goes, b"2".to_vec(), None).unwrap();
    store.delete(&goes).unwrap();
    let before = store.scan(&ScanOptions::default()).await.unwrap();
    store.compact(store.revision()).unwrap();
    assert_eq!(store.kept_changes(), 1);
    let after = store.scan(&ScanOptions::default()).await.unwrap();
    assert_eq!(before, after);
    let beyond = Revision::new(store.revision().get() + 1);
    assert_eq!(
        store.compact(beyond).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn values_are_bounded_as_etcd_bounds_them() {
    let store = EmbeddedStore::new("test");
    let most = vec![0; EmbeddedStore::MAX_VALUE_LEN];
    store.put(&key("k"), most.clone(), None).unwrap();
    let more = [most, vec![0]].concat();
    let error = store.put(&key("k"), more, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn evidence_can_name_the_cluster() {
    let store = EmbeddedStore::new("test").with_cluster_id("0123");
    let identity = store.identity(&CallOptions::default()).await.unwrap();
    assert_eq!(identity.cluster_id.as_deref(), Some("0123"));
    assert!(identity.live);
}

#[test]
fn what_a_scan_comes_to_is_counted() {
    let store = EmbeddedStore::new("test");
    for key in ["/a/1", "/a/2", "/a/3", "/b/1"] {
        store
            .put(&ObjectKey::new(key).unwrap(), vec![], None)
            .unwrap();
    }
    let before = store.revision();
    store.delete(&ObjectKey::new("/a/2").unwrap()).unwrap();
    let options = ScanOptions::default().with_prefix("/a/").with_page_limit(1);
    assert_eq!(store.count(&options).unwrap(), 2);
    assert_eq!(store.count(&options.clone().with_at(before)).unwrap(), 3);
    let after = ObjectKey::new("/a/1").unwrap();
    assert_eq!(store.count(&options.with_after(after)).unwrap(), 1);
}
