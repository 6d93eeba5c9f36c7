//! Secrets and ConfigMaps, by the field numbers of `k8s.io/api/core/v1/generated.proto`.

use std::collections::BTreeMap;

use super::node::{Fields, Node};
use super::{Field, ManifestOptions, each_field, metadata, text};
use crate::Error;

/// Secret: metadata 1, data 2, type 3, stringData 4, immutable 5.
pub(super) fn secret<'a>(raw: &'a [u8], options: &ManifestOptions) -> Result<Fields<'a>, Error> {
    let (mut meta, mut kind, mut immutable) = (&b""[..], None, None);
    // Of two entries with one name the later counts, as everywhere in protobuf.
    let mut data = BTreeMap::new();
    each_field(raw, "Secret", |field, value| {
        match (field, value) {
            (1, Field::Bytes(bytes)) => meta = bytes,
            (2, Field::Bytes(entry)) => {
                let (name, value) = map_entry(entry, "data")?;
                data.insert(name, Node::Bytes(value));
            }
            (3, Field::Bytes(bytes)) => kind = Some(text(bytes, "type")?),
            (5, Field::Number(flag)) => immutable = Some(flag != 0),
            _ => {}
        }
        Ok(())
    })?;
    let mut fields = vec![("metadata".into(), metadata::decode(meta, options)?)];
    if let Some(immutable) = immutable {
        fields.push(("immutable".into(), Node::Bool(immutable)));
    }
    if !data.is_empty() {
        fields.push(("data".into(), Node::map(data)));
    }
    if let Some(kind) = kind {
        fields.push(("type".into(), Node::Text(kind)));
    }
    Ok(fields)
}

/// ConfigMap: metadata 1, data 2, binaryData 3, immutable 4.
pub(super) fn config_map<'a>(
    raw: &'a [u8],
    options: &ManifestOptions,
) -> Result<Fields<'a>, Error> {
    let (mut meta, mut immutable) = (&b""[..], None);
    let (mut data, mut binary) = (BTreeMap::new(), BTreeMap::new());
    each_field(raw, "ConfigMap", |field, value| {
        match (field, value) {
            (1, Field::Bytes(bytes)) => meta = bytes,
            (2, Field::Bytes(entry)) => {
                let (name, value) = map_entry(entry, "data")?;
                data.insert(name, Node::Text(text(value, "data")?));
            }
            (3, Field::Bytes(entry)) => {
                let (name, value) = map_entry(entry, "binaryData")?;
                binary.insert(name, Node::Bytes(value));
            }
            (4, Field::Number(flag)) => immutable = Some(flag != 0),
            _ => {}
        }
        Ok(())
    })?;
    let mut fields = vec![("metadata".into(), metadata::decode(meta, options)?)];
    if let Some(immutable) = immutable {
        fields.push(("immutable".into(), Node::Bool(immutable)));
    }
    for (name, entries) in [("data", data), ("binaryData", binary)] {
        if !entries.is_empty() {
            fields.push((name.into(), Node::map(entries)));
        }
    }
    Ok(fields)
}

/// Key 1 and value 2 of a map's entry; what is missing is empty.
pub(super) fn map_entry<'a>(
    entry: &'a [u8],
    what: &'static str,
) -> Result<(&'a str, &'a [u8]), Error> {
    let (mut name, mut content) = ("", &b""[..]);
    each_field(entry, what, |field, value| {
        match (field, value) {
            (1, Field::Bytes(bytes)) => name = text(bytes, what)?,
            (2, Field::Bytes(bytes)) => content = bytes,
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, content))
}
