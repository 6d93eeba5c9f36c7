//! The no-op update, without an API server.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::object::{
    ApiObject, ApiPage, ApiResource, ContinueToken, FetchOptions, ListOptions, ObjectKey,
    ObjectSource as _, ObjectStore as _, Revision, RewriteOutcome, Rewriter, ScanOptions, Swap,
    SwapOutcome,
};
use kms_core::{CallOptions, Error, ErrorKind};

use super::EmbeddedStore;

/// What an API server does with stored bytes on a no-op update: `None` if they are fresh, else
/// what to store in their place.
type Refresh = dyn Fn(&ObjectKey, &[u8]) -> Result<Option<Vec<u8>>, Error> + Send + Sync;

/// A [`Rewriter`] over an [`EmbeddedStore`]: stands in for an API server in tests and in the
/// quickstart.
///
/// Objects are found at `/registry/RESOURCE/NAMESPACE/NAME`, without the namespace if they have
/// none, and with the group before the resource unless it is the core group. That is where
/// Kubernetes keeps Secrets, ConfigMaps and custom resources, and not where it keeps everything.
pub struct EmbeddedApi {
    store: Arc<EmbeddedStore>,
    refresh: Box<Refresh>,
}

impl EmbeddedApi {
    /// An API over this store. `refresh` gets the key and the stored bytes of an object that is
    /// to be written again, and returns what to store instead, or `None` if they are fresh.
    #[must_use]
    pub fn new(
        store: Arc<EmbeddedStore>,
        refresh: impl Fn(&ObjectKey, &[u8]) -> Result<Option<Vec<u8>>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            store,
            refresh: Box::new(refresh),
        }
    }

    /// The key of an object.
    ///
    /// # Errors
    ///
    /// None for an [`ApiObject`], whose parts are bounded far below a key's length.
    pub fn key_of(object: &ApiObject) -> Result<ObjectKey, Error> {
        let folder = folder(object.resource(), object.namespace());
        ObjectKey::new(format!("{folder}{}", object.name()))
    }

    /// Goes through all namespaces, if none is given: this is no place for speed.
    async fn list_one(&self, options: &ListOptions) -> Result<ApiPage, Error> {
        let mut all = ListOptions::new(options.resource.clone()).with_call(options.call.clone());
        all.namespace.clone_from(&options.namespace);
        let mut objects = Vec::new();
        loop {
            let page = self.list(&all).await?;
            let named = |object: &ApiObject| Some(object.name()) == options.name.as_deref();
            objects.extend(page.objects.into_iter().filter(named));
            match page.next {
                Some(next) => all.after = Some(next),
                None => return Ok(ApiPage::new(objects, None)),
            }
        }
    }

    fn object_at(
        &self,
        resource: &ApiResource,
        key: &ObjectKey,
        revision: Revision,
    ) -> Result<ApiObject, Error> {
        let folder = folder(resource, None);
        let path = key
            .as_bytes()
            .strip_prefix(folder.as_bytes())
            .and_then(|path| core::str::from_utf8(path).ok())
            .ok_or_else(|| self.fault(ErrorKind::Corrupt, "a key is not UTF-8"))?;
        let (namespace, name) = match path.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, path),
        };
        ApiObject::new(resource.clone(), namespace, name, revision.to_string())
            .map_err(|error| error.with_provider(self.to_string()))
    }

    fn fault(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).with_provider(self.to_string())
    }
}

/// What the keys of a resource, or of one namespace of it, begin with.
fn folder(resource: &ApiResource, namespace: Option<&str>) -> String {
    let parts = [resource.group(), resource.plural(), namespace.unwrap_or("")];
    let mut folder = "/registry/".to_owned();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        folder.push_str(part);
        folder.push('/');
    }
    folder
}

impl fmt::Display for EmbeddedApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "API over {}", self.store)
    }
}

impl fmt::Debug for EmbeddedApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedApi")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// A token holds the revision of the list, as Kubernetes' own do, and the last key.
fn token(revision: Revision, last: &ObjectKey) -> Result<ContinueToken, Error> {
    ContinueToken::new(format!(
        "{revision}:{}",
        String::from_utf8_lossy(last.as_bytes())
    ))
}

fn read_token(token: &ContinueToken) -> Option<(Revision, ObjectKey)> {
    let (revision, last) = token.as_str().split_once(':')?;
    Some((
        Revision::new(revision.parse().ok()?),
        ObjectKey::new(last).ok()?,
    ))
}

#[async_trait]
impl Rewriter for EmbeddedApi {
    async fn list(&self, options: &ListOptions) -> Result<ApiPage, Error> {
        if options.name.is_some() {
            return self.list_one(options).await;
        }
        let mut scan = ScanOptions::default()
            .with_call(options.call.clone())
            .with_prefix(folder(&options.resource, options.namespace.as_deref()))
            .with_page_limit(options.page_limit);
        if let Some(token) = &options.after {
            let (revision, last) = read_token(token)
                .ok_or_else(|| self.fault(ErrorKind::InvalidInput, "not a continue token"))?;
            scan = scan.with_at(revision).with_after(last);
        }
        let page = self.store.scan(&scan).await?;
        let objects = page
            .objects
            .iter()
            .map(|object| self.object_at(&options.resource, &object.key, object.revision))
            .collect::<Result<_, _>>()?;
        let (mut next, mut remaining) = (None, None);
        if let Some(last) = &page.next {
            next = Some(token(page.revision, last)?);
            let rest = scan.with_at(page.revision).with_after(last.clone());
            remaining = Some(self.store.count(&rest)?);
        }
        Ok(ApiPage::new(objects, next).with_remaining(remaining))
    }

    async fn rewrite(
        &self,
        object: &ApiObject,
        options: &CallOptions,
    ) -> Result<RewriteOutcome, Error> {
        let key = Self::key_of(object)?;
        let fetch = FetchOptions::default().with_call(options.clone());
        let Some(stored) = self.store.fetch(&key, &fetch).await? else {
            return Ok(RewriteOutcome::Gone);
        };
        if stored.revision.to_string() != object.resource_version() {
            return Ok(RewriteOutcome::Conflict);
        }
        let Some(value) = (self.refresh)(&key, &stored.value)? else {
            return Ok(RewriteOutcome::Unchanged);
        };
        let expected = stored.revision;
        let swap = Swap::Replace { expected, value };
        Ok(
            match self.store.compare_and_swap(&key, &swap, options).await? {
                SwapOutcome::Swapped { revision } => RewriteOutcome::Written {
                    resource_version: revision.to_string(),
                },
                SwapOutcome::Changed { current: Some(_) } => RewriteOutcome::Conflict,
                SwapOutcome::Changed { current: None } => RewriteOutcome::Gone,
            },
        )
    }
}
