//! A live etcd is a store as any other.

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use kms_cluster::etcd::EtcdStore;
use kms_core::Error;
use kms_core::object::{LeaseId, LeaseStore as _, ObjectKey, ObjectSource as _, Revision};
use kms_testkit::objects::{StoreHarness, run_store};

use super::server::Server;

/// One etcd, emptied for each store. A store that is made later keeps the first one's numbers.
struct Emptied(Server);

#[async_trait]
impl StoreHarness for Emptied {
    type Store = EtcdStore;

    async fn empty_store(&self) -> Result<Arc<EtcdStore>, Error> {
        self.0.control(&["del", "", "--from-key"]);
        let store = EtcdStore::connect(super::options(self.0.url())).await?;
        self.0
            .compact(store.identity(&super::call()).await?.revision);
        Ok(Arc::new(store))
    }

    async fn put_with_lease(
        &self,
        store: &EtcdStore,
        key: &ObjectKey,
        value: Vec<u8>,
    ) -> Result<Option<LeaseId>, Error> {
        let call = super::call();
        let lease = store.grant_lease(Duration::from_secs(600), &call).await?;
        let outcome = store.create_with_lease(key, value, lease.id, &call).await?;
        Ok(outcome.swapped().map(|_| lease.id))
    }

    async fn compact(&self, _: &EtcdStore, revision: Revision) -> Result<bool, Error> {
        self.0.compact(revision);
        Ok(true)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd"]
async fn a_live_etcd_conforms() {
    let report = run_store(&Emptied(Server::start())).await;
    assert!(report.has_passed(), "{report}");
    assert_eq!(report.skipped().count(), 0, "{report}");
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn evidence_names_the_cluster() {
    let server = Server::start();
    let store = super::connect(server.url()).await;
    let identity = store.identity(&super::call()).await.unwrap();
    assert_eq!((identity.kind.as_str(), identity.live), ("etcd", true));
    assert_eq!(identity.name, server.url());
    let id = identity.cluster_id.unwrap();
    let said = server.control(&["get", "x", "--write-out=json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let expected = said["header"]["cluster_id"].as_u64().unwrap();
    assert_eq!(id, format!("{expected:016x}"));
}
