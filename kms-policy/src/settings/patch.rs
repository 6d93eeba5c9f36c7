//! Changes to a JSON document (RFC 6902), for drop-in files and for the agent's state.
//!
//! A few bytes of a patch can double a document again and again. So everything that an operation puts
//! somewhere is measured first, and counts, even if a later operation removes it.

use serde::Deserialize;
use serde_json::Value;

use crate::{Error, ErrorKind};

/// How deep a patch may put a value, counting objects and lists. Settings are 8 deep.
const MAX_DEPTH: usize = 64;
/// The most values of a document and of all that a patch puts into it. Settings have some 500.
const MAX_VALUES: usize = 262_144;
/// The most bytes of names and texts of the same.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The most operations of a patch.
const MAX_OPERATIONS: usize = 10_000;

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

/// How large a value is.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Objects and lists within each other.
    depth: usize,
    values: usize,
    /// Of names and texts.
    bytes: usize,
}

impl Size {
    fn of(value: &Value) -> Self {
        let mut size = Self {
            values: 1,
            ..Self::default()
        };
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => size.bytes = text.len(),
            Value::Array(list) => list.iter().for_each(|value| size.hold(Self::of(value))),
            Value::Object(map) => {
                for (name, value) in map {
                    size.bytes = size.bytes.saturating_add(name.len());
                    size.hold(Self::of(value));
                }
            }
        }
        if value.is_array() || value.is_object() {
            size.depth = size.depth.saturating_add(1);
        }
        size
    }

    fn hold(&mut self, inner: Self) {
        self.depth = self.depth.max(inner.depth);
        self.values = self.values.saturating_add(inner.values);
        self.bytes = self.bytes.saturating_add(inner.bytes);
    }
}

/// What a patch may still put into a document.
struct Room {
    values: usize,
    bytes: usize,
}

impl Room {
    fn beside(document: &Value) -> Self {
        let size = Size::of(document);
        Self {
            values: MAX_VALUES.saturating_sub(size.values),
            bytes: MAX_BYTES.saturating_sub(size.bytes),
        }
    }

    /// Takes the room of a value before it is put at a path, or copied there.
    fn take(&mut self, value: &Value, path: &str) -> Result<(), String> {
        let size = Size::of(value);
        let tokens = path.bytes().filter(|byte| *byte == b'/').count();
        if tokens.saturating_add(size.depth) > MAX_DEPTH {
            return Err(format!("{} would be over 64 deep", shown(path)));
        }
        // The name that the value gets is part of the path.
        let name = path.rsplit('/').next().map_or(0, str::len);
        let values = self.values.checked_sub(size.values);
        let bytes = self.bytes.checked_sub(size.bytes.saturating_add(name));
        let (Some(values), Some(bytes)) = (values, bytes) else {
            return Err(format!(
                "{} would make the document larger than 262,144 values or 16 MiB of text",
                shown(path)
            ));
        };
        (self.values, self.bytes) = (values, bytes);
        Ok(())
    }
}

/// Applies all operations of a drop-in, or none.
pub(crate) fn apply(document: &mut Value, patch: &str, name: &str) -> Result<(), Error> {
    let refused = |what: String| Error::new(ErrorKind::Settings, format!("{name}: {what}"));
    let operations: Vec<Operation> =
        serde_json::from_str(patch).map_err(|error| refused(format!("no JSON patch: {error}")))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(refused("it has over 10,000 operations".to_owned()));
    }
    let mut room = Room::beside(document);
    let mut changed = document.clone();
    for (index, operation) in operations.into_iter().enumerate() {
        step(&mut changed, operation, &mut room)
            .map_err(|what| refused(format!("operation {index}: {what}")))?;
    }
    *document = changed;
    Ok(())
}

