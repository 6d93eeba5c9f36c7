//! State under a key of a store in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kms_cluster::embedded::EmbeddedStore;
use kms_core::object::{ObjectKey, ObjectStore};
use kms_core::state::{MAX_STATE_LEN, ObjectStateStore, StateStore as _};
use kms_core::{CallOptions, Error, ErrorKind};
use kms_testkit::state::{StateStoreHarness, run_state_store};

/// Remembers the store that was made last.
#[derive(Default)]
struct Embedded(Mutex<Option<Arc<EmbeddedStore>>>);

/// The state under the key that all stores here use.
fn state_in(store: Arc<dyn ObjectStore>) -> ObjectStateStore {
    ObjectStateStore::new(store, ObjectKey::new("/kms/rotation/test").unwrap())
}

#[async_trait]
impl StateStoreHarness for Embedded {
    type Store = ObjectStateStore;

    async fn empty_store(&self) -> Result<Arc<ObjectStateStore>, Error> {
        let objects = Arc::new(EmbeddedStore::new("test"));
        *self.0.lock().unwrap() = Some(Arc::clone(&objects));
        Ok(Arc::new(state_in(objects)))
    }

    async fn reopen(&self, _: &ObjectStateStore) -> Result<Option<Arc<ObjectStateStore>>, Error> {
        let objects = self.0.lock().unwrap().clone();
        Ok(objects.map(|objects| Arc::new(state_in(objects))))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn state_in_an_embedded_store_conforms() {
    let report = run_state_store(&Embedded::default()).await;
    assert!(report.has_passed(), "{report}");
    assert_eq!(report.skipped().count(), 0, "{report}");
}

#[tokio::test]
async fn what_is_too_long_to_be_a_state_is_an_error_and_stays() {
    let objects = Arc::new(EmbeddedStore::new("test"));
    let state = state_in(objects.clone());
    let value = vec![0; MAX_STATE_LEN + 1];
    objects.put(state.key(), value.clone(), None).unwrap();
    let call = CallOptions::default();
    let error = state.load(&call).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let outcome = state.swap(None, b"", &call).await.unwrap();
    assert!(outcome.swapped().is_none());
}

#[tokio::test]
async fn a_state_deleted_and_made_again_is_not_at_an_old_version() {
    let objects = Arc::new(EmbeddedStore::new("test"));
    let state = state_in(objects.clone());
    let call = CallOptions::default();
    let old = state.swap(None, b"same", &call).await.unwrap().swapped();
    objects.delete(state.key()).unwrap();
    assert_eq!(state.load(&call).await.unwrap(), None);
    let made = state.swap(None, b"same", &call).await.unwrap().swapped();
    assert!(made > old);
    let outcome = state.swap(old, b"late", &call).await.unwrap();
    assert!(outcome.swapped().is_none());
}

#[test]
fn the_name_says_where() {
    let state = state_in(Arc::new(EmbeddedStore::new("test")));
    assert_eq!(
        state.to_string(),
        "/kms/rotation/test in embedded store test"
    );
}
