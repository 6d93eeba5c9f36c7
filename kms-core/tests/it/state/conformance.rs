//! A file is a state store as any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kms_core::Error;
use kms_core::state::FileStateStore;
use kms_testkit::state::{StateStoreHarness, run_state_store};

use super::{Place, open};

struct Files {
    place: Place,
    made: AtomicUsize,
}

#[async_trait]
impl StateStoreHarness for Files {
    type Store = FileStateStore;

    async fn empty_store(&self) -> Result<Arc<FileStateStore>, Error> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.place.0.path().join(number.to_string());
        Ok(Arc::new(open(&path)))
    }

    async fn reopen(&self, store: &FileStateStore) -> Result<Option<Arc<FileStateStore>>, Error> {
        Ok(Some(Arc::new(open(store.path()))))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_file_store_conforms() {
    let files = Files {
        place: Place::new(),
        made: AtomicUsize::new(0),
    };
    let report = run_state_store(&files).await;
    assert!(report.has_passed(), "{report}");
    assert_eq!(report.skipped().count(), 0, "{report}");
}
