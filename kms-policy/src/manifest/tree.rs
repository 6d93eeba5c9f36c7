//! YAML as a tree, and reading fields out of it so that none goes unseen.

use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

use crate::{Error, ErrorKind};

/// Bounds on one manifest file.
const MAX_NODES: usize = 500_000;
const MAX_DEPTH: usize = 64;
const MAX_ALIASES: usize = 10_000;
const MAX_SCALAR_BYTES: usize = 32 << 20;
const MAX_DOCUMENTS: usize = 10_000;

/// A value of YAML. It may hold a Secret, hence no `Debug`.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    /// In the order of the file.
    Map(Vec<(String, Self)>),
}

impl Value {
    /// Reads every document of a file.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, Error> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_events: MAX_NODES.saturating_mul(3),
                max_aliases: MAX_ALIASES,
                max_anchors: MAX_ALIASES,
                max_recorded_anchor_events: MAX_NODES,
                max_depth: MAX_DEPTH,
                max_documents: MAX_DOCUMENTS,
                max_nodes: MAX_NODES,
                max_merge_keys: MAX_ALIASES,
                max_total_scalar_bytes: MAX_SCALAR_BYTES,
            },
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: MAX_NODES,
                max_replay_stack_depth: MAX_DEPTH,
            },
            duplicate_keys: DuplicateKeyPolicy::Error,
            non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
            with_snippet: false,
            emit_comments: false,
        };
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            Error::new(
                ErrorKind::Manifest,
                format!("not YAML that can be read: {}", error.without_snippet()),
            )
        })
    }

    const fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// A value and where it is, such as `spec.containers[0].env`.
pub(crate) struct Node<'v> {
    value: &'v Value,
    path: String,
}

impl<'v> Node<'v> {
    pub(crate) const fn new(value: &'v Value, path: String) -> Self {
        Self { value, path }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    fn wrong(&self, wanted: &str) -> Error {
        let found = self.value.describe();
        Error::new(
            ErrorKind::Manifest,
            format!("is {found} where Kubernetes has {wanted}"),
        )
        .at(self.path.clone())
    }

    pub(crate) fn fields(self) -> Result<Fields<'v>, Error> {
        match self.value {
            Value::Map(entries) => Ok(Fields {
                entries,
                taken: vec![false; entries.len()],
                path: self.path,
            }),
            Value::Null => Ok(Fields {
                entries: &[],
                taken: Vec::new(),
                path: self.path,
            }),
            _ => Err(self.wrong("a mapping")),
        }
    }

    pub(crate) fn items(&self) -> Result<Vec<Self>, Error> {
        match self.value {
            Value::List(values) => Ok(values
                .iter()
                .enumerate()
                .map(|(index, value)| Self::new(value, format!("{}[{index}]", self.path)))
                .collect()),
            Value::Null => Ok(Vec::new()),
            _ => Err(self.wrong("a list")),
        }
    }

    /// Every entry of a mapping whose keys are names.
    pub(crate) fn entries(&self) -> Result<Vec<(&'v str, Self)>, Error> {
        match self.value {
            Value::Map(entries) => Ok(entries
                .iter()
                .map(|(name, value)| (&**name, Self::new(value, format!("{}.{name}", self.path))))
                .collect()),
            Value::Null => Ok(Vec::new()),
            _ => Err(self.wrong("a mapping")),
        }
    }

    pub(crate) fn text(&self) -> Result<String, Error> {
        match self.value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.wrong("a string")),
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool, Error> {
        match self.value {
            Value::Bool(truth) => Ok(*truth),
            _ => Err(self.wrong("a boolean")),
        }
    }

    pub(crate) fn integer(&self) -> Result<i64, Error> {
        match self.value {
            Value::Integer(number) => Ok(*number),
            _ => Err(self.wrong("an integer")),
        }
    }

    /// Text, or a number as it is written in a quantity.
    pub(crate) fn scalar(&self) -> Result<String, Error> {
        match self.value {
            Value::Text(text) => Ok(text.clone()),
            Value::Integer(number) => Ok(number.to_string()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(truth) => Ok(truth.to_string()),
            _ => Err(self.wrong("a scalar")),
        }
    }

    pub(crate) fn texts(&self) -> Result<Vec<String>, Error> {
        self.items()?.iter().map(Self::text).collect()
    }
}

/// The fields of a mapping. What is neither taken nor ignored is unsupported.
pub(crate) struct Fields<'v> {
    entries: &'v [(String, Value)],
    taken: Vec<bool>,
    path: String,
}

impl<'v> Fields<'v> {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Takes a field that is there and not null.
    pub(crate) fn take(&mut self, name: &str) -> Option<Node<'v>> {
        let index = self.entries.iter().position(|(key, _)| key == name)?;
        if let Some(taken) = self.taken.get_mut(index) {
            *taken = true;
        }
        let (_, value) = self.entries.get(index)?;
        let node = Node::new(value, join(&self.path, name));
        (!node.is_null()).then_some(node)
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        self.take(name).map(|node| node.text()).transpose()
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Error> {
        self.take(name).map(|node| node.boolean()).transpose()
    }

    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<i64>, Error> {
        self.take(name).map(|node| node.integer()).transpose()
    }

    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Error> {
        self.take(name).map(|node| node.texts()).transpose()
    }

    /// Reads a list with one reader for each item.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(Node<'v>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let Some(node) = self.take(name) else {
            return Ok(Vec::new());
        };
        node.items()?.into_iter().map(&mut read).collect()
    }

    /// Reads a field with a reader of its own.
    pub(crate) fn with<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Node<'v>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.take(name).map(read).transpose()
    }

    pub(crate) fn required(&self, name: &str) -> Error {
        Error::new(ErrorKind::Manifest, "is missing").at(join(&self.path, name))
    }

    /// Marks fields that a policy has nothing to say about.
    pub(crate) fn without_effect(&mut self, names: &[&str]) {
        for name in names {
            let _ = self.take(name);
        }
    }

    /// Refuses, or notes, whatever was not read.
    pub(crate) fn finish(self, unsupported: &mut Unsupported) -> Result<(), Error> {
        for ((name, value), _) in self
            .entries
            .iter()
            .zip(&self.taken)
            .filter(|(_, taken)| !**taken)
        {
            // Nothing there is the same as not there: `creationTimestamp: null` of generators.
            if *value == Value::Null {
                continue;
            }
            unsupported.field(join(&self.path, name))?;
        }
        Ok(())
    }
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// What is to become of fields that a policy cannot speak about.
#[derive(Debug)]
pub(crate) struct Unsupported {
    ignored: Option<Vec<String>>,
}

impl Unsupported {
    pub(crate) fn new(silent: bool) -> Self {
        Self {
            ignored: silent.then(Vec::new),
        }
    }

    pub(crate) fn field(&mut self, path: String) -> Result<(), Error> {
        if let Some(ignored) = &mut self.ignored {
            ignored.push(path);
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            "is not supported: the policy would not say anything about it",
        )
        .at(path))
    }

    pub(crate) fn into_ignored(self) -> Vec<String> {
        self.ignored.unwrap_or_default()
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
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Number(number as f64), Value::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Value, Value>()? {
            // A key such as `yes` or `1` is one of text to Kubernetes.
            let name = match key {
                Value::Text(text) => text,
                Value::Bool(truth) => truth.to_string(),
                Value::Integer(number) => number.to_string(),
                _ => return Err(serde::de::Error::custom("a key of a mapping is no text")),
            };
            map.push((name, value));
        }
        Ok(Value::Map(map))
    }
}
