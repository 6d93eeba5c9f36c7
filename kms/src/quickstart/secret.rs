//! Secrets as kube-apiserver hands them to its storage: `k8s\0` and a protobuf `runtime.Unknown`
//! that holds the object. Only the fields that such a Secret cannot do without.

use std::collections::BTreeMap;

use prost::Message;

const MAGIC: &[u8] = b"k8s\0";

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
    #[prost(string, tag = "3")]
    content_encoding: String,
    #[prost(string, tag = "4")]
    content_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
}

#[derive(Clone, PartialEq, Message)]
struct Secret {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(btree_map = "string, bytes", tag = "2")]
    data: BTreeMap<String, Vec<u8>>,
    #[prost(string, tag = "3")]
    r#type: String,
}

/// The stored form, before encryption, of an Opaque Secret with one item.
pub(super) fn stored_form(namespace: &str, name: &str, uid: &str, password: &[u8]) -> Vec<u8> {
    let secret = Secret {
        metadata: Some(ObjectMeta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            uid: uid.to_owned(),
        }),
        data: BTreeMap::from([("password".to_owned(), password.to_vec())]),
        r#type: "Opaque".to_owned(),
    };
    let object = Unknown {
        type_meta: Some(TypeMeta {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
        }),
        raw: secret.encode_to_vec(),
        content_encoding: String::new(),
        content_type: String::new(),
    };
    [MAGIC, &object.encode_to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_can_be_read_back() {
        let stored = stored_form("default", "db", "u-1", b"hunter2");
        let object = Unknown::decode(stored.strip_prefix(MAGIC).unwrap()).unwrap();
        assert_eq!(object.type_meta.unwrap().kind, "Secret");
        let secret = Secret::decode(&*object.raw).unwrap();
        assert_eq!(secret.metadata.unwrap().name, "db");
        assert_eq!(secret.data["password"], b"hunter2");
    }
}
