//! What was stored, as something `kubectl apply` takes.

mod metadata;
mod node;
mod object;

use self::node::Node;
use super::value::wire::Reader;
use crate::{Error, ErrorKind};

/// An object that the API server serialized, decoded: a Secret, a ConfigMap, or anything that is
/// stored as JSON, such as custom resources.
///
/// Serializes to the JSON or YAML of the Kubernetes API, straight from the decrypted bytes; what
/// base64 takes on the way is wiped. Objects that are stored as JSON are parsed into a tree that
/// is not.
///
/// ```
/// use kms_envelope::kubernetes::{Manifest, ManifestOptions};
///
/// let stored = br#"{"apiVersion":"example.org/v1","kind":"Gadget","metadata":{"name":"one","uid":"7"}}"#;
/// let manifest = Manifest::decode(stored, &ManifestOptions::default())?;
/// assert_eq!(manifest.kind(), "Gadget");
/// assert_eq!(
///     serde_json::to_string(&manifest)?,
///     r#"{"apiVersion":"example.org/v1","kind":"Gadget","metadata":{"name":"one"}}"#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Manifest<'a> {
    kind: String,
    node: Node<'a>,
}

/// What to keep of an object.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ManifestOptions {
    /// Whether to keep what a server fills in: uid, revision, times, owners, finalizers. Without
    /// them an object can be applied anywhere; an owner that is not there would have it deleted.
    /// Managed fields are dropped in any case.
    pub keep_metadata: bool,
}

impl ManifestOptions {
    /// Sets whether to keep what a server fills in.
    #[must_use]
    pub const fn with_keep_metadata(mut self, keep: bool) -> Self {
        self.keep_metadata = keep;
        self
    }
}

/// What protobuf objects begin with.
const MAGIC: &[u8] = b"k8s\0";

impl<'a> Manifest<'a> {
    /// Decodes what the API server serialized.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for a kind that is stored as protobuf and is neither a Secret
    /// nor a ConfigMap; [`ErrorKind::Malformed`] for what is not of its format.
    pub fn decode(plaintext: &'a [u8], options: &ManifestOptions) -> Result<Self, Error> {
        match plaintext.strip_prefix(MAGIC) {
            Some(unknown) => from_protobuf(unknown, options),
            None => from_json(plaintext, options),
        }
    }

    /// The kind, such as `Secret`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

/// Shows the kind alone: the rest may be secret.
impl core::fmt::Debug for Manifest<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Manifest")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl serde::Serialize for Manifest<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.node.serialize(serializer)
    }
}

/// `runtime.Unknown`: type 1 (apiVersion 1, kind 2), raw 2, contentEncoding 3, contentType 4.
fn from_protobuf<'a>(unknown: &'a [u8], options: &ManifestOptions) -> Result<Manifest<'a>, Error> {
    let (mut type_meta, mut raw, mut encoding) = (&b""[..], &b""[..], &b""[..]);
    each_field(unknown, "object", |field, value| {
        match (field, value) {
            (1, Field::Bytes(bytes)) => type_meta = bytes,
            (2, Field::Bytes(bytes)) => raw = bytes,
            (3, Field::Bytes(bytes)) => encoding = bytes,
            _ => {}
        }
        Ok(())
    })?;
    let (mut api_version, mut kind) = ("", "");
    each_field(type_meta, "type", |field, value| {
        match (field, value) {
            (1, Field::Bytes(bytes)) => api_version = text(bytes, "apiVersion")?,
            (2, Field::Bytes(bytes)) => kind = text(bytes, "kind")?,
            _ => {}
        }
        Ok(())
    })?;
    if !encoding.is_empty() {
        return Err(unsupported("an object with a content encoding".to_owned()));
    }
    let fields = match (api_version, kind) {
        ("v1", "Secret") => object::secret(raw, options)?,
        ("v1", "ConfigMap") => object::config_map(raw, options)?,
        _ => {
            return Err(unsupported(format!(
                "objects of {} {}, which are stored as protobuf,",
                api_version.escape_debug(),
                kind.escape_debug()
            )));
        }
    };
    let head = [
        ("apiVersion".into(), Node::Text(api_version)),
        ("kind".into(), Node::Text(kind)),
    ];
    Ok(Manifest {
        kind: kind.to_owned(),
        node: Node::Map(head.into_iter().chain(fields).collect()),
    })
}

fn from_json<'a>(plaintext: &[u8], options: &ManifestOptions) -> Result<Manifest<'a>, Error> {
    let mut value: serde_json::Value = serde_json::from_slice(plaintext)
        // The reason may quote what is secret.
        .map_err(|_| malformed("the object is neither protobuf nor JSON"))?;
    let kind = match value.get("kind") {
        Some(serde_json::Value::String(kind)) => kind.clone(),
        _ => return Err(malformed("the object names no kind")),
    };
    metadata::strip_json(&mut value, options);
    Ok(Manifest {
        kind,
        node: Node::Json(value),
    })
}

/// The value of a protobuf field, as far as it is used here.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Visits the fields of a message that are numbers or bytes.
fn each_field<'a>(
    message: &'a [u8],
    what: &'static str,
    mut visit: impl FnMut(u64, Field<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    use super::value::wire::{BYTES, VARINT};
    let broken = || malformed(format!("the {what} is not protobuf"));
    let mut reader = Reader::new(message);
    while !reader.is_empty() {
        let (field, wire_type) = reader.tag().ok_or_else(broken)?;
        match wire_type {
            VARINT => visit(field, Field::Number(reader.varint().ok_or_else(broken)?))?,
            BYTES => visit(field, Field::Bytes(reader.bytes().ok_or_else(broken)?))?,
            _ => reader.skip(field, wire_type).ok_or_else(broken)?,
        }
    }
    Ok(())
}

fn text<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, Error> {
    core::str::from_utf8(bytes).map_err(|_| malformed(format!("the {what} is not UTF-8")))
}

fn malformed(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::Malformed, problem)
}

fn unsupported(what: String) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("{what} cannot be decoded here"),
    )
}
