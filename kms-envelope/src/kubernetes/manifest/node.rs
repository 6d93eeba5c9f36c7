//! A tree that borrows from decrypted bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use zeroize::Zeroizing;

pub(super) type Fields<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

/// A part of an object.
pub(super) enum Node<'a> {
    Text(&'a str),
    Owned(String),
    /// Written in base64.
    Bytes(&'a [u8]),
    Number(i64),
    Bool(bool),
    Map(Fields<'a>),
    List(Vec<Self>),
    Json(serde_json::Value),
}

impl<'a> Node<'a> {
    pub(super) fn map(entries: BTreeMap<&'a str, Self>) -> Self {
        let entries = entries.into_iter();
        Self::Map(entries.map(|(name, value)| (name.into(), value)).collect())
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Owned(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => {
                let text = Zeroizing::new(STANDARD.encode(bytes));
                serializer.serialize_str(&text)
            }
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Self::List(items) => serializer.collect_seq(items),
            Self::Json(value) => value.serialize(serializer),
        }
    }
}
