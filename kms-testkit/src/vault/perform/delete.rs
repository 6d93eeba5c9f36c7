//! Deleting, recovering, purging.

use serde_json::Value;

use super::Request;
use super::manage::page;
use crate::vault::call::Answer;
use crate::vault::refusal::Refusal;
use crate::vault::store::{Deletion, Store};

const DAY: i64 = 86_400;

/// The whole key, with all of its versions.
pub(super) fn delete(store: &mut Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let retention = store.retention;
    let key = store.key_mut(request.name())?;
    let deletion = Deletion {
        at: request.now,
        done: request.now.saturating_add(request.deletion_seconds),
        purge: request
            .now
            .saturating_add(i64::from(retention.days).saturating_mul(DAY)),
    };
    key.deleted = Some(deletion);
    request.view.deleted_bundle(key, deletion).map(Answer::ok)
}

pub(super) fn get(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let (key, deletion) = store.deleted(request.name(), request.now)?;
    request.view.deleted_bundle(key, deletion).map(Answer::ok)
}

pub(super) fn list(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let items = store
        .all_deleted(request.now)
        .filter_map(|(key, deletion)| {
            let item: Value = request.view.deleted_item(key, deletion)?;
            Some((key.name.to_ascii_lowercase(), item))
        })
        .collect();
    page(request, items)
}

pub(super) fn recover(store: &mut Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    let key = store.recover(request.name(), request.now)?;
    request.view.newest(key).map(Answer::ok)
}

pub(super) fn purge(store: &mut Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    if store.retention.purge_protection {
        return Err(Refusal::purge_protected());
    }
    store.purge(request.name(), request.now)?;
    Ok(Answer::no_content())
}
