//! A test's hand on one vault or HSM, past permissions and HTTP.

use core::time::Duration;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use kms_core::{Error, ErrorKind};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::access::{Kind, Role, Scope};
use super::call::Answer;
use super::entra::Identity;
use super::execute::{import_pkcs8, unguarded};
use super::fault::Fault;
use super::operation::Operation;
use super::refusal::Refusal;
use super::state::{Desk, Network, Shared};

/// One vault, or the Managed HSM. Clones are the same one.
#[derive(Clone, Debug)]
pub struct KeyStore {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
}

impl KeyStore {
    pub(super) const fn new(shared: Arc<Shared>, desk: Arc<Desk>) -> Self {
        Self { shared, desk }
    }

    /// Where clients find it.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.names.url(&self.desk.host)
    }

    /// Its host name, without a port.
    #[must_use]
    pub fn host_name(&self) -> &str {
        &self.desk.host
    }

    /// Gives a role, effective at once.
    pub fn grant(&self, identity: &Identity, role: Role, scope: Scope) {
        self.grant_after(identity, role, scope, Duration::ZERO);
    }

    /// Gives a role that takes so long to become effective.
    pub fn grant_after(&self, identity: &Identity, role: Role, scope: Scope, delay: Duration) {
        let from = self.shared.clock.now() + delay;
        self.desk
            .lock()
            .access
            .assignments
            .grant(identity.object_id(), role, scope, from);
    }

    /// Takes a role away, effective at once.
    pub fn revoke(&self, identity: &Identity, role: Role, scope: &Scope) {
        self.revoke_after(identity, role, scope, Duration::ZERO);
    }

    /// Takes a role away, effective only after so long.
    pub fn revoke_after(&self, identity: &Identity, role: Role, scope: &Scope, delay: Duration) {
        let until = self.shared.clock.now() + delay;
        self.desk
            .lock()
            .access
            .assignments
            .revoke(identity.object_id(), role, scope, until);
    }

    /// Lets access policies rule instead of roles, as vaults did before; or roles again, which puts
    /// every policy out of force at once. An HSM has roles alone: with it this does nothing.
    pub fn use_access_policies(&self, policies: bool) {
        if self.desk.kind == Kind::KeyVault {
            self.desk.lock().access.by_policies = policies;
        }
    }

    /// Sets the access policy of an identity: what it may do, with every key. In force while
    /// [access policies](Self::use_access_policies) rule.
    pub fn set_access_policy(&self, identity: &Identity, permitted: &[Operation]) {
        let object_id = identity.object_id().to_owned();
        let mut state = self.desk.lock();
        state.access.policies.insert(object_id, permitted.to_vec());
    }

    /// From where it can be reached, from now on.
    pub fn set_network(&self, network: Network) {
        self.desk.lock().network = network;
    }

    /// Moves it to another tenant: tokens of the old one are refused with a fresh challenge.
    pub fn move_to_tenant(&self, tenant_id: impl Into<String>) {
        self.desk.lock().tenant = tenant_id.into();
    }

    /// Lets the next `times` calls of this kind, or of any kind, run into `fault`; all of them, if
    /// `None`, until [`Vault::clear_faults`](super::Vault::clear_faults).
    pub fn disturb(
        &self,
        operation: impl Into<Option<Operation>>,
        fault: Fault,
        times: impl Into<Option<u32>>,
    ) {
        self.desk
            .lock()
            .faults
            .add(operation.into(), fault, times.into());
    }

    /// Calls of this kind since the start: with a valid token, whatever came of them; or, as
    /// [`Operation::Challenge`], without one.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.desk
            .lock()
            .calls
            .get(&operation)
            .copied()
            .unwrap_or_default()
    }

    /// Makes an RSA key of 2048, 3072 or 4096 bits, or a new version of it, and returns its key id.
    /// In a vault it is a software key; in an HSM nothing is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the store refuses, as it would a client.
    pub fn create_rsa_key(&self, name: &str, bits: u32) -> Result<String, Error> {
        self.create(name, &json!({"kty": "RSA", "key_size": bits}))
    }

    /// Imports an RSA key of 2048, 3072 or 4096 bits from PKCS#8 in PEM, as a new version, and
    /// returns its key id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is no such key, or the store refuses.
    pub fn import_rsa_key(&self, name: &str, pem: &str) -> Result<String, Error> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| Error::new(ErrorKind::InvalidInput, "not a PKCS#8 key in PEM"))?;
        let answer = import_pkcs8(&self.shared, &self.desk, name, der.secret_pkcs8_der());
        kid(&bundle(answer)?)
    }

    /// Makes an AES key of 128, 192 or 256 bits; an HSM alone can.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the store refuses, as it would a client.
    pub fn create_aes_key(&self, name: &str, bits: u32) -> Result<String, Error> {
        self.create(name, &json!({"kty": "oct-HSM", "key_size": bits}))
    }

    /// Makes a key on the curve P-256, which can wrap nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the store refuses, as it would a client.
    pub fn create_ec_key(&self, name: &str) -> Result<String, Error> {
        self.create(name, &json!({"kty": "EC", "crv": "P-256"}))
    }

    /// Switches a version, or without one the newest, on or off.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the store refuses, as it would a client.
    pub fn set_enabled(
        &self,
        name: &str,
        version: Option<&str>,
        enabled: bool,
    ) -> Result<(), Error> {
        self.update(name, version, &json!({"attributes": {"enabled": enabled}}))
    }

    /// Sets from when and until when a version, or the newest, may be used; `None` leaves it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the store refuses, as it would a client.
    pub fn set_validity(
        &self,
        name: &str,
        version: Option<&str>,
        not_before: Option<SystemTime>,
        expires: Option<SystemTime>,
    ) -> Result<(), Error> {
        let seconds = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs()
        };
        let attributes = json!({
            "nbf": not_before.map(seconds), "exp": expires.map(seconds),
        });
        self.update(name, version, &json!({ "attributes": attributes }))
    }

    /// Sets what a version, or the newest, may be used for, such as `["wrapKey"]`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the store refuses, as it would a client.
    pub fn set_key_ops(
        &self,
        name: &str,
        version: Option<&str>,
        key_ops: &[&str],
    ) -> Result<(), Error> {
        self.update(name, version, &json!({ "key_ops": key_ops }))
    }

    /// Makes a new version, as the rotation policy would.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the store refuses, as it would a client.
    pub fn rotate_key(&self, name: &str) -> Result<String, Error> {
        self.run(Method::POST, &format!("/keys/{name}/rotate"), &json!({}))
            .and_then(|bundle| kid(&bundle))
    }

    /// Deletes a key with all of its versions. It can be recovered until it is purged.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the store refuses, as it would a client.
    pub fn delete_key(&self, name: &str) -> Result<(), Error> {
        self.run(Method::DELETE, &format!("/keys/{name}"), &json!({}))
            .map(drop)
    }

    /// Brings a deleted key back.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the store refuses, as it would a client.
    pub fn recover_key(&self, name: &str) -> Result<(), Error> {
        let path = format!("/deletedkeys/{name}/recover");
        self.run(Method::POST, &path, &json!({})).map(drop)
    }

    /// Destroys a deleted key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the store refuses, as it would a client.
    pub fn purge_key(&self, name: &str) -> Result<(), Error> {
        self.run(Method::DELETE, &format!("/deletedkeys/{name}"), &json!({}))
            .map(drop)
    }

    fn create(&self, name: &str, body: &Value) -> Result<String, Error> {
        let bundle = self.run(Method::POST, &format!("/keys/{name}/create"), body)?;
        kid(&bundle)
    }

    fn update(&self, name: &str, version: Option<&str>, body: &Value) -> Result<(), Error> {
        let path = format!("/keys/{name}/{}", version.unwrap_or_default());
        self.run(Method::PATCH, &path, body).map(drop)
    }

    /// What a client could ask for, without asking who is there.
    fn run(&self, method: Method, path: &str, body: &Value) -> Result<Value, Error> {
        bundle(unguarded(&self.shared, &self.desk, method, path, body))
    }
}

fn kid(bundle: &Value) -> Result<String, Error> {
    bundle
        .pointer("/key/kid")
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a key without an id"))
}

fn bundle(answer: Result<Answer, Refusal>) -> Result<Value, Error> {
    answer
        .map(|answer| answer.body.unwrap_or_default())
        .map_err(|refusal| Error::new(ErrorKind::InvalidInput, refusal.message))
}
