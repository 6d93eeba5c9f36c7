//! Where the data is.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use kms_envelope::kubernetes::EncryptionConfiguration;
use serde_json::Value;

pub(crate) struct Set {
    pub(crate) snapshot: Vec<u8>,
    pub(crate) expected: Value,
    pub(crate) config: EncryptionConfiguration,
}

/// Directories that hold a set.
pub(crate) fn find(directory: &Path, depth: u32, into: &mut Vec<PathBuf>) {
    if ["snapshot.db", "snapshot.db.gz"]
        .iter()
        .any(|name| directory.join(name).is_file())
        && directory.join("expected.json").is_file()
    {
        into.push(directory.to_owned());
    }
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if depth > 0 && entry.path().is_dir() {
            find(&entry.path(), depth - 1, into);
        }
    }
}

impl Set {
    pub(crate) fn load(directory: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
        Self {
            snapshot: snapshot(directory),
            expected: serde_json::from_str(&text("expected.json")).unwrap(),
            config: EncryptionConfiguration::parse(&text("encryption-config.yaml")).unwrap(),
        }
    }
}

fn snapshot(directory: &Path) -> Vec<u8> {
    let plain = directory.join("snapshot.db");
    if plain.is_file() {
        return std::fs::read(plain).unwrap();
    }
    let mut bytes = Vec::new();
    let file = File::open(directory.join("snapshot.db.gz")).unwrap();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}
