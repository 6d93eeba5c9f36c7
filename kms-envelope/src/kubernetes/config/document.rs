//! The YAML document as a tree that remembers lines, and a cursor over it that names the path.
//!
//! The tree is read without a schema on purpose: a scalar gets the type that its spelling has in
//! YAML, so that an unquoted `yes` or `123` where a string is wanted is refused, as kube-apiserver
//! refuses it. And every complaint about a value is worded here, so that none can quote a secret.

use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use zeroize::Zeroizing;

use crate::{Error, ErrorKind};

/// Bounds on what a document may hold; a real one has a few hundred nodes.
const MAX_NODES: usize = 50_000;
const MAX_DEPTH: usize = 16;
const MAX_ALIASES: usize = 1_000;
const MAX_SCALAR_BYTES: usize = 4 << 20;

/// How much of a key or value an error message repeats.
const MAX_QUOTED: usize = 80;
/// A longer unknown key is not repeated: it may be a secret in the wrong place.
const MAX_QUOTED_KEY: usize = 20;

/// A value and the line that it is on.
pub(super) struct Node {
    value: Value,
    line: u64,
}

enum Value {
    Null,
    Bool,
    Integer(i64),
    /// A number that is no 64-bit integer.
    Number,
    /// Text of a scalar, perhaps a secret.
    Text(Zeroizing<String>),
    Bytes,
    List(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

struct Key(Spanned<KeyText>);

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
    fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool => "a boolean; put it in quotes to make it a string",
            Value::Integer(_) | Value::Number => "a number; put it in quotes to make it a string",
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

/// An error of kind [`ErrorKind::Config`]; `line` is 0 if it is not known.
fn config_error(path: &str, what: impl fmt::Display, line: u64) -> Error {
    let path = if path.is_empty() {
        "EncryptionConfiguration"
    } else {
        path
    };
    Error::new(
        ErrorKind::Config,
        match line {
            0 => format!("{path}: {what}"),
            line => format!("{path}: {what} (line {line})"),
        },
    )
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

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
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
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Mapping(entries))
    }
}

/// A node and the path that leads to it.
pub(super) struct Cursor<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> Cursor<'a> {
    /// At the top of the document.
    pub(super) fn root(node: &'a Node) -> Self {
        Self {
            node,
            path: String::new(),
        }
    }

    /// `what` is wrong here.
    pub(super) fn error(&self, what: impl fmt::Display) -> Error {
        config_error(&self.path, what, self.node.line)
    }

    fn type_error(&self, wanted: &str) -> Error {
        self.error(format_args!(
            "expected {wanted}, got {}",
            self.node.describe()
        ))
    }

    /// The fields of a mapping, each of which must be one of `allowed` and stand there once.
    pub(super) fn fields(&self, allowed: &[&str]) -> Result<Fields<'a>, Error> {
        let Value::Mapping(entries) = &self.node.value else {
            return Err(self.type_error("a mapping"));
        };
        for (index, (key, _)) in entries.iter().enumerate() {
            let name = key.0.value.0.as_str();
            let line = key.0.referenced.line();
            if !allowed.contains(&name) {
                let wanted = allowed.join(", ");
                return Err(match quote_key(name) {
                    Some(name) => config_error(
                        &join(&self.path, name),
                        format_args!("unknown field; known are {wanted}"),
                        line,
                    ),
                    None => config_error(
                        &self.path,
                        format_args!("unknown field; known are {wanted}"),
                        line,
                    ),
                });
            }
            let earlier = entries.get(..index).unwrap_or_default();
            if earlier.iter().any(|(other, _)| *other.0.value.0 == name) {
                return Err(config_error(
                    &join(&self.path, name),
                    "given more than once",
                    line,
                ));
            }
        }
        Ok(Fields {
            path: self.path.clone(),
            line: self.node.line,
            entries,
        })
    }

    /// The items of a list. `null` is an empty one, as in Go.
    pub(super) fn items(&self) -> Result<Vec<Self>, Error> {
        match &self.node.value {
            Value::List(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, node)| Self {
                    node,
                    path: format!("{}[{index}]", self.path),
                })
                .collect()),
            Value::Null => Ok(Vec::new()),
            _ => Err(self.type_error("a list")),
        }
    }

    /// A string. `null` is an empty one, as in Go.
    pub(super) fn text(&self) -> Result<&'a str, Error> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            Value::Null => Ok(""),
            _ => Err(self.type_error("a string")),
        }
    }

    /// A 32-bit integer.
    pub(super) fn int32(&self) -> Result<i32, Error> {
        match self.node.value {
            Value::Integer(number) => {
                i32::try_from(number).map_err(|_| self.error("does not fit in 32 bits"))
            }
            Value::Number => Err(self.error("expected a whole number")),
            Value::Text(_) => Err(self.error("expected a number, got a string")),
            _ => Err(self.type_error("a number")),
        }
    }
}

/// The fields of one mapping.
pub(super) struct Fields<'a> {
    path: String,
    line: u64,
    entries: &'a [(Key, Node)],
}

impl<'a> Fields<'a> {
    /// `what` is wrong with the mapping as a whole.
    pub(super) fn error(&self, what: impl fmt::Display) -> Error {
        config_error(&self.path, what, self.line)
    }

    /// `what` is wrong with the field `name`, which may be absent.
    pub(super) fn field_error(&self, name: &str, what: impl fmt::Display) -> Error {
        let line = self
            .optional(name)
            .map_or(self.line, |field| field.node.line);
        config_error(&join(&self.path, name), what, line)
    }

    /// The field, unless it is absent or `null`, which is the same in Go.
    pub(super) fn optional(&self, name: &str) -> Option<Cursor<'a>> {
        self.entries
            .iter()
            .find(|(key, _)| *key.0.value.0 == name)
            .filter(|(_, node)| !matches!(node.value, Value::Null))
            .map(|(_, node)| Cursor {
                node,
                path: join(&self.path, name),
            })
    }

    /// The names of the fields that are not `null`, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries
            .iter()
            .filter(|(_, node)| !matches!(node.value, Value::Null))
            .map(|(key, _)| key.0.value.0.as_str())
    }

    /// The text of a field; empty if it is absent or `null`.
    pub(super) fn text_or_empty(&self, name: &str) -> Result<&'a str, Error> {
        self.optional(name).map_or(Ok(""), |field| field.text())
    }

    /// The text of a field that must be there and not be empty.
    pub(super) fn required_text(&self, name: &str) -> Result<&'a str, Error> {
        match self.text_or_empty(name)? {
            "" => Err(self.field_error(name, "is required")),
            text => Ok(text),
        }
    }

    /// The items of a list that must be there and not be empty.
    pub(super) fn required_items(&self, name: &str) -> Result<Vec<Cursor<'a>>, Error> {
        let items = match self.optional(name) {
            Some(field) => field.items()?,
            None => Vec::new(),
        };
        if items.is_empty() {
            return Err(self.field_error(name, "at least one entry is required"));
        }
        Ok(items)
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// An unknown key, if it is short and plain enough to be a misspelt field rather than a secret.
fn quote_key(name: &str) -> Option<&str> {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    (plain && !name.is_empty() && name.len() <= MAX_QUOTED_KEY).then_some(name)
}

/// A value from the document as it may stand in a message: escaped, and cut if it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
