//! Keys as they are shown: `KeyBundle` and `KeyItem`.

use serde_json::{Map, Value, json};

use super::attributes::Retention;
use super::key::{Deletion, KeyRecord, Version};
use crate::vault::api_version::ApiVersion;
use crate::vault::call::encode;
use crate::vault::material::Material;
use crate::vault::refusal::Refusal;

/// How this caller sees the store: under which URL, and with which fields.
#[derive(Clone, Debug)]
pub(in crate::vault) struct View {
    /// `https://name.zone:port`, as the caller addressed it.
    pub(in crate::vault) base: String,
    pub(in crate::vault) api: ApiVersion,
    pub(in crate::vault) retention: Retention,
}

impl View {
    pub(in crate::vault) fn kid(&self, key: &KeyRecord, version: &Version) -> String {
        format!("{}/keys/{}/{}", self.base, key.name, version.id)
    }

    /// The public key with all that belongs to it.
    pub(in crate::vault) fn bundle(&self, key: &KeyRecord, version: &Version) -> Value {
        let mut jwk = jwk(version);
        jwk.insert("kid".to_owned(), self.kid(key, version).into());
        let mut bundle = json!({
            "key": jwk,
            "attributes": self.attributes(version),
            "tags": version.tags,
        });
        if let (Some(policy), Some(bundle)) = (&version.release_policy, bundle.as_object_mut()) {
            bundle.insert("release_policy".to_owned(), policy.clone());
        }
        bundle
    }

    /// One line of a list of versions.
    pub(in crate::vault) fn version_item(&self, key: &KeyRecord, version: &Version) -> Value {
        self.item(self.kid(key, version), version)
    }

    /// One line of a list of keys: the newest version, under the versionless id.
    pub(in crate::vault) fn key_item(&self, key: &KeyRecord) -> Option<Value> {
        let latest = key.latest()?;
        Some(self.item(format!("{}/keys/{}", self.base, key.name), latest))
    }

    /// The bundle of the newest version.
    pub(in crate::vault) fn newest(&self, key: &KeyRecord) -> Result<Value, Refusal> {
        let latest = key
            .latest()
            .ok_or_else(|| Refusal::internal("a key without a version"))?;
        Ok(self.bundle(key, latest))
    }

    pub(in crate::vault) fn policy_id(&self, key: &KeyRecord) -> String {
        format!("{}/keys/{}/rotationpolicy", self.base, key.name)
    }

    pub(in crate::vault) fn deleted_bundle(
        &self,
        key: &KeyRecord,
        deletion: Deletion,
    ) -> Result<Value, Refusal> {
        Ok(self.marked(self.newest(key)?, key, deletion))
    }

    pub(in crate::vault) fn deleted_item(
        &self,
        key: &KeyRecord,
        deletion: Deletion,
    ) -> Option<Value> {
        Some(self.marked(self.key_item(key)?, key, deletion))
    }

    fn marked(&self, mut value: Value, key: &KeyRecord, deletion: Deletion) -> Value {
        if let Some(object) = value.as_object_mut() {
            let id = format!("{}/deletedkeys/{}", self.base, key.name);
            object.insert("recoveryId".to_owned(), id.into());
            object.insert("deletedDate".to_owned(), deletion.at.into());
            object.insert("scheduledPurgeDate".to_owned(), deletion.purge.into());
        }
        value
    }

    fn item(&self, kid: String, version: &Version) -> Value {
        json!({
            "kid": kid,
            "attributes": self.attributes(version),
            "tags": version.tags,
        })
    }

    fn attributes(&self, version: &Version) -> Value {
        version
            .attributes
            .to_json(self.retention, version.hsm, self.api)
    }
}

fn jwk(version: &Version) -> Map<String, Value> {
    let mut jwk = Map::new();
    let mut set = |name: &str, value: Value| jwk.insert(name.to_owned(), value);
    set("kty", version.material.kind().kty(version.hsm).into());
    set("key_ops", json!(version.key_ops.names()));
    match &version.material {
        Material::Rsa(key) => {
            set("n", encode(&key.modulus()).into());
            set("e", encode(&key.exponent()).into());
        }
        Material::Ec(key) => {
            let (x, y) = key.public();
            set("crv", key.curve().name().into());
            set("x", encode(&x).into());
            set("y", encode(&y).into());
        }
        Material::Oct(_) => {}
    }
    jwk
}
