//! Walking the document: each value with the path that leads to it, for messages.
//!
//! Every complaint about a value is worded here or by the caller, and none quotes a value that may
//! be a secret.

use core::fmt;

use super::document::{Field, Node, Value};
use crate::{Error, ErrorKind};

/// How much of a key or value an error message repeats.
const MAX_QUOTED: usize = 80;
/// A longer unknown key is not repeated: it may be a secret in the wrong place.
const MAX_QUOTED_KEY: usize = 20;

/// An error of kind [`ErrorKind::Config`]; `line` is 0 if it is not known.
pub(super) fn config_error(path: &str, what: impl fmt::Display, line: u64) -> Error {
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
        let Value::Mapping(fields) = &self.node.value else {
            return Err(self.type_error("a mapping"));
        };
        for (index, field) in fields.iter().enumerate() {
            let (name, line) = (field.name.as_str(), field.line);
            if !allowed.contains(&name) {
                let path = match quotable_key(name) {
                    Some(name) => join(&self.path, name),
                    None => self.path.clone(),
                };
                let what = match allowed {
                    [] => "unknown field; there are none here".to_owned(),
                    _ => format!("unknown field; known are {}", allowed.join(", ")),
                };
                return Err(config_error(&path, what, line));
            }
            let earlier = fields.get(..index).unwrap_or_default();
            if earlier.iter().any(|other| *other.name == name) {
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
            fields,
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
            Value::Bool | Value::Integer(_) | Value::Number => Err(self.error(format_args!(
                "expected a string, got {}; put it in quotes",
                self.node.describe()
            ))),
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
            _ => Err(self.type_error("a number")),
        }
    }
}

/// The fields of one mapping.
pub(super) struct Fields<'a> {
    path: String,
    line: u64,
    fields: &'a [Field],
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
        self.fields
            .iter()
            .find(|field| *field.name == name)
            .filter(|field| !matches!(field.node.value, Value::Null))
            .map(|field| Cursor {
                node: &field.node,
                path: join(&self.path, name),
            })
    }

    /// The names of the fields that are not `null`, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(|field| !matches!(field.node.value, Value::Null))
            .map(|field| field.name.as_str())
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
fn quotable_key(name: &str) -> Option<&str> {
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
