//! Metadata without content: `PartialObjectMetadata` and lists of it.

use kms_core::object::{ApiObject, ApiResource, ContinueToken};
use kms_core::{Error, ErrorKind};
use serde::Deserialize;

/// Metadata alone, whatever the resource; no other form is taken instead, so that no content of an
/// object leaves the server. Kubernetes 1.15 or later.
pub(super) const ACCEPT_ONE: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The same of a list.
pub(super) const ACCEPT_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

#[derive(Deserialize)]
struct List {
    kind: String,
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default)]
    items: Option<Vec<Item>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMetadata {
    r#continue: Option<String>,
    remaining_item_count: Option<i64>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct One {
    kind: String,
    metadata: Metadata,
}

/// The rest of the metadata, annotations among it, is passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    resource_version: String,
}

/// What a list holds.
pub(super) struct Listed {
    pub(super) objects: Vec<ApiObject>,
    pub(super) next: Option<ContinueToken>,
    pub(super) remaining: Option<u64>,
}

/// Reads a list.
pub(super) fn read_list(body: &[u8], resource: &ApiResource) -> Result<Listed, Error> {
    let list: List = serde_json::from_slice(body).map_err(|_may_quote_it| not_metadata())?;
    if list.kind != "PartialObjectMetadataList" {
        return Err(whole_objects());
    }
    let objects = list
        .items
        .unwrap_or_default()
        .into_iter()
        .map(|item| object(item.metadata, resource))
        .collect::<Result<_, _>>()?;
    let next = list
        .metadata
        .r#continue
        .filter(|token| !token.is_empty())
        .map(ContinueToken::new)
        .transpose()
        .map_err(broken)?;
    let remaining = list
        .metadata
        .remaining_item_count
        .and_then(|count| u64::try_from(count).ok());
    Ok(Listed {
        objects,
        next,
        remaining,
    })
}

/// Reads one object.
pub(super) fn read_one(body: &[u8], resource: &ApiResource) -> Result<ApiObject, Error> {
    let one: One = serde_json::from_slice(body).map_err(|_may_quote_it| not_metadata())?;
    if one.kind != "PartialObjectMetadata" {
        return Err(whole_objects());
    }
    object(one.metadata, resource)
}

fn object(metadata: Metadata, resource: &ApiResource) -> Result<ApiObject, Error> {
    let namespace = metadata.namespace.filter(|namespace| !namespace.is_empty());
    let object = ApiObject::new(
        resource.clone(),
        namespace,
        metadata.name,
        metadata.resource_version,
    )
    .map_err(broken)?;
    match metadata.uid.filter(|uid| !uid.is_empty()) {
        Some(uid) => object.with_uid(uid).map_err(broken),
        None => Ok(object),
    }
}

/// What cannot be an object here cannot be one there.
fn broken(error: Error) -> Error {
    Error::new(ErrorKind::Protocol, error.message().to_owned())
}

fn not_metadata() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the server's answer is not the metadata that was asked for",
    )
}

fn whole_objects() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the server gives whole objects where metadata alone was asked for",
    )
    .with_remedy("leave this resource out: it is of an aggregated API that cannot do it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> ApiResource {
        ApiResource::new("", "v1", "secrets").unwrap()
    }

    fn list(metadata: &str, items: &str) -> Result<Listed, Error> {
        let body = format!(
            r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"items":{items}}}"#
        );
        read_list(body.as_bytes(), &secrets())
    }

    #[test]
    fn metadata_is_read_and_the_rest_passed_over() {
        let listed = list(
            r#"{"resourceVersion":"9","continue":"abc","remainingItemCount":3}"#,
            r#"[{"metadata":{"name":"a","namespace":"b","uid":"u","resourceVersion":"7",
                "annotations":{"x":"hunter2"},"managedFields":[{"a":{"b":[1,2.5,null]}}]}},
                {"metadata":{"name":"c","resourceVersion":"8"}}]"#,
        )
        .unwrap();
        let first = ApiObject::new(secrets(), Some("b".to_owned()), "a", "7")
            .unwrap()
            .with_uid("u")
            .unwrap();
        let second = ApiObject::new(secrets(), None, "c", "8").unwrap();
        assert_eq!(listed.objects, [first, second]);
        assert_eq!(listed.next.unwrap().as_str(), "abc");
        assert_eq!(listed.remaining, Some(3));
        let empty = list(r#"{"continue":""}"#, "null").unwrap();
        assert!(empty.objects.is_empty() && empty.next.is_none() && empty.remaining.is_none());
    }

    #[test]
    fn what_is_no_metadata_is_refused_without_a_word_of_it() {
        for items in [
            r#"[{"metadata":{"name":"hunter2/..","resourceVersion":"7"}}]"#,
            r#"[{"metadata":{"name":"a","resourceVersion":"hunter2 x"}}]"#,
            r#"[{"metadata":{"name":"a"}}]"#,
            r#"["hunter2"]"#,
            r#"{"hunter2":1}"#,
        ] {
            let error = list("{}", items).err().expect("refused");
            assert_eq!(error.kind(), ErrorKind::Protocol, "{items}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let long = "t".repeat(ContinueToken::MAX_LEN + 1);
        let error = list(&format!(r#"{{"continue":"{long}"}}"#), "[]").err();
        assert_eq!(error.expect("refused").kind(), ErrorKind::Protocol);
    }

    #[test]
    fn whole_objects_are_not_taken() {
        let body = br#"{"kind":"SecretList","items":[{"metadata":{"name":"a","resourceVersion":"7"},"data":{"x":"y"}}]}"#;
        let error = read_list(body, &secrets()).err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let body = br#"{"kind":"Secret","metadata":{"name":"a","resourceVersion":"7"}}"#;
        let error = read_one(body, &secrets()).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
