//! Putting a server together.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use kms_cluster::embedded::EmbeddedStore;
use kms_core::Error;

use super::encryption::Encryption;
use super::listener;
use super::running::ApiServer;
use super::schema::{Resource, default_resources};
use super::shared::Shared;
use crate::loopback::bind;
use crate::loopback::certificates::Authority;

/// What a server will be like. Made by [`ApiServer::builder`].
#[derive(Debug)]
pub struct ApiServerBuilder {
    address: SocketAddr,
    store: Option<Arc<EmbeddedStore>>,
    encryption: Encryption,
    replicas: usize,
    resources: Vec<Resource>,
}

impl Default for ApiServerBuilder {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            store: None,
            encryption: Encryption::none(),
            replicas: 1,
            resources: default_resources(),
        }
    }
}

impl ApiServerBuilder {
    /// Listens here instead of on a free port of 127.0.0.1.
    #[must_use]
    pub const fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Keeps objects in this store, which others may use, too.
    #[must_use]
    pub fn store(mut self, store: Arc<EmbeddedStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Reads and writes so. Nothing is encrypted by default.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// How many API servers there are behind the address. They take turns, request by request, and
    /// may come to [encrypt differently](ApiServer::set_encryption_of).
    #[must_use]
    pub const fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Adds a custom resource. Of several versions of a group the last one is preferred.
    #[must_use]
    pub fn resource(
        mut self,
        group: &str,
        version: &str,
        plural: &str,
        kind: &str,
        is_namespaced: bool,
    ) -> Self {
        let resource = Resource::custom(group, version, plural, kind, is_namespaced);
        self.resources.push(resource);
        self
    }

    /// Starts listening, on the tokio runtime this is called on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](kms_core::ErrorKind::Io) if the address cannot be listened on,
    /// [`ErrorKind::Internal`](kms_core::ErrorKind::Internal) if certificates cannot be made.
    pub async fn start(self) -> Result<ApiServer, Error> {
        let (listener, address) = bind(self.address).await?;
        let authority = Authority::new()?;
        let names = vec![
            address.ip().to_string(),
            "localhost".to_owned(),
            "kubernetes.default.svc".to_owned(),
        ];
        let tls = authority.listener(names, "kms-testkit loopback API server", true)?;
        let store = self
            .store
            .unwrap_or_else(|| Arc::new(EmbeddedStore::new("apiserver")));
        let encryption = vec![self.encryption; self.replicas.max(1)];
        let shared = Arc::new(Shared::new(store, self.resources, encryption));
        let serving = listener::listen(listener, tls, Arc::clone(&shared));
        let task = tokio::spawn(serving).abort_handle();
        Ok(ApiServer::new(shared, address, authority, task))
    }
}
