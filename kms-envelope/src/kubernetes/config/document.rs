//! The YAML document as a tree that remembers lines.
//!
//! It is read without a schema on purpose: a scalar gets the type that its spelling has in YAML, so
//! that an unquoted `yes` or `123` where a string is wanted can be refused, as kube-apiserver
//! refuses it. And the parser never gets to complain about a value, which it would quote.

use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use zeroize::Zeroizing;

use super::cursor::config_error;
use crate::Error;

/// Bounds on what a document may hold; a real one has a few hundred nodes.
const MAX_NODES: usize = 50_000;
const MAX_DEPTH: usize = 16;
const MAX_ALIASES: usize = 1_000;
const MAX_SCALAR_BYTES: usize = 4 << 20;

/// A value and the line that it is on.
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) line: u64,
}

/// What a node holds. No `Debug`: it may be a secret.
pub(super) enum Value {
    Null,
    Bool,
    Integer(i64),
    /// A number that is no 64-bit integer.
    Number,
    /// Text of a scalar, perhaps a secret.
    Text(Zeroizing<String>),
    Bytes,
    List(Vec<Node>),
    Mapping(Vec<Field>),
}

/// A field of a mapping.
pub(super) struct Field {
    pub(super) name: Zeroizing<String>,
    /// The line of the name.
    pub(super) line: u64,
    pub(super) node: Node,
}

struct KeyText(Zeroizing<String>);

impl Node {
    /// Reads the only document in `text`.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_events: MAX_NODES.saturating_mul(3),
                max_aliases: MAX_ALIASES,
                max_anchors: MAX_ALIASES,
                max_recorded_anchor_events: MAX_NODES,
                max_depth: MAX_DEPTH,
                max_documents: 2,
                max_nodes: MAX_NODES,
                max_merge_keys: MAX_ALIASES,
                // Counts what aliases repeat, too.
                max_total_scalar_bytes: MAX_SCALAR_BYTES,
            },
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: MAX_NODES,
                max_replay_stack_depth: MAX_DEPTH,
            },
            // Found below, where the path is known.
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
            with_snippet: false,
            emit_comments: false,
        };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax_error(&error))
    }

    /// What the value is, in words.
    pub(super) fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool => "a boolean",
            Value::Integer(_) | Value::Number => "a number",
            Value::Text(_) => "a string",
            Value::Bytes => "a !!binary value",
            Value::List(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// What the YAML parser found wrong. Its own words may repeat the input, so only those of ours that
/// cannot are used.
fn syntax_error(error: &serde_saphyr::Error) -> Error {
    let mut cause = error.without_snippet();
    while let serde_saphyr::Error::AliasError { error, .. } = cause {
        cause = error;
    }
    let what = match cause {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            "there is more than one YAML document; kube-apiserver reads only the first"
        }
        serde_saphyr::Error::Budget { .. }
        | serde_saphyr::Error::AliasReplayLimitExceeded { .. }
        | serde_saphyr::Error::AliasReplayStackDepthExceeded { .. }
        | serde_saphyr::Error::AliasExpansionLimitExceeded { .. } => {
            "it is larger or more deeply nested than any EncryptionConfiguration"
        }
        serde_saphyr::Error::UnknownAnchor { .. } => "a YAML alias names no anchor before it",
        serde_saphyr::Error::Eof { .. } => "the document is empty or ends too early",
        _ => "it is not valid YAML",
    };
    let line = error.location().map_or(0, |location| location.line());
    config_error("", what, line)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            line: spanned.referenced.line(),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl Visitor<'_> for KeyVisitor {
            type Value = KeyText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_str<E>(self, text: &str) -> Result<KeyText, E> {
                Ok(KeyText(Zeroizing::new(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<KeyText, E> {
                Ok(KeyText(Zeroizing::new(text)))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Bool)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Number, Value::Integer))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text)))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes)
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        drop(Zeroizing::new(bytes));
        Ok(Value::Bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, node)) = access.next_entry::<Spanned<KeyText>, Node>()? {
            fields.push(Field {
                name: key.value.0,
                line: key.referenced.line(),
                node,
            });
        }
        Ok(Value::Mapping(fields))
    }
}
