//! `rng`, of a Managed HSM.

use kms_core::{OsRandom, SecureRandom as _};
use serde::Deserialize;
use serde_json::json;

use super::Request;
use crate::vault::access::Kind;
use crate::vault::api_version::ApiVersion;
use crate::vault::call::{Answer, encode};
use crate::vault::refusal::Refusal;

const MAX_BYTES: usize = 128;

#[derive(Deserialize)]
struct Body {
    count: Option<usize>,
}

pub(super) fn random(request: &Request<'_>) -> Result<Answer, Refusal> {
    if request.kind == Kind::KeyVault {
        return Err(Refusal::no_route());
    }
    request.api.needs(ApiVersion::V7_3)?;
    let body: Body = request.call.json()?;
    let count = body.count.ok_or_else(|| Refusal::required("count"))?;
    if !(1..=MAX_BYTES).contains(&count) {
        return Err(Refusal::bad_parameter(format!(
            "Property count has invalid value: from 1 to {MAX_BYTES}."
        )));
    }
    let mut bytes = vec![0; count];
    OsRandom
        .fill(&mut bytes)
        .map_err(|_| Refusal::internal("no randomness"))?;
    Ok(Answer::ok(json!({ "value": encode(&bytes) })))
}
