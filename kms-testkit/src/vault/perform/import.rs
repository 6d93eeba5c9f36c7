//! `import`: a key that was made elsewhere, as a JWK.

use serde::Deserialize;
use zeroize::Zeroizing;

use super::Request;
use super::create::{Properties, add};
use crate::vault::access::Kind;
use crate::vault::call::{Answer, decode};
use crate::vault::material::{Curve, EcKey, Material, OctKey, RsaKey, RsaParts};
use crate::vault::refusal::Refusal;
use crate::vault::store::Store;

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "Hsm", alias = "hsm")]
    hsm: Option<bool>,
    key: Option<Jwk>,
    #[serde(flatten)]
    properties: Properties,
}

/// A private JWK. The names are the standard's.
#[derive(Default, Deserialize)]
struct Jwk {
    kty: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<String>,
    p: Option<String>,
    q: Option<String>,
    dp: Option<String>,
    dq: Option<String>,
    qi: Option<String>,
    k: Option<String>,
    x: Option<String>,
    y: Option<String>,
    key_hsm: Option<String>,
}

pub(super) fn import(store: &mut Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let body: Body = request.call.json()?;
    let jwk = body.key.ok_or_else(|| Refusal::required("key"))?;
    let kty = jwk.kty.as_deref().ok_or_else(|| Refusal::required("kty"))?;
    if jwk.key_hsm.is_some() {
        return Err(Refusal::bad_parameter(
            "Property key_hsm is not supported: this vault imports no key that is wrapped for an HSM.",
        ));
    }
    let hsm =
        request.kind == Kind::ManagedHsm || kty.ends_with("-HSM") || body.hsm.unwrap_or_default();
    let material = match (kty, request.kind) {
        ("RSA" | "RSA-HSM", _) => Material::Rsa(rsa(&jwk)?),
        ("EC" | "EC-HSM", _) => Material::Ec(ec(&jwk)?),
        ("oct" | "oct-HSM", Kind::ManagedHsm) => {
            Material::Oct(OctKey::new(secret("k", jwk.k.as_ref())?)?)
        }
        (other, _) => return Err(Refusal::key_type_not_supported(other)),
    };
    let version = body
        .properties
        .version(material, hsm, jwk.key_ops, request.now)?;
    add(store, request, version)
}

/// A key that is there already.
pub(in crate::vault) fn import_rsa(
    store: &mut Store,
    request: &Request<'_>,
    pkcs8: &[u8],
) -> Result<Answer, Refusal> {
    let material = Material::Rsa(RsaKey::from_pkcs8(pkcs8)?);
    let hsm = request.kind == Kind::ManagedHsm;
    let version = Properties::default().version(material, hsm, None, request.now)?;
    add(store, request, version)
}

fn rsa(jwk: &Jwk) -> Result<RsaKey, Refusal> {
    RsaKey::from_parts(&RsaParts {
        n: public("n", jwk.n.as_ref())?,
        e: public("e", jwk.e.as_ref())?,
        d: secret("d", jwk.d.as_ref())?,
        p: secret("p", jwk.p.as_ref())?,
        q: secret("q", jwk.q.as_ref())?,
        dp: secret("dp", jwk.dp.as_ref())?,
        dq: secret("dq", jwk.dq.as_ref())?,
        qi: secret("qi", jwk.qi.as_ref())?,
    })
}

fn ec(jwk: &Jwk) -> Result<EcKey, Refusal> {
    let curve = Curve::named(jwk.crv.as_deref().unwrap_or_default())?;
    EcKey::from_parts(
        curve,
        &public("x", jwk.x.as_ref())?,
        &public("y", jwk.y.as_ref())?,
        &secret("d", jwk.d.as_ref())?,
    )
}

fn public(field: &str, value: Option<&String>) -> Result<Vec<u8>, Refusal> {
    decode(field, value.ok_or_else(|| missing(field))?)
}

fn secret(field: &str, value: Option<&String>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    decode(field, value.ok_or_else(|| missing(field))?).map(Zeroizing::new)
}

fn missing(field: &str) -> Refusal {
    Refusal::bad_parameter(format!("Property {field} of key is required."))
}
