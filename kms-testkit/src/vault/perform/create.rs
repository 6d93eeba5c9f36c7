//! `create`: a new key, or a new version of one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Request;
use crate::vault::access::Kind;
use crate::vault::call::Answer;
use crate::vault::material::{Curve, EcKey, KeyPool, Material, OctKey};
use crate::vault::refusal::Refusal;
use crate::vault::store::{
    Attributes, AttributesRequest, KeyOps, KeyRecord, Store, Version, new_id,
};

/// Of one key of a Managed HSM, rotations included.
pub(super) const MAX_HSM_VERSIONS: usize = 100;
const MAX_TAGS: usize = 15;
const MAX_TAG: usize = 256;

#[derive(Debug, Default, Deserialize)]
struct Body {
    kty: Option<String>,
    key_size: Option<usize>,
    public_exponent: Option<u64>,
    crv: Option<String>,
    #[serde(flatten)]
    properties: Properties,
}

/// What `create` and `import` take beside the key.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Properties {
    key_ops: Option<Vec<String>>,
    attributes: Option<AttributesRequest>,
    tags: Option<BTreeMap<String, String>>,
    release_policy: Option<Value>,
}

impl Properties {
    /// `ops`: what the key may be used for if these properties do not say it themselves.
    pub(super) fn version(
        self,
        material: Material,
        hsm: bool,
        ops: Option<Vec<String>>,
        now: i64,
    ) -> Result<Version, Refusal> {
        let attributes = Attributes::new(self.attributes.unwrap_or_default(), now)?;
        match (attributes.exportable, &self.release_policy) {
            (true, None) => {
                return Err(Refusal::bad_parameter(
                    "AKV.SKR.1004: Exportable keys must have release policy.",
                ));
            }
            (false, Some(_)) => {
                return Err(Refusal::bad_parameter(
                    "AKV.SKR.1005: Non-exportable keys must not have release policy.",
                ));
            }
            _ => {}
        }
        let tags = self.tags.unwrap_or_default();
        check_tags(&tags)?;
        Ok(Version {
            id: new_id()?,
            key_ops: KeyOps::new(material.kind(), self.key_ops.or(ops).as_deref())?,
            material,
            hsm,
            attributes,
            tags,
            release_policy: self.release_policy,
        })
    }
}

pub(super) fn create(store: &mut Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let body: Body = request.call.json()?;
    if body.public_exponent.is_some_and(|e| e != 65_537) {
        return Err(Refusal::bad_parameter(
            "Property public_exponent has invalid value: only 65537 is supported.",
        ));
    }
    let kty = body
        .kty
        .as_deref()
        .ok_or_else(|| Refusal::required("kty"))?;
    let (material, hsm) = generate(
        request.pool,
        request.kind,
        kty,
        body.key_size,
        body.crv.as_deref(),
    )?;
    let version = body.properties.version(material, hsm, None, request.now)?;
    add(store, request, version)
}

/// Puts a version into the store and shows it.
pub(super) fn add(
    store: &mut Store,
    request: &Request<'_>,
    version: Version,
) -> Result<Answer, Refusal> {
    check_room(request.kind, store.key(request.name()).ok())?;
    let key = store.add(request.name(), version, request.now)?;
    request.view.newest(key).map(Answer::ok)
}

/// Whether the key can have one more version.
pub(super) fn check_room(kind: Kind, key: Option<&KeyRecord>) -> Result<(), Refusal> {
    let full = key.is_some_and(|key| key.versions().len() >= MAX_HSM_VERSIONS);
    if full && kind == Kind::ManagedHsm {
        return Err(Refusal::bad_parameter(format!(
            "The key has reached the limit of {MAX_HSM_VERSIONS} versions."
        )));
    }
    Ok(())
}

/// Makes the key, and says whether it lives in hardware. All keys of a Managed HSM do.
fn generate(
    pool: &KeyPool,
    kind: Kind,
    kty: &str,
    key_size: Option<usize>,
    crv: Option<&str>,
) -> Result<(Material, bool), Refusal> {
    let hsm = kind == Kind::ManagedHsm || kty.ends_with("-HSM");
    let material = match (kty, kind) {
        ("RSA" | "RSA-HSM", _) => Material::Rsa(pool.rsa(key_size.unwrap_or(2048))?),
        ("EC" | "EC-HSM", _) => {
            Material::Ec(EcKey::generate(Curve::named(crv.unwrap_or("P-256"))?)?)
        }
        ("oct" | "oct-HSM", Kind::ManagedHsm) => {
            Material::Oct(OctKey::generate(key_size.unwrap_or(256))?)
        }
        (other, _) => return Err(Refusal::key_type_not_supported(other)),
    };
    Ok((material, hsm))
}

pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if tags.len() > MAX_TAGS {
        return Err(Refusal::bad_parameter(format!(
            "Property tags has too many entries: at most {MAX_TAGS}."
        )));
    }
    if tags
        .iter()
        .any(|(name, value)| name.len() > MAX_TAG || value.len() > MAX_TAG)
    {
        return Err(Refusal::bad_parameter(format!(
            "Property tags has an entry that is too long: at most {MAX_TAG} characters."
        )));
    }
    Ok(())
}
