//! State under a key of a live etcd.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kms_cluster::etcd::EtcdStore;
use kms_core::Error;
use kms_core::state::{ObjectStateStore, StateStore as _};
use kms_testkit::state::{StateStoreHarness, run_state_store};

use super::server::Server;

/// One etcd, with a key for each store.
struct Keys {
    server: Server,
    made: AtomicUsize,
}

impl Keys {
    async fn state(&self, number: usize) -> Result<Arc<ObjectStateStore>, Error> {
        let etcd = EtcdStore::connect(super::options(self.server.url())).await?;
        let key = super::key(format!("/kms/rotation/{number}"));
        Ok(Arc::new(ObjectStateStore::new(Arc::new(etcd), key)))
    }
}

#[async_trait]
impl StateStoreHarness for Keys {
    type Store = ObjectStateStore;

    async fn empty_store(&self) -> Result<Arc<ObjectStateStore>, Error> {
        self.state(self.made.fetch_add(1, Ordering::Relaxed)).await
    }

    async fn reopen(&self, _: &ObjectStateStore) -> Result<Option<Arc<ObjectStateStore>>, Error> {
        let newest = self.made.load(Ordering::Relaxed) - 1;
        Ok(Some(self.state(newest).await?))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd"]
async fn state_in_a_live_etcd_conforms() {
    let keys = Keys {
        server: Server::start(),
        made: AtomicUsize::new(0),
    };
    let report = run_state_store(&keys).await;
    assert!(report.has_passed(), "{report}");
    assert_eq!(report.skipped().count(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd"]
async fn what_was_confirmed_outlives_the_server() {
    let mut server = Server::start();
    let etcd = Arc::new(super::connect(server.url()).await);
    let state = ObjectStateStore::new(etcd, super::key("/kms/rotation/test"));
    let call = super::call();
    let mut version = state.swap(None, b"0", &call).await.unwrap().swapped();
    for round in 1_u8..4 {
        let swapped = state.swap(version, &[round], &call).await.unwrap();
        version = swapped.swapped();
        // As a crash would end it.
        server.stop();
        server.run();
        let found = state.load(&call).await.unwrap().unwrap();
        assert_eq!((Some(found.version), found.bytes), (version, vec![round]));
    }
}
