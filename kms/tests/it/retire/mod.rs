//! `kms key plan-retire` and `kms key retire`.

mod etcd;
mod known;
mod plan;
pub(crate) mod vectors;

use std::fs::File;
use std::path::{Path, PathBuf};

use kms_testkit::objects::DatabaseWriter;
use serde_json::Value;

use crate::command::{Ran, kms};

/// What an API server stores under KMS v2.
pub(crate) fn under(key_id: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[number << 3 | 2, length], bytes].concat()
    };
    [
        b"k8s:enc:kms:v2:away:".to_vec(),
        field(1, &[7; 76]),
        field(2, key_id.as_bytes()),
        field(3, b"wrapped"),
        vec![5 << 3, 1],
    ]
    .concat()
}

/// And under KMS v1.
fn under_v1(provider: &str) -> Vec<u8> {
    let prefix = format!("k8s:enc:kms:v1:{provider}:");
    [prefix.as_bytes(), &[0, 7], b"wrapped", &[7; 40]].concat()
}

/// A snapshot that holds these records, in their order; `None` deletes.
pub(crate) fn snapshot(
    directory: &Path,
    name: &str,
    records: &[(&str, Option<Vec<u8>>)],
) -> PathBuf {
    let path = directory.join(name);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    let mut writer = DatabaseWriter::new(file).unwrap();
    for (name, value) in records {
        let key = format!("/registry/secrets/default/{name}");
        match value {
            Some(value) => writer.put(key.as_bytes(), value, None).unwrap(),
            None => writer.delete(key.as_bytes()).unwrap(),
        };
    }
    writer.finish_snapshot().unwrap();
    path
}

/// Runs `kms key plan-retire KEY_ID` with these arguments.
fn plan(key_id: &str, arguments: &[&str]) -> Ran {
    kms(&[&["key", "plan-retire", key_id], arguments].concat())
}

/// The codes of the objections in a plan.
fn codes(plan: &Value) -> Vec<&str> {
    let objections = plan["objections"].as_array().unwrap();
    objections
        .iter()
        .map(|it| it["code"].as_str().unwrap())
        .collect()
}

/// All commands of the next steps.
fn commands(plan: &Value) -> Vec<&str> {
    let steps = plan["next_steps"].as_array().unwrap();
    let each = steps
        .iter()
        .flat_map(|step| step["commands"].as_array().unwrap());
    each.map(|command| command.as_str().unwrap()).collect()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
