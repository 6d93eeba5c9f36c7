//! `backup` and `restore`.

use serde::Deserialize;
use serde_json::json;

use super::Request;
use crate::vault::call::{Answer, decode, encode};
use crate::vault::refusal::Refusal;
use crate::vault::store::Store;

#[derive(Deserialize)]
struct Body {
    value: Option<String>,
}

pub(super) fn backup(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let key = store.key(request.name())?;
    let sealed = request.backup_key.seal(request.kind, key)?;
    Ok(Answer::ok(json!({ "value": encode(&sealed) })))
}

pub(super) fn restore(store: &mut Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let body: Body = request.call.json()?;
    let value = body.value.ok_or_else(|| Refusal::required("value"))?;
    let key = request
        .backup_key
        .open(request.kind, &decode("value", &value)?)?;
    let key = store.insert(key, request.now)?;
    request.view.newest(key).map(Answer::ok)
}
