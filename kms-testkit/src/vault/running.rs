//! The handle of a running double.

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use kms_core::{Error, ErrorKind};
use tokio::task::AbortHandle;

use super::access::{Kind, Role, Scope};
use super::builder::VaultBuilder;
use super::entra::{Credential, Identity, service_account_token};
use super::fault::Fault;
use super::keystore::KeyStore;
use super::operation::Operation;
use super::state::{Desk, Shared};

/// A loopback Azure: a Key Vault, a Managed HSM and the token service they trust.
///
/// It ends when the handle is dropped.
#[derive(Debug)]
pub struct Vault {
    pub(super) shared: Arc<Shared>,
    pub(super) address: SocketAddr,
    pub(super) ca_pem: String,
    pub(super) tenant_id: String,
    pub(super) host_names: Vec<String>,
    pub(super) vault: Arc<Desk>,
    pub(super) managed_hsm: Arc<Desk>,
    pub(super) metadata: Option<SocketAddr>,
    pub(super) tasks: Vec<AbortHandle>,
}

impl Vault {
    /// A double that is like the real thing, on a free port.
    #[must_use]
    pub fn builder() -> VaultBuilder {
        VaultBuilder::default()
    }

    /// The URL of the default vault, such as `https://kms-testkit.vault.localhost:8443`.
    #[must_use]
    pub fn vault_url(&self) -> String {
        self.key_vault().url()
    }

    /// The URL of the Managed HSM.
    #[must_use]
    pub fn managed_hsm_url(&self) -> String {
        self.managed_hsm().url()
    }

    /// The URL of the token service, without a tenant.
    #[must_use]
    pub fn authority(&self) -> String {
        self.shared.names.url(&self.shared.names.login_host())
    }

    /// Where a machine would find its metadata, if the double was
    /// [asked](VaultBuilder::metadata) to serve it. The official clients look at
    /// `http://169.254.169.254`; that of Python takes another URL from
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    #[must_use]
    pub fn metadata_url(&self) -> Option<String> {
        self.metadata.map(|address| format!("http://{address}"))
    }

    /// Where commands are taken over HTTP, if the double was [asked](VaultBuilder::admin) to. Who
    /// knows this URL may do everything. The commands are listed in the documentation of
    /// [`VaultBuilder::admin`].
    #[must_use]
    pub fn admin_url(&self) -> Option<String> {
        let admin = self.shared.admin.as_ref()?;
        let base = self.shared.names.url(&self.shared.names.admin_host());
        Some(format!("{base}{}", admin.path))
    }

    /// The tenant of the stores and of all identities.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// The authority that signed the listener's certificate, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Where it listens, under all of its names.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names that a client must resolve to [`address`](Self::address).
    #[must_use]
    pub fn host_names(&self) -> &[String] {
        &self.host_names
    }

    /// The default vault.
    #[must_use]
    pub fn key_vault(&self) -> KeyStore {
        self.handle(&self.vault)
    }

    /// The Managed HSM.
    #[must_use]
    pub fn managed_hsm(&self) -> KeyStore {
        self.handle(&self.managed_hsm)
    }

    /// Another vault, by the name it was built with.
    #[must_use]
    pub fn vault_named(&self, name: &str) -> Option<KeyStore> {
        let host = self.shared.names.store_host(Kind::KeyVault, name);
        Some(self.handle(self.shared.stores.get(&host)?))
    }

    /// A new identity that proves itself in any of these ways and may do nothing yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if a certificate is none.
    pub fn register(
        &self,
        credentials: impl IntoIterator<Item = Credential>,
    ) -> Result<Identity, Error> {
        self.shared
            .entra()
            .directory
            .register(credentials.into_iter().collect())
    }

    /// A new identity with this secret that may do everything, with the vault and the HSM.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if there is no randomness.
    pub fn register_operator(&self, secret: &str) -> Result<Identity, Error> {
        let identity = self.register([Credential::secret(secret)])?;
        for desk in self.shared.stores.values() {
            let store = self.handle(desk);
            store.grant(&identity, Role::CryptoOfficer, Scope::Store);
            store.grant(&identity, Role::CryptoUser, Scope::Store);
        }
        Ok(identity)
    }

    /// Lets the token service have a tenant more, so that a store can move to it.
    pub fn add_tenant(&self, tenant_id: impl Into<String>) {
        self.shared.entra().tenants.push(tenant_id.into());
    }

    /// A token such as Kubernetes projects into a pod, for a
    /// [federated](Credential::Federated) identity.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if it cannot be signed.
    pub fn service_account_token(
        &self,
        issuer: &str,
        subject: &str,
        lifetime: Duration,
    ) -> Result<String, Error> {
        let shared = &self.shared;
        service_account_token(&shared.cluster_key, issuer, subject, shared.now(), lifetime)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "signing a token"))
    }

    /// Calls of this kind, to all stores, since the start.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        if matches!(
            operation,
            Operation::Token | Operation::ManagedIdentityToken
        ) {
            let entra = self.shared.entra();
            return entra.calls.get(&operation).copied().unwrap_or_default();
        }
        self.shared
            .stores
            .values()
            .map(|desk| self.handle(desk).calls(operation))
            .fold(0, u64::saturating_add)
    }

    /// Lets the next `times` requests for tokens run into `fault`, from the token service and from
    /// the metadata service; all of them, if `None`, until [`clear_faults`](Self::clear_faults).
    pub fn disturb_tokens(&self, fault: Fault, times: impl Into<Option<u32>>) {
        self.shared.entra().faults.add(None, fault, times.into());
    }

    /// Nothing is disturbed any more, tokens or stores.
    pub fn clear_faults(&self) {
        self.shared.clear_faults();
    }

    fn handle(&self, desk: &Arc<Desk>) -> KeyStore {
        KeyStore::new(Arc::clone(&self.shared), Arc::clone(desk))
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
