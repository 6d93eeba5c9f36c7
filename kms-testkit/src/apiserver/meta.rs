//! Objects as JSON, whole and as metadata alone.

use kms_core::object::Revision;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::schema::Resource;

/// What a client asked to be given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Whole,
    Metadata,
}

impl Form {
    /// From an `Accept` header. The first form that is known counts.
    pub(super) fn of(accept: &str) -> Result<Self, Refusal> {
        if accept.is_empty() {
            return Ok(Self::Whole);
        }
        accept
            .split(',')
            .find_map(Self::of_one)
            .ok_or_else(Refusal::not_acceptable)
    }

    fn of_one(media_type: &str) -> Option<Self> {
        let mut parts = media_type.split(';').map(str::trim);
        let is_json = matches!(
            parts.next(),
            Some("application/json" | "application/*" | "*/*")
        );
        let parameters: Vec<_> = parts.filter(|part| !part.starts_with("q=")).collect();
        let is_metadata = |form: &str| {
            parameters.contains(&form)
                && parameters.contains(&"g=meta.k8s.io")
                && parameters.contains(&"v=v1")
        };
        match (is_json, parameters.is_empty()) {
            (false, _) => None,
            (true, true) => Some(Self::Whole),
            (true, false)
                if is_metadata("as=PartialObjectMetadata")
                    || is_metadata("as=PartialObjectMetadataList") =>
            {
                Some(Self::Metadata)
            }
            _ => None,
        }
    }

    /// An object in this form.
    pub(super) fn show(self, object: Value) -> Value {
        match self {
            Self::Whole => object,
            Self::Metadata => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": object.get("metadata").cloned().unwrap_or_default(),
            }),
        }
    }

    /// A list in this form; `metadata` is that of the list.
    pub(super) fn show_list(
        self,
        resource: &Resource,
        metadata: Value,
        objects: Vec<Value>,
    ) -> Value {
        let items: Vec<_> = objects
            .into_iter()
            .map(|object| self.show(object))
            .collect();
        let (kind, api_version) = match self {
            Self::Whole => (format!("{}List", resource.kind), resource.api_version()),
            Self::Metadata => (
                "PartialObjectMetadataList".to_owned(),
                "meta.k8s.io/v1".to_owned(),
            ),
        };
        json!({ "kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items })
    }
}

/// Reads what was stored, and puts beside it what is not stored in it.
pub(super) fn decode(plaintext: &[u8], revision: Revision) -> Result<Value, Refusal> {
    let mut object: Value = serde_json::from_slice(plaintext).map_err(|_| {
        Refusal::internal("the stored object is not JSON, the only form that is kept here")
    })?;
    metadata_mut(&mut object)?.insert("resourceVersion".to_owned(), json!(revision.to_string()));
    Ok(object)
}

/// What is stored of an object.
pub(super) fn encode(object: &Value) -> Result<Vec<u8>, Refusal> {
    let mut object = object.clone();
    metadata_mut(&mut object)?.remove("resourceVersion");
    Ok(object.to_string().into_bytes())
}

pub(super) fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, Refusal> {
    let fields = object
        .as_object_mut()
        .ok_or_else(|| Refusal::bad_request("the object is no mapping"))?;
    fields
        .entry("metadata")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .ok_or_else(|| Refusal::bad_request("metadata is no mapping"))
}

/// A text of the metadata; empty if it is not there.
pub(super) fn text<'o>(object: &'o Value, field: &str) -> &'o str {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A JSON merge patch (RFC 7396).
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else {
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_that_of_the_rfc() {
        for (target, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
        ] {
            let mut target = target;
            merge(&mut target, &patch);
            assert_eq!(target, merged);
        }
    }

    #[test]
    fn the_first_form_that_is_known_is_given() {
        let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        for (accept, form) in [
            ("", Some(Form::Whole)),
            ("*/*", Some(Form::Whole)),
            ("application/json;q=0.9", Some(Form::Whole)),
            (metadata, Some(Form::Metadata)),
            (
                &format!("application/vnd.kubernetes.protobuf, {metadata}, application/json"),
                Some(Form::Metadata),
            ),
            ("application/json;as=Table;g=meta.k8s.io;v=v1", None),
            ("application/vnd.kubernetes.protobuf", None),
        ] {
            assert_eq!(Form::of(accept).ok(), form, "{accept}");
        }
    }
}
