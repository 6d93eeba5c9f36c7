//! `encrypt`, `decrypt`, `wrapKey`, `unwrapKey`.

use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Request;
use crate::vault::api_version::ApiVersion;
use crate::vault::call::{Answer, decode, encode};
use crate::vault::material::Material;
use crate::vault::operation::Operation;
use crate::vault::refusal::Refusal;
use crate::vault::store::Store;

#[derive(Deserialize)]
struct Body {
    alg: Option<String>,
    value: Option<String>,
    iv: Option<String>,
    aad: Option<String>,
    tag: Option<String>,
}

pub(super) fn crypt(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let body: Body = request.call.json()?;
    let alg = body
        .alg
        .as_deref()
        .ok_or_else(|| Refusal::required("alg"))?;
    if alg.starts_with("CKM_") {
        request.api.needs(ApiVersion::V7_6)?;
    }
    let value = body
        .value
        .as_deref()
        .ok_or_else(|| Refusal::required("value"))?;
    let value = Zeroizing::new(decode("value", value)?);
    let iv = optional("iv", body.iv.as_deref())?;
    let aad = optional("aad", body.aad.as_deref())?;
    let tag = optional("tag", body.tag.as_deref())?;

    let operation = request.route.operation;
    let (key, version) = store.version(request.name(), request.version())?;
    version.permit(operation, request.now)?;
    let mut answer = match (&version.material, operation) {
        (Material::Ec(_), _) => {
            return Err(Refusal::bad_parameter(format!(
                "Algorithm {alg} is not supported by a key of type EC."
            )));
        }
        (Material::Rsa(key), Operation::Encrypt | Operation::WrapKey) => {
            json!({ "value": encode(&key.encrypt(alg, &value)?) })
        }
        (Material::Rsa(key), _) => json!({ "value": encode(&key.decrypt(alg, &value)?) }),
        (Material::Oct(key), Operation::WrapKey) => {
            json!({ "value": encode(&key.wrap(alg, &value)?) })
        }
        (Material::Oct(key), Operation::UnwrapKey) => {
            json!({ "value": encode(&key.unwrap(alg, &value)?) })
        }
        (Material::Oct(key), Operation::Encrypt) => {
            let sealed = key.encrypt(alg, &value, iv.as_deref(), aad.as_deref().unwrap_or(&[]))?;
            json!({
                "value": encode(&sealed.value),
                "iv": encode(&sealed.iv),
                "tag": sealed.tag.as_deref().map(encode),
                "aad": aad.as_deref().map(encode),
            })
        }
        (Material::Oct(key), _) => {
            let aad = aad.as_deref().unwrap_or(&[]);
            let opened = key.decrypt(alg, &value, iv.as_deref(), aad, tag.as_deref())?;
            json!({ "value": encode(&opened) })
        }
    };
    if let Some(answer) = answer.as_object_mut() {
        answer.retain(|_, value| !value.is_null());
        answer.insert(
            "kid".to_owned(),
            Value::from(request.view.kid(key, version)),
        );
    }
    Ok(Answer::ok(answer))
}

fn optional(field: &str, value: Option<&str>) -> Result<Option<Vec<u8>>, Refusal> {
    value.map(|value| decode(field, value)).transpose()
}
