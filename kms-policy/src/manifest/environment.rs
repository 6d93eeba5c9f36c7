//! Variables of a container.

use super::tree::{Node, Unsupported, join};
use crate::{Error, ErrorKind};

/// A variable.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: EnvValue,
    /// Where it stands in the manifest.
    pub(crate) path: String,
}

/// Where the value of a variable comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EnvValue {
    /// It is written there.
    Literal(String),
    /// An entry of a ConfigMap.
    ConfigMapKey(KeyOf),
    /// An entry of a Secret.
    SecretKey(KeyOf),
    /// A field of the pod, such as `status.podIP`.
    Field(String),
    /// A resource of the container, such as `limits.cpu`.
    Resource(String),
}

/// An entry of a ConfigMap or Secret.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyOf {
    /// The object.
    pub name: String,
    /// The entry.
    pub key: String,
    /// Whether the container starts without it.
    pub optional: bool,
}

/// A ConfigMap or Secret, all of whose entries become variables.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EnvFrom {
    /// What variables' names begin with.
    pub prefix: String,
    /// Whether it is a Secret.
    pub is_secret: bool,
    /// Its name.
    pub name: String,
    /// Whether the container starts without it.
    pub optional: bool,
    /// Where it stands in the manifest.
    pub(crate) path: String,
}

pub(super) fn env_var(node: Node<'_>, unsupported: &mut Unsupported) -> Result<EnvVar, Error> {
    let path = node.path().to_owned();
    let mut fields = node.fields()?;
    let missing = fields.required("name");
    let name = fields.text("name")?.ok_or(missing)?;
    let literal = fields.text("value")?;
    let from = fields.with("valueFrom", |node| value_from(node, unsupported))?;
    fields.finish(unsupported)?;
    let value = match (literal, from) {
        (Some(_), Some(_)) => {
            return Err(
                Error::new(ErrorKind::Manifest, "has both `value` and `valueFrom`").at(path),
            );
        }
        (_, Some(from)) => from,
        (literal, None) => EnvValue::Literal(literal.unwrap_or_default()),
    };
    Ok(EnvVar { name, value, path })
}

fn value_from(node: Node<'_>, unsupported: &mut Unsupported) -> Result<EnvValue, Error> {
    let path = node.path().to_owned();
    let mut fields = node.fields()?;
    let config_map = fields.with("configMapKeyRef", |node| key_of(node, unsupported))?;
    let secret = fields.with("secretKeyRef", |node| key_of(node, unsupported))?;
    let field = fields.with("fieldRef", |node| {
        let mut fields = node.fields()?;
        let missing = fields.required("fieldPath");
        let field = fields.text("fieldPath")?.ok_or(missing)?;
        fields.without_effect(&["apiVersion"]);
        fields.finish(unsupported)?;
        Ok(field)
    })?;
    let resource = fields.with("resourceFieldRef", |node| {
        let mut fields = node.fields()?;
        let missing = fields.required("resource");
        let resource = fields.text("resource")?.ok_or(missing)?;
        fields.without_effect(&["containerName", "divisor"]);
        fields.finish(unsupported)?;
        Ok(resource)
    })?;
    fields.finish(unsupported)?;
    let mut found = [
        config_map.map(EnvValue::ConfigMapKey),
        secret.map(EnvValue::SecretKey),
        field.map(EnvValue::Field),
        resource.map(EnvValue::Resource),
    ]
    .into_iter()
    .flatten();
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Error::new(
            ErrorKind::Manifest,
            "must name exactly one of configMapKeyRef, secretKeyRef, fieldRef and resourceFieldRef",
        )
        .at(path)),
    }
}

fn key_of(node: Node<'_>, unsupported: &mut Unsupported) -> Result<KeyOf, Error> {
    let mut fields = node.fields()?;
    let (no_name, no_key) = (fields.required("name"), fields.required("key"));
    let found = KeyOf {
        name: fields.text("name")?.ok_or(no_name)?,
        key: fields.text("key")?.ok_or(no_key)?,
        optional: fields.boolean("optional")?.unwrap_or_default(),
    };
    fields.finish(unsupported)?;
    Ok(found)
}

pub(super) fn env_from(node: Node<'_>, unsupported: &mut Unsupported) -> Result<EnvFrom, Error> {
    let path = node.path().to_owned();
    let mut fields = node.fields()?;
    let prefix = fields.text("prefix")?.unwrap_or_default();
    let mut found = None;
    for (name, is_secret) in [("configMapRef", false), ("secretRef", true)] {
        let reference = fields.with(name, |node| {
            let mut fields = node.fields()?;
            let missing = fields.required("name");
            let name = fields.text("name")?.ok_or(missing)?;
            let optional = fields.boolean("optional")?.unwrap_or_default();
            fields.finish(unsupported)?;
            Ok((name, optional))
        })?;
        found = found.or_else(|| reference.map(|reference| (is_secret, reference)));
    }
    fields.finish(unsupported)?;
    let (is_secret, (name, optional)) = found.ok_or_else(|| {
        Error::new(ErrorKind::Manifest, "is missing").at(join(&path, "configMapRef"))
    })?;
    Ok(EnvFrom {
        prefix,
        is_secret,
        name,
        optional,
        path,
    })
}