fn step(document: &mut Value, operation: Operation, room: &mut Room) -> Result<(), String> {
    match operation {
        Operation::Add { path, value } => {
            room.take(&value, &path)?;
            add(document, &path, value)
        }
        Operation::Remove { path } => remove(document, &path).map(drop),
        Operation::Replace { path, value } => {
            room.take(&value, &path)?;
            let target = document
                .pointer_mut(&path)
                .ok_or_else(|| nothing_at(&path))?;
            *target = value;
            Ok(())
        }
        Operation::Move { from, path } => {
            if path.starts_with(&format!("{from}/")) {
                return Err(format!("{} cannot be moved into itself", shown(&from)));
            }
            let value = remove(document, &from)?;
            room.take(&value, &path)?;
            add(document, &path, value)
        }
        Operation::Copy { from, path } => {
            let value = document.pointer(&from).ok_or_else(|| nothing_at(&from))?;
            room.take(value, &path)?;
            let copied = value.clone();
            add(document, &path, copied)
        }
        Operation::Test { path, value } => match document.pointer(&path) {
            Some(found) if *found == value => Ok(()),
            _ => Err(format!("{} is not what the test expects", shown(&path))),
        },
    }
}

fn nothing_at(path: &str) -> String {
    format!("there is nothing at {}", shown(path))
}

/// A path as errors show it: the end of a long one is left out.
fn shown(path: &str) -> String {
    match path.char_indices().nth(128) {
        Some((end, _)) => format!("{}…", path.get(..end).unwrap_or_default()),
        None => path.to_owned(),
    }
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

    fn refusal(patch: &str) -> Error {
        let error = patched("{}", patch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Settings);
        error
    }

    #[test]
    fn copies_that_double_the_depth_end_at_64() {
        // Each copies all of `z` to its own innermost object, which doubles the depth.
        let mut depth: usize = 1;
        let mut operations = vec![r#"{"op":"add","path":"/z","value":{"x":{}}}"#.to_owned()];
        for _ in 0..18 {
            let path = "/x".repeat(depth);
            operations.push(format!(
                r#"{{"op":"copy","from":"/z","path":"/z{path}/x"}}"#
            ));
            depth = depth * 2 + 1;
        }
        let error = refusal(&format!("[{}]", operations.join(",")));
        assert!(error.message().contains("operation 5: /z/x"), "{error}");
        assert!(error.message().ends_with("would be over 64 deep"));
        assert!(error.message().len() < 512);
    }

    #[test]
    fn copies_that_double_the_size_end() {
        let copies = vec![r#"{"op":"copy","from":"/z","path":"/z/-"}"#; 34].join(",");
        for (value, ends_at) in [
            ("[0]".to_owned(), 17),
            (format!("[\"{}\"]", "x".repeat(1024)), 14),
        ] {
            let patch = format!(r#"[{{"op":"add","path":"/z","value":{value}}},{copies}]"#);
            let error = refusal(&patch);
            let expected = format!("operation {ends_at}: /z/- would make the document larger");
            assert!(error.message().contains(&expected), "{error}");
        }
    }

    #[test]
    fn whatever_puts_a_value_somewhere_is_bounded_in_depth() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (patch, fits) in [
            (
                format!(r#"[{{"op":"add","path":"/a","value":{}}}]"#, deep(63)),
                true,
            ),
            (
                format!(r#"[{{"op":"add","path":"/a","value":{}}}]"#, deep(64)),
                false,
            ),
            (
                format!(
                    r#"[{{"op":"add","path":"/a","value":0}},{{"op":"replace","path":"/a","value":{}}}]"#,
                    deep(64)
                ),
                false,
            ),
            (
                format!(
                    r#"[{{"op":"add","path":"/a","value":{}}},{{"op":"add","path":"/b","value":{{}}}},{{"op":"move","from":"/a","path":"/b/a"}}]"#,
                    deep(63)
                ),
                false,
            ),
        ] {
            assert_eq!(patched("{}", &patch).is_ok(), fits, "{patch}");
        }
    }

    #[test]
    fn what_is_removed_again_counts_and_so_do_operations() {
        let again = r#"{"op":"add","path":"/a","value":[0,0,0]}"#;
        let many = |count| format!("[{}]", vec![again; count].join(","));
        assert!(patched("{}", &many(10_000)).is_ok());
        assert!(
            refusal(&many(10_001))
                .message()
                .contains("10,000 operations")
        );
        let zeros = vec!["0"; 40_000].join(",");
        let again = format!(r#"{{"op":"add","path":"/a","value":[{zeros}]}}"#);
        let error = refusal(&format!("[{}]", [&*again; 7].join(",")));
        assert!(error.message().contains("operation 6: /a"), "{error}");
    }
}
