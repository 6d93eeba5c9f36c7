//! `ObjectMeta`, and what of it a server fills in.

use std::collections::BTreeMap;

use super::node::{Fields, Node};
use super::object::map_entry;
use super::{Field, ManifestOptions, each_field, text};
use crate::Error;

/// Fields of `metadata` that a server fills in; `managedFields` among them is always dropped.
const SERVERS: [&str; 9] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "selfLink",
];
const MANAGED: &str = "managedFields";

/// Drops what a server filled in from an object that is stored as JSON.
pub(super) fn strip_json(object: &mut serde_json::Value, options: &ManifestOptions) {
    let metadata = object.get_mut("metadata");
    let Some(metadata) = metadata.and_then(serde_json::Value::as_object_mut) else {
        return;
    };
    metadata.remove(MANAGED);
    if !options.keep_metadata {
        for field in SERVERS {
            metadata.remove(field);
        }
    }
}

/// Field numbers as in `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`.
pub(super) fn decode<'a>(meta: &'a [u8], options: &ManifestOptions) -> Result<Node<'a>, Error> {
    let mut fields = Fields::new();
    let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
    let (mut owners, mut finalizers) = (Vec::new(), Vec::new());
    each_field(meta, "metadata", |field, value| {
        let texts = |name: &'static str, bytes| -> Result<_, Error> {
            Ok((name, Node::Text(text(bytes, name)?)))
        };
        let named = match (field, value) {
            (1, Field::Bytes(bytes)) => texts("name", bytes)?,
            (2, Field::Bytes(bytes)) => texts("generateName", bytes)?,
            (3, Field::Bytes(bytes)) => texts("namespace", bytes)?,
            (5, Field::Bytes(bytes)) => texts("uid", bytes)?,
            (6, Field::Bytes(bytes)) => texts("resourceVersion", bytes)?,
            (7, Field::Number(number)) => ("generation", Node::Number(number.cast_signed())),
            (8, Field::Bytes(bytes)) => ("creationTimestamp", time(bytes)?),
            (9, Field::Bytes(bytes)) => ("deletionTimestamp", time(bytes)?),
            (10, Field::Number(number)) => (
                "deletionGracePeriodSeconds",
                Node::Number(number.cast_signed()),
            ),
            (11, Field::Bytes(entry)) => return put_text(&mut labels, entry, "labels"),
            (12, Field::Bytes(entry)) => return put_text(&mut annotations, entry, "annotations"),
            (13, Field::Bytes(owner)) => {
                owners.push(owner_reference(owner)?);
                return Ok(());
            }
            (14, Field::Bytes(bytes)) => {
                finalizers.push(Node::Text(text(bytes, "finalizers")?));
                return Ok(());
            }
            _ => return Ok(()),
        };
        let is_empty = matches!(named.1, Node::Text(""));
        if !is_empty && (options.keep_metadata || !SERVERS.contains(&named.0)) {
            fields.push((named.0.into(), named.1));
        }
        Ok(())
    })?;
    for (name, entries) in [("labels", labels), ("annotations", annotations)] {
        if !entries.is_empty() {
            fields.push((name.into(), Node::map(entries)));
        }
    }
    for (name, items) in [("ownerReferences", owners), ("finalizers", finalizers)] {
        if options.keep_metadata && !items.is_empty() {
            fields.push((name.into(), Node::List(items)));
        }
    }
    Ok(Node::Map(fields))
}

fn put_text<'a>(
    map: &mut BTreeMap<&'a str, Node<'a>>,
    entry: &'a [u8],
    what: &'static str,
) -> Result<(), Error> {
    let (name, value) = map_entry(entry, what)?;
    map.insert(name, Node::Text(text(value, what)?));
    Ok(())
}

/// Kind 1, name 3, uid 4, apiVersion 5, controller 6, blockOwnerDeletion 7.
fn owner_reference(owner: &[u8]) -> Result<Node<'_>, Error> {
    let mut fields = Fields::new();
    each_field(owner, "ownerReferences", |field, value| {
        let named = match (field, value) {
            (1, Field::Bytes(bytes)) => ("kind", Node::Text(text(bytes, "kind")?)),
            (3, Field::Bytes(bytes)) => ("name", Node::Text(text(bytes, "name")?)),
            (4, Field::Bytes(bytes)) => ("uid", Node::Text(text(bytes, "uid")?)),
            (5, Field::Bytes(bytes)) => ("apiVersion", Node::Text(text(bytes, "apiVersion")?)),
            (6, Field::Number(flag)) => ("controller", Node::Bool(flag != 0)),
            (7, Field::Number(flag)) => ("blockOwnerDeletion", Node::Bool(flag != 0)),
            _ => return Ok(()),
        };
        fields.push((named.0.into(), named.1));
        Ok(())
    })?;
    Ok(Node::Map(fields))
}

/// Seconds 1, nanoseconds 2; written in whole seconds, as the API does.
fn time(bytes: &[u8]) -> Result<Node<'_>, Error> {
    let mut seconds = 0_u64;
    each_field(bytes, "time", |field, value| {
        if let (1, Field::Number(number)) = (field, value) {
            seconds = number;
        }
        Ok(())
    })?;
    let time = jiff::Timestamp::from_second(seconds.cast_signed())
        .map_err(|_| super::malformed("a time of the metadata is out of range"))?;
    Ok(Node::Owned(time.to_string()))
}
