//! `sign` and `verify`.

use serde::Deserialize;
use serde_json::json;

use super::Request;
use crate::vault::call::{Answer, decode, encode};
use crate::vault::operation::Operation;
use crate::vault::refusal::Refusal;
use crate::vault::store::Store;

#[derive(Deserialize)]
struct Body {
    alg: Option<String>,
    /// The digest to sign, or the signature to verify.
    value: Option<String>,
    digest: Option<String>,
}

pub(super) fn sign(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let body: Body = request.call.json()?;
    let (key, version) = store.version(request.name(), request.version())?;
    version.permit(Operation::Sign, request.now)?;
    let digest = required("value", body.value.as_deref())?;
    let signature = version.material.sign(alg(&body)?, &digest)?;
    Ok(Answer::ok(json!({
        "kid": request.view.kid(key, version),
        "value": encode(&signature),
    })))
}

pub(super) fn verify(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let body: Body = request.call.json()?;
    let (_, version) = store.version(request.name(), request.version())?;
    version.permit(Operation::Verify, request.now)?;
    let digest = required("digest", body.digest.as_deref())?;
    let signature = required("value", body.value.as_deref())?;
    let verified = version.material.verify(alg(&body)?, &digest, &signature)?;
    Ok(Answer::ok(json!({ "value": verified })))
}

fn alg(body: &Body) -> Result<&str, Refusal> {
    body.alg.as_deref().ok_or_else(|| Refusal::required("alg"))
}

fn required(field: &str, value: Option<&str>) -> Result<Vec<u8>, Refusal> {
    decode(field, value.ok_or_else(|| Refusal::required(field))?)
}
