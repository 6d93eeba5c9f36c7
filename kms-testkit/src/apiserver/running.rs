//! The handle of a running server.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_cluster::embedded::EmbeddedStore;
use kms_core::object::{FetchOptions, ObjectKey, ObjectSource as _, StoredObject};
use kms_core::{Error, ErrorKind};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::task::AbortHandle;

use super::access::{Denial, Verb};
use super::builder::ApiServerBuilder;
use super::encryption::Encryption;
use super::fault::Fault;
use super::objects::Desk;
use super::place::Place;
use super::refusal::Refusal;
use super::shared::Shared;
use super::update::Change;
use crate::loopback::certificates::Authority;

/// A loopback Kubernetes API server. It ends when the handle is dropped.
#[derive(Debug)]
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    authority: Authority,
    task: AbortHandle,
}

impl ApiServer {
    pub(super) const fn new(
        shared: Arc<Shared>,
        address: SocketAddr,
        authority: Authority,
        task: AbortHandle,
    ) -> Self {
        Self {
            shared,
            address,
            authority,
            task,
        }
    }

    /// A server on a free port that keeps its objects in a store of its own, in clear.
    #[must_use]
    pub fn builder() -> ApiServerBuilder {
        ApiServerBuilder::default()
    }

    /// Where it is, such as `https://127.0.0.1:41001`. Its certificate is good for this address, for
    /// `localhost` and for `kubernetes.default.svc`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority that signed its certificate, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }

    /// A token for a user, who may do everything that is not denied to all.
    #[must_use]
    pub fn token(&self, user: &str) -> String {
        let token = format!("token-{}", self.shared.next_uid());
        let mut changing = self.shared.lock();
        changing.tokens.insert(token.clone(), user.to_owned());
        token
    }

    /// Makes this text a token for a user.
    pub fn accept_token(&self, token: impl Into<String>, user: &str) {
        let mut changing = self.shared.lock();
        changing.tokens.insert(token.into(), user.to_owned());
    }

    /// The token is good for nothing any more.
    pub fn revoke_token(&self, token: &str) {
        self.shared.lock().tokens.remove(token);
    }

