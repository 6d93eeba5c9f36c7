//! The API over the store in memory conforms; and the suite finds one that does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use core::fmt;

use async_trait::async_trait;
use kms_cluster::embedded::{EmbeddedApi, EmbeddedStore};
use kms_core::object::{
    ApiObject, ApiPage, ApiResource, ListOptions, ObjectKey, RewriteOutcome, Rewriter,
};
use kms_core::{CallOptions, Error, ErrorKind};
use kms_testkit::objects::{RewriterHarness, run_rewriter};

/// What is wrong with an API, if anything.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Forgets the resource version that it was given.
    IgnoresConflicts,
    /// Calls every rewrite unchanged.
    NeverWrites,
    /// Writes fresh objects too.
    AlwaysWrites,
    /// Begins every page at the beginning.
    IgnoresTokens,
    /// Leaves out the last object of a page.
    DropsObjects,
    /// Lists all namespaces.
    IgnoresNamespace,
    /// Calls objects that are gone unchanged.
    HidesGone,
    /// Answers an expired token with an empty last page.
    HidesExpiry,
}

/// An API whose objects are stale unless they begin with the number of the key in use.
#[derive(Debug)]
struct Api {
    store: Arc<EmbeddedStore>,
    generation: Arc<AtomicU8>,
    api: EmbeddedApi,
    fault: Fault,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.api, f)
    }
}

#[async_trait]
impl Rewriter for Api {
    async fn list(&self, options: &ListOptions) -> Result<ApiPage, Error> {
        let mut options = options.clone();
        match self.fault {
            Fault::IgnoresTokens => {
                let again = options.after.take().is_some();
                let mut page = self.api.list(&options).await?;
                page.next = page.next.filter(|_| !again);
                return Ok(page);
            }
            Fault::IgnoresNamespace => options.namespace = None,
            _ => {}
        }
        match self.api.list(&options).await {
            Err(error)
                if self.fault == Fault::HidesExpiry && error.kind() == ErrorKind::Compacted =>
            {
                Ok(ApiPage::new(vec![], None))
            }
            Ok(mut page) if self.fault == Fault::DropsObjects => {
                page.objects.pop();
                Ok(page)
            }
            result => result,
        }
    }

    async fn rewrite(
        &self,
        object: &ApiObject,
        options: &CallOptions,
    ) -> Result<RewriteOutcome, Error> {
        match self.fault {
            Fault::NeverWrites => return Ok(RewriteOutcome::Unchanged),
            Fault::AlwaysWrites => self.generation.store(u8::MAX, Ordering::SeqCst),
            Fault::IgnoresConflicts => {
                let options = ListOptions::new(object.resource().clone());
                for now in self.api.list(&options).await?.objects {
                    if now.name() == object.name() && now.namespace() == object.namespace() {
                        return self.api.rewrite(&now, &CallOptions::default()).await;
                    }
                }
            }
            _ => {}
        }
        match self.api.rewrite(object, options).await? {
            RewriteOutcome::Gone if self.fault == Fault::HidesGone => Ok(RewriteOutcome::Unchanged),
            outcome => Ok(outcome),
        }
    }
}

struct Harness(Fault);

#[async_trait]
impl RewriterHarness for Harness {
    type Rewriter = Api;

    fn resource(&self) -> ApiResource {
        ApiResource::new("", "v1", "secrets").unwrap()
    }

    async fn server_with(&self, objects: &[(&str, &str)]) -> Result<Arc<Api>, Error> {
        let store = Arc::new(EmbeddedStore::new("test"));
        let generation = Arc::new(AtomicU8::new(1));
        let current = Arc::clone(&generation);
        let api = EmbeddedApi::new(Arc::clone(&store), move |_, value| {
            let current = current.load(Ordering::SeqCst);
            let fresh = value.first() == Some(&current) && current != u8::MAX;
            Ok((!fresh).then(|| vec![current]))
        });
        let api = Arc::new(Api {
            store,
            generation,
            api,
            fault: self.0,
        });
        // Namesakes that are not of this resource.
        for other in ["/registry/secretsx/a/one", "/registry/configmaps/a/one"] {
            api.store.put(&ObjectKey::new(other)?, vec![0], None)?;
        }
        for (namespace, name) in objects {
            self.create(&api, namespace, name).await?;
        }
        Ok(api)
    }

    async fn make_stale(&self, api: &Api) -> Result<(), Error> {
        api.generation.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn touch(&self, api: &Api, object: &ApiObject) -> Result<(), Error> {
        let key = EmbeddedApi::key_of(object)?;
        api.store.put(&key, vec![0, 1], None)?;
        Ok(())
    }

    async fn delete(&self, api: &Api, object: &ApiObject) -> Result<(), Error> {
        api.store.delete(&EmbeddedApi::key_of(object)?)?;
        Ok(())
    }

    async fn create(&self, api: &Api, namespace: &str, name: &str) -> Result<(), Error> {
        let key = ObjectKey::new(format!("/registry/secrets/{namespace}/{name}"))?;
        api.store.put(&key, vec![0], None)?;
        Ok(())
    }

    async fn expire_lists(&self, api: &Api) -> Result<bool, Error> {
        let key = ObjectKey::new("/registry/unrelated")?;
        let revision = api.store.put(&key, vec![], None)?;
        api.store.compact(revision)?;
        Ok(true)
    }
}

#[tokio::test]
async fn the_api_conforms() {
    let report = run_rewriter(&Harness(Fault::None)).await;
    assert!(report.has_passed(), "{report}");
    assert_eq!(report.skipped().count(), 0, "{report}");
}

#[tokio::test]
async fn the_suite_finds_each_fault() {
    let cases = [
        (Fault::IgnoresConflicts, "another's change is not undone"),
        (
            Fault::IgnoresConflicts,
            "an object made anew under the name is left alone",
        ),
        (Fault::NeverWrites, "a stale object is written once"),
        (Fault::AlwaysWrites, "a stale object is written once"),
        (
            Fault::IgnoresTokens,
            "pages of any size list every object once",
        ),
        (Fault::IgnoresTokens, "what is no continue token is refused"),
        (
            Fault::DropsObjects,
            "objects that stay are listed once while others come and go",
        ),
        (
            Fault::IgnoresNamespace,
            "a namespace lists its own objects alone",
        ),
        (Fault::HidesGone, "an object that is gone stays gone"),
        (Fault::HidesExpiry, "an expired list is refused"),
    ];
    for (fault, check) in cases {
        let report = run_rewriter(&Harness(fault)).await;
        assert!(
            report.failures().any(|name| name == check),
            "{fault:?}\n{report}"
        );
    }
}

#[tokio::test]
async fn objects_without_a_namespace_are_listed() {
    let store = Arc::new(EmbeddedStore::new("test"));
    let key = ObjectKey::new("/registry/example.com/widgets/one").unwrap();
    store.put(&key, vec![], None).unwrap();
    let api = EmbeddedApi::new(Arc::clone(&store), |_, _| Ok(None));
    let widgets = ApiResource::new("example.com", "v1", "widgets").unwrap();
    let page = api.list(&ListOptions::new(widgets)).await.unwrap();
    let object = page.objects.first().unwrap();
    assert_eq!(object.to_string(), "widgets.example.com one");
    assert_eq!(EmbeddedApi::key_of(object).unwrap(), key);
}
