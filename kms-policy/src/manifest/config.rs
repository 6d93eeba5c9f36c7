//! ConfigMaps and Secrets, whose entries become variables.

use core::fmt;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::pod::{Metadata, metadata, texts};
use super::tree::{Fields, Unsupported, join};
use crate::{Error, ErrorKind};

/// A ConfigMap, or a Secret whose entries are text.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entries {
    /// Name and namespace.
    pub metadata: Metadata,
    /// Whether it is a Secret.
    pub is_secret: bool,
    /// Its entries.
    pub data: BTreeMap<String, String>,
}

/// Shows names alone.
impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries")
            .field("name", &self.metadata.name)
            .field("is_secret", &self.is_secret)
            .field("keys", &self.data.keys())
            .finish()
    }
}

pub(super) fn config_map(
    mut fields: Fields<'_>,
    unsupported: &mut Unsupported,
) -> Result<Entries, Error> {
    let entries = Entries {
        metadata: fields
            .with("metadata", |node| metadata(node, unsupported))?
            .unwrap_or_default(),
        is_secret: false,
        data: fields.with("data", texts)?.unwrap_or_default(),
    };
    fields.without_effect(&["binaryData", "immutable"]);
    fields.finish(unsupported)?;
    Ok(entries)
}

pub(super) fn secret(
    mut fields: Fields<'_>,
    unsupported: &mut Unsupported,
) -> Result<Entries, Error> {
    let path = join(fields.path(), "data");
    let metadata = fields
        .with("metadata", |node| metadata(node, unsupported))?
        .unwrap_or_default();
    let mut data = BTreeMap::new();
    for (name, encoded) in fields.with("data", texts)?.unwrap_or_default() {
        // One that is no text can be a file, and no variable.
        let lines: String = encoded.split_ascii_whitespace().collect();
        let decoded = STANDARD.decode(lines).map_err(|_| {
            Error::new(ErrorKind::Manifest, "is not base64").at(format!("{path}.{name}"))
        })?;
        if let Ok(text) = String::from_utf8(decoded) {
            data.insert(name, text);
        }
    }
    data.extend(fields.with("stringData", texts)?.unwrap_or_default());
    fields.without_effect(&["immutable", "type"]);
    fields.finish(unsupported)?;
    Ok(Entries {
        metadata,
        is_secret: true,
        data,
    })
}