    /// A client certificate for a user, and its key, both in PEM.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if it cannot be made.
    pub fn client_certificate(&self, user: &str) -> Result<(String, String), Error> {
        let (certificate, key) = self.authority.client(user)?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| Error::new(ErrorKind::Internal, "a certificate cannot be read back"))?;
        let mut changing = self.shared.lock();
        changing.certificates.insert(der.to_vec(), user.to_owned());
        Ok((certificate, key))
    }

    /// A kubeconfig that leads here with this token.
    #[must_use]
    pub fn kubeconfig(&self, token: &str) -> String {
        self.kubeconfig_with(&format!("token: {token}"))
    }

    /// A kubeconfig that leads here, with these lines of YAML as its user.
    #[must_use]
    pub fn kubeconfig_with(&self, user: &str) -> String {
        let authority = STANDARD.encode(self.ca_pem());
        let user: String = user.lines().map(|line| format!("    {line}\n")).collect();
        format!(
            "apiVersion: v1
kind: Config
current-context: loopback
clusters:
- name: loopback
  cluster:
    server: {url}
    certificate-authority-data: {authority}
contexts:
- name: loopback
  context:
    cluster: loopback
    user: loopback
users:
- name: loopback
  user:
{user}",
            url = self.url(),
        )
    }

    /// Where its objects are.
    #[must_use]
    pub fn store(&self) -> &Arc<EmbeddedStore> {
        &self.shared.store
    }

    /// The key that an object is stored under.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if there is no such resource, or a name is no segment of a path.
    pub fn etcd_key(&self, place: &Place) -> Result<ObjectKey, Error> {
        let resource = self.shared.resource(&place.resource).ok_or_else(|| {
            let message = format!("there is no resource {}", place.resource);
            Error::new(ErrorKind::InvalidInput, message)
        })?;
        resource.key(place.namespace.as_deref(), &place.name)
    }

    /// An object as it lies in the store.
    ///
    /// # Errors
    ///
    /// As [`etcd_key`](Self::etcd_key).
    pub async fn stored(&self, place: &Place) -> Result<Option<StoredObject>, Error> {
        let key = self.etcd_key(place)?;
        self.store().fetch(&key, &FetchOptions::default()).await
    }

    /// Makes an object, as a client of the first replica.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] if it is there, and what the server would refuse it for.
    pub async fn create(&self, place: &Place, object: Value) -> Result<Value, Error> {
        self.desk(0, place)?.create(object).await.map_err(told)
    }

    /// Changes an object by a JSON merge patch, as a client of this replica.
    ///
    /// # Errors
    ///
    /// What the server would refuse it for.
    pub async fn edit(&self, replica: usize, place: &Place, patch: Value) -> Result<Value, Error> {
        let desk = self.desk(replica, place)?;
        desk.update(&Change::Merge(patch)).await.map_err(told)
    }

    /// Removes an object, as a client of the first replica.
    ///
    /// # Errors
    ///
    /// What the server would refuse it for.
    pub async fn delete(&self, place: &Place) -> Result<(), Error> {
        let desk = self.desk(0, place)?;
        desk.delete(&Value::Null).await.map(|_| ()).map_err(told)
    }

    fn desk(&self, replica: usize, place: &Place) -> Result<Desk<'_>, Error> {
        let resource = self
            .shared
            .resource(&place.resource)
            .ok_or_else(|| told(Refusal::no_route()))?;
        Desk::new(&self.shared, resource, replica, place.clone()).map_err(told)
    }

    /// All replicas read and write so from now on, as after their configuration was reloaded.
    pub fn set_encryption(&self, encryption: &Encryption) {
        self.shared.lock().encryption.fill(encryption.clone());
    }

    /// One replica reads and writes so from now on, and the others as before.
    pub fn set_encryption_of(&self, replica: usize, encryption: Encryption) {
        if let Some(place) = self.shared.lock().encryption.get_mut(replica) {
            *place = encryption;
        }
    }

    /// Denies something to everybody, as the rules of access do.
    pub fn deny(&self, denial: Denial) {
        self.shared.lock().denials.push(denial);
    }

    /// Nothing is denied any more.
    pub fn allow_all(&self) {
        self.shared.lock().denials.clear();
    }

    /// Refuses every change to an object, as admission does, with this code and these words.
    pub fn refuse(&self, place: &Place, code: u16, why: impl Into<String>) {
        let mut changing = self.shared.lock();
        changing.refused.insert(place.clone(), (code, why.into()));
    }

    /// Admission refuses nothing any more.
    pub fn admit_all(&self) {
        self.shared.lock().refused.clear();
    }

    /// This group answers 503 from now on, as an aggregated API whose server is down.
    pub fn take_down(&self, group: impl Into<String>) {
        self.shared.lock().unserved.insert(group.into());
    }

    /// Lets the next `times` requests of this kind run into a fault; all of them, if `None`, until
    /// [`clear_faults`](Self::clear_faults).
    pub fn disturb(&self, verb: Verb, fault: Fault, times: impl Into<Option<u32>>) {
        let mut changing = self.shared.lock();
        changing.faults.add(Some(verb), fault, times.into());
    }

    /// Nothing is disturbed any more.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Requests of this kind since the start, refused ones included.
    #[must_use]
    pub fn calls(&self, verb: Verb) -> u64 {
        self.shared
            .lock()
            .calls
            .get(&verb)
            .copied()
            .unwrap_or_default()
    }

    /// Makes every continue token expire, as etcd's compaction does.
    ///
    /// # Errors
    ///
    /// None as things are.
    pub fn expire_lists(&self) -> Result<(), Error> {
        let key = ObjectKey::new("/registry/kms-testkit/compaction")?;
        let revision = self.store().put(&key, Vec::new(), None)?;
        self.store().compact(revision)
    }
}

fn told(refusal: Refusal) -> Error {
    let kind = match refusal.code {
        404 => ErrorKind::InvalidInput,
        409 => ErrorKind::Conflict,
        500 => ErrorKind::Internal,
        _ => ErrorKind::InvalidInput,
    };
    Error::new(kind, refusal.message)
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
