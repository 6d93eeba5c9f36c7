//! Changes to a JSON document (RFC 6902), for drop-in files.

use serde::Deserialize;
use serde_json::Value;

use crate::{Error, ErrorKind};

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

/// Applies all operations of a drop-in, or none.
pub(crate) fn apply(document: &mut Value, patch: &str, name: &str) -> Result<(), Error> {
    let refused = |what: String| Error::new(ErrorKind::Settings, format!("{name}: {what}"));
    let operations: Vec<Operation> =
        serde_json::from_str(patch).map_err(|error| refused(format!("no JSON patch: {error}")))?;
    let mut changed = document.clone();
    for (index, operation) in operations.into_iter().enumerate() {
        step(&mut changed, operation)
            .map_err(|what| refused(format!("operation {index}: {what}")))?;
    }
    *document = changed;
    Ok(())
}

fn step(document: &mut Value, operation: Operation) -> Result<(), String> {
    match operation {
        Operation::Add { path, value } => add(document, &path, value),
        Operation::Remove { path } => remove(document, &path).map(drop),
        Operation::Replace { path, value } => {
            let target = document
                .pointer_mut(&path)
                .ok_or_else(|| nothing_at(&path))?;
            *target = value;
            Ok(())
        }
        Operation::Move { from, path } => {
            if path.starts_with(&format!("{from}/")) {
                return Err(format!("{from} cannot be moved into itself"));
            }
            let value = remove(document, &from)?;
            add(document, &path, value)
        }
        Operation::Copy { from, path } => {
            let value = document.pointer(&from).ok_or_else(|| nothing_at(&from))?;
            add(document, &path, value.clone())
        }
        Operation::Test { path, value } => match document.pointer(&path) {
            Some(found) if *found == value => Ok(()),
            _ => Err(format!("{path} is not what the test expects")),
        },
    }
}

fn nothing_at(path: &str) -> String {
    format!("there is nothing at {path}")
}

/// The parent of a place, and the last token of its path.
fn parent<'d>(document: &'d mut Value, path: &str) -> Result<(&'d mut Value, String), String> {
    let (above, token) = path.rsplit_once('/').ok_or_else(|| nothing_at(path))?;
    let parent = document
        .pointer_mut(above)
        .ok_or_else(|| nothing_at(above))?;
    Ok((parent, token.replace("~1", "/").replace("~0", "~")))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (parent, token) = parent(document, path)?;
    match parent {
        Value::Object(map) => {
            map.insert(token, value);
            Ok(())
        }
        Value::Array(list) if token == "-" => {
            list.push(value);
            Ok(())
        }
        Value::Array(list) => match index(&token) {
            Some(index) if index <= list.len() => {
                list.insert(index, value);
                Ok(())
            }
            _ => Err(nothing_at(path)),
        },
        _ => Err(nothing_at(path)),
    }
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    let (parent, token) = parent(document, path)?;
    let removed = match parent {
        Value::Object(map) => map.remove(&token),
        Value::Array(list) => match index(&token) {
            Some(index) if index < list.len() => Some(list.remove(index)),
            _ => None,
        },
        _ => None,
    };
    removed.ok_or_else(|| nothing_at(path))
}

/// An index as RFC 6901 writes it: no sign, no leading zero.
fn index(token: &str) -> Option<usize> {
    let is_canonical = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| is_canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(document: &str, patch: &str) -> Result<Value, Error> {
        let mut document = serde_json::from_str(document).unwrap();
        apply(&mut document, patch, "10-test.json").map(|()| document)
    }

    #[test]
    fn every_operation_does_what_rfc_6902_says() {
        let cases = [
            (
                r#"{"a":1}"#,
                r#"[{"op":"add","path":"/b","value":2}]"#,
                r#"{"a":1,"b":2}"#,
            ),
            (
                r#"[1,3]"#,
                r#"[{"op":"add","path":"/1","value":2}]"#,
                "[1,2,3]",
            ),
            (r#"[1]"#, r#"[{"op":"add","path":"/-","value":2}]"#, "[1,2]"),
            (
                r#"{"a~b":{"c/d":1}}"#,
                r#"[{"op":"remove","path":"/a~0b/c~1d"}]"#,
                r#"{"a~b":{}}"#,
            ),
            (
                r#"{"a":1}"#,
                r#"[{"op":"replace","path":"/a","value":[]}]"#,
                r#"{"a":[]}"#,
            ),
            (
                r#"{"a":1}"#,
                r#"[{"op":"move","from":"/a","path":"/b"}]"#,
                r#"{"b":1}"#,
            ),
            (
                r#"{"a":1}"#,
                r#"[{"op":"copy","from":"/a","path":"/b"}]"#,
                r#"{"a":1,"b":1}"#,
            ),
            (
                r#"{"a":1}"#,
                r#"[{"op":"test","path":"/a","value":1}]"#,
                r#"{"a":1}"#,
            ),
        ];
        for (document, patch, expected) in cases {
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(patched(document, patch).unwrap(), expected, "{patch}");
        }
    }

    #[test]
    fn a_patch_that_does_not_fit_changes_nothing_and_says_why() {
        for patch in [
            r#"[{"op":"remove","path":"/b"}]"#,
            r#"[{"op":"replace","path":"/b","value":1}]"#,
            r#"[{"op":"add","path":"/b/c","value":1}]"#,
            r#"[{"op":"add","path":"/list/01","value":1}]"#,
            r#"[{"op":"add","path":"/list/2","value":1}]"#,
            r#"[{"op":"test","path":"/a","value":2}]"#,
            r#"[{"op":"move","from":"/a","path":"/a/b"}]"#,
            r#"[{"op":"grow","path":"/a"}]"#,
            r#"[{"op":"add","path":"/b","value":1},{"op":"remove","path":"/c"}]"#,
        ] {
            let mut document = serde_json::json!({"a": 1, "list": [0]});
            let before = document.clone();
            let error = apply(&mut document, patch, "10-test.json").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Settings);
            assert!(error.message().starts_with("10-test.json: "), "{error}");
            assert_eq!(document, before, "{patch}");
        }
    }
}
