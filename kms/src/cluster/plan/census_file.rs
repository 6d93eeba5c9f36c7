//! What `kms census --json` wrote.

use std::path::Path;

use kms_envelope::kubernetes::plan::{StoredObjects, StoredRow};
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::input::read_long_text;

/// The longest file that is read, in bytes: it may name ten thousand damaged objects.
const MAX_CENSUS: usize = 64 << 20;
/// The form of JSON that is read.
const SCHEMA: u32 = 1;

/// What was counted, and when.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CensusFacts {
    /// `snapshot` or `etcd`.
    pub kind: String,
    /// The path, or the end points.
    pub name: String,
    /// The revision that was counted.
    pub revision: u64,
}

#[derive(Deserialize)]
struct File {
    schema_version: u32,
    source: Source,
    live: Live,
}

#[derive(Deserialize)]
struct Source {
    kind: String,
    name: String,
    revision: u64,
}

#[derive(Deserialize)]
struct Live {
    census: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    resource: String,
    provider: Option<String>,
    prefix: String,
    #[serde(default)]
    unparsable: bool,
    objects: u64,
}

/// Reads the JSON of `kms census --json`, or standard input if the path is `-`.
///
/// # Errors
///
/// A [`Failure`] that names the file: it cannot be read, is over 64 MiB, or is not such JSON.
pub fn read_census(path: &Path) -> Result<(StoredObjects, CensusFacts), Failure> {
    let text = read_long_text(path, MAX_CENSUS)?;
    parse(&text).map_err(|failure| failure.at(path.display()))
}

fn parse(text: &str) -> Result<(StoredObjects, CensusFacts), Failure> {
    let refuse = |what: String| {
        Failure::new(
            "invalid_input",
            what,
            "give what `kms census --json` printed, taken with the names of --encryption-config",
        )
    };
    let file: File = serde_json::from_str(text)
        .map_err(|error| refuse(format!("it is not a census in JSON: {error}")))?;
    if file.schema_version != SCHEMA {
        return Err(refuse(format!(
            "it is a census of form {}, and form {SCHEMA} is read",
            file.schema_version
        )));
    }
    let row = |row: Row| {
        let is_plain = row.provider.as_deref() == Some("identity");
        let prefix = if is_plain { String::new() } else { row.prefix };
        StoredRow::new(row.resource, prefix, row.objects).with_damage(row.unparsable)
    };
    let facts = CensusFacts {
        kind: file.source.kind,
        name: file.source.name,
        revision: file.source.revision,
    };
    let rows = file.live.census.into_iter().map(row).collect();
    Ok((StoredObjects::new(rows), facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENSUS: &str = r#"{
        "schema_version": 1,
        "source": {"kind": "etcd", "name": "https://e", "cluster_id": null, "revision": 7, "live": true},
        "live": {"keys": 3, "census": [
            {"resource": "secrets", "provider": "kms-v2", "prefix": "k8s:enc:kms:v2:a:", "key_id": "1",
             "encrypted_dek_source_type": null, "objects": 2, "value_bytes": 9},
            {"resource": "secrets", "provider": "kms-v2", "prefix": "k8s:enc:kms:v2:a:", "unparsable": true,
             "objects": 1},
            {"resource": "pods", "provider": "identity", "prefix": "", "objects": 5}
        ]}
    }"#;

    #[test]
    fn rows_are_taken_and_the_rest_is_left() {
        let (stored, facts) = parse(CENSUS).unwrap();
        assert_eq!((facts.kind.as_str(), facts.revision), ("etcd", 7));
        assert_eq!(
            stored.rows,
            [
                StoredRow::new("secrets", "k8s:enc:kms:v2:a:", 2),
                StoredRow::new("secrets", "k8s:enc:kms:v2:a:", 1).with_damage(true),
                StoredRow::new("pods", "", 5),
            ]
        );
    }

    #[test]
    fn what_is_no_census_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            &CENSUS.replace("\"schema_version\": 1", "\"schema_version\": 2"),
            &CENSUS.replace("\"objects\": 5", "\"objects\": -5"),
            &CENSUS.replace("\"objects\": 5", "\"records\": 5"),
        ] {
            assert_eq!(parse(text).unwrap_err().kind(), "invalid_input", "{text}");
        }
    }
}
