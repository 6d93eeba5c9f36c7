//! The suite for rewriters, over HTTPS.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use kms_cluster::api::KubeApi;
use kms_core::object::{ApiObject, ApiPage, ApiResource, ListOptions, RewriteOutcome, Rewriter};
use kms_core::{CallOptions, Error};
use kms_testkit::apiserver::{ApiServer, Place};
use kms_testkit::objects::{RewriterHarness, run_rewriter};
use serde_json::json;

use super::{aes_gcm, api, secrets};

/// A client, and the server that lives as long as it.
#[derive(Debug)]
struct Served {
    api: KubeApi,
    server: ApiServer,
    generation: AtomicU32,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.api, f)
    }
}

#[async_trait]
impl Rewriter for Served {
    async fn list(&self, options: &ListOptions) -> Result<ApiPage, Error> {
        self.api.list(options).await
    }

    async fn rewrite(
        &self,
        object: &ApiObject,
        options: &CallOptions,
    ) -> Result<RewriteOutcome, Error> {
        self.api.rewrite(object, options).await
    }
}

impl Served {
    /// A new key writes, and those before it still read.
    fn rotate(&self) {
        let newest = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let keys: Vec<_> = (0..=newest).rev().map(|it| format!("key{it}")).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        self.server.set_encryption(&aes_gcm(&keys));
    }

    fn place(object: &ApiObject) -> Place {
        let namespace = object.namespace().unwrap();
        Place::of("secrets", namespace, object.name())
    }
}

struct Harness;

#[async_trait]
impl RewriterHarness for Harness {
    type Rewriter = Served;

    fn resource(&self) -> ApiResource {
        secrets()
    }

    async fn server_with(&self, objects: &[(&str, &str)]) -> Result<Arc<Served>, Error> {
        let server = ApiServer::builder()
            .encryption(aes_gcm(&["key0"]))
            .start()
            .await?;
        let served = Arc::new(Served {
            api: api(&server),
            server,
            generation: AtomicU32::new(0),
        });
        // Namesakes of other resources.
        let other = Place::of("configmaps", "a", "one");
        served.server.create(&other, json!({})).await?;
        for (namespace, name) in objects {
            let place = Place::of("secrets", *namespace, *name);
            served.server.create(&place, json!({"data": {}})).await?;
        }
        served.rotate();
        Ok(served)
    }

    async fn make_stale(&self, served: &Served) -> Result<(), Error> {
        served.rotate();
        Ok(())
    }

    async fn touch(&self, served: &Served, object: &ApiObject) -> Result<(), Error> {
        let patch = json!({"metadata": {"labels": {"touched": "yes"}}});
        served.server.edit(0, &Served::place(object), patch).await?;
        Ok(())
    }

    async fn delete(&self, served: &Served, object: &ApiObject) -> Result<(), Error> {
        served.server.delete(&Served::place(object)).await
    }

    async fn create(&self, served: &Served, namespace: &str, name: &str) -> Result<(), Error> {
        let place = Place::of("secrets", namespace, name);
        served.server.create(&place, json!({"data": {}})).await?;
        Ok(())
    }

    async fn expire_lists(&self, served: &Served) -> Result<bool, Error> {
        served.server.expire_lists()?;
        Ok(true)
    }
}

#[tokio::test]
async fn the_api_conforms_over_https() {
    let report = run_rewriter(&Harness).await;
    assert!(report.has_passed(), "{report}");
    assert_eq!(report.skipped().count(), 0, "{report}");
}
