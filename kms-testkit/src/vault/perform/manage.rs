//! Reading keys and changing what is said of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Request;
use super::create::check_tags;
use crate::vault::call::{Answer, encode};
use crate::vault::refusal::Refusal;
use crate::vault::store::{AttributesRequest, KeyOps, Store};

const MAX_RESULTS: usize = 25;

pub(super) fn get(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let (key, version) = store.version(request.name(), request.version())?;
    Ok(Answer::ok(request.view.bundle(key, version)))
}

pub(super) fn list(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let items = store
        .keys()
        .filter_map(|key| {
            let item = request.view.key_item(key)?;
            Some((key.name.to_ascii_lowercase(), item))
        })
        .collect();
    page(request, items)
}

/// Ordered by version, which is random: nobody may rely on the order of creation.
pub(super) fn list_versions(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let key = store.key(request.name())?;
    let items = key
        .versions()
        .iter()
        .map(|version| {
            let item = request.view.version_item(key, version);
            (version.id.clone(), item)
        })
        .collect();
    page(request, items)
}

/// So many of the items as were asked for, from where the last page ended.
pub(super) fn page(
    request: &Request<'_>,
    items: BTreeMap<String, Value>,
) -> Result<Answer, Refusal> {
    let asked = request.call.query("maxresults");
    let size = match asked.map(str::parse::<usize>) {
        None => MAX_RESULTS,
        Some(Ok(size @ 1..=MAX_RESULTS)) => size,
        Some(_) => {
            return Err(Refusal::bad_parameter(format!(
                "maxresults must be from 1 to {MAX_RESULTS}."
            )));
        }
    };
    let after = request.call.query("$skiptoken");
    let mut rest = items
        .into_iter()
        .map(|(place, item)| (encode(place.as_bytes()), place, item))
        .skip_while(|(token, ..)| after.is_some_and(|after| token != after))
        .skip(usize::from(after.is_some()))
        .peekable();
    let mut value = Vec::new();
    let mut last = String::new();
    for (token, _, item) in rest.by_ref().take(size) {
        value.push(item);
        last = token;
    }
    let next = rest.peek().is_some().then(|| {
        format!(
            "{}{}?api-version={}&$skiptoken={last}&maxresults={size}",
            request.view.base,
            request.call.path,
            request.api.name(),
        )
    });
    Ok(Answer::ok(json!({ "value": value, "nextLink": next })))
}

#[derive(Debug, Default, Deserialize)]
struct Update {
    key_ops: Option<Vec<String>>,
    attributes: Option<AttributesRequest>,
    tags: Option<BTreeMap<String, String>>,
    release_policy: Option<Value>,
}

pub(super) fn update(store: &mut Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let body: Update = request.call.json()?;
    let now = request.now;
    let version = store.version_mut(request.name(), request.version())?;
    let attributes = version
        .attributes
        .with(body.attributes.unwrap_or_default(), now)?;
    let key_ops = match body.key_ops {
        Some(ops) => KeyOps::new(version.material.kind(), Some(&ops))?,
        None => version.key_ops.clone(),
    };
    if let Some(tags) = &body.tags {
        check_tags(tags)?;
    }
    let release_policy = match body.release_policy {
        Some(policy) => Some(replaced_policy(version.release_policy.as_ref(), policy)?),
        None => version.release_policy.clone(),
    };
    // Nothing is changed before everything is known to be good.
    version.attributes = attributes;
    version.key_ops = key_ops;
    version.release_policy = release_policy;
    if let Some(tags) = body.tags {
        version.tags = tags;
    }
    let (key, version) = store.version(request.name(), request.version())?;
    Ok(Answer::ok(request.view.bundle(key, version)))
}

fn replaced_policy(old: Option<&Value>, new: Value) -> Result<Value, Refusal> {
    let Some(old) = old else {
        return Err(Refusal::bad_parameter(
            "AKV.SKR.1005: Non-exportable keys must not have release policy.",
        ));
    };
    let immutable = old.get("immutable").and_then(Value::as_bool);
    if immutable == Some(true) && *old != new {
        return Err(Refusal::bad_parameter(
            "AKV.SKR.1020: Immutable Key Release Policy cannot be modified.",
        ));
    }
    Ok(new)
}
