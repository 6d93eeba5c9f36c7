//! `rotate`, rotation policies, and what they do by themselves.

use std::collections::BTreeMap;

use super::Request;
use super::create::{MAX_HSM_VERSIONS, check_room};
use crate::vault::access::Kind;
use crate::vault::api_version::ApiVersion;
use crate::vault::call::Answer;
use crate::vault::material::{EcKey, KeyKind, KeyPool, Material, OctKey};
use crate::vault::refusal::Refusal;
use crate::vault::store::{
    Attributes, AttributesRequest, KeyRecord, RotationPolicy, Store, Version, new_id,
};

/// The most versions that one look at the clock makes of a key: years may have passed.
const MAX_CATCH_UP: usize = MAX_HSM_VERSIONS;

pub(super) fn rotate(store: &mut Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    request.api.needs(ApiVersion::V7_3)?;
    let key = store.key_mut(request.name())?;
    if request.kind == Kind::ManagedHsm && key.policy.is_none() {
        return Err(Refusal::bad_parameter(
            "A key rotation policy must be set before the key is rotated.",
        ));
    }
    check_room(request.kind, Some(key))?;
    let version = successor(key, request.pool, request.now)?;
    key.push(version);
    request.view.newest(key).map(Answer::ok)
}

pub(super) fn get_policy(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    request.api.needs(ApiVersion::V7_3)?;
    let key = store.key(request.name())?;
    let id = request.view.policy_id(key);
    let policy = match &key.policy {
        Some(policy) => policy.to_json(&id),
        None => RotationPolicy::unset(request.kind).to_json(&id),
    };
    Ok(Answer::ok(policy))
}

pub(super) fn set_policy(store: &mut Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    request.api.needs(ApiVersion::V7_3)?;
    let policy: RotationPolicy = request.call.json()?;
    let key = store.key_mut(request.name())?;
    let policy = policy.accept(request.kind, key.policy.as_ref(), request.now)?;
    let id = request.view.policy_id(key);
    Ok(Answer::ok(key.policy.insert(policy).to_json(&id)))
}

/// Whether a policy wants a new version of some key by now.
pub(in crate::vault) fn is_due(store: &Store, now: i64) -> bool {
    store.keys().any(|key| due(key, now).is_some())
}

/// Makes all versions that policies want by now, each dated when it was due. A key that cannot be
/// rotated stays as it is, as with the real service.
pub(in crate::vault) fn rotate_due(store: &mut Store, kind: Kind, pool: &KeyPool, now: i64) {
    for key in store.keys_mut() {
        for _ in 0..MAX_CATCH_UP {
            let Some(time) = due(key, now) else { break };
            let made = check_room(kind, Some(key)).and_then(|()| successor(key, pool, time));
            let Ok(version) = made else { break };
            key.push(version);
        }
    }
}

fn due(key: &KeyRecord, now: i64) -> Option<i64> {
    let policy = key.policy.as_ref()?;
    let attributes = key.latest()?.attributes;
    policy
        .due(attributes.created, attributes.expires)
        .filter(|due| *due <= now)
}

/// A new version of the same kind, with the same uses; enabled, and expiring as the policy says.
fn successor(key: &KeyRecord, pool: &KeyPool, now: i64) -> Result<Version, Refusal> {
    let old = key
        .latest()
        .ok_or_else(|| Refusal::internal("a key without a version"))?;
    let material = match old.material.kind() {
        KeyKind::Rsa(bits) => Material::Rsa(pool.rsa(bits)?),
        KeyKind::Ec(curve) => Material::Ec(EcKey::generate(curve)?),
        KeyKind::Oct(bits) => Material::Oct(OctKey::generate(bits)?),
    };
    let attributes = AttributesRequest {
        expires: key.policy.as_ref().and_then(|policy| policy.expiry(now)),
        exportable: Some(old.attributes.exportable),
        ..AttributesRequest::default()
    };
    Ok(Version {
        id: new_id()?,
        material,
        hsm: old.hsm,
        attributes: Attributes::new(attributes, now)?,
        key_ops: old.key_ops.clone(),
        tags: BTreeMap::clone(&old.tags),
        release_policy: old.release_policy.clone(),
    })
}
