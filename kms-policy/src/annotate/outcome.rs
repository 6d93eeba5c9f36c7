//! What a manifest must hold when it is annotated.

use super::Step;
use crate::manifest::{Value, WorkloadKind};

/// Where the pod's metadata are of everything that runs pods: the number of the document, and the way
/// from its root.
pub(super) fn workload_paths(documents: &[Value]) -> Vec<(usize, Vec<Step<'static>>)> {
    let mut found = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        collect(document, &mut Vec::new(), &mut |path| {
            found.push((number, path));
        });
    }
    found
}

fn collect(
    value: &Value,
    path: &mut Vec<Step<'static>>,
    found: &mut impl FnMut(Vec<Step<'static>>),
) {
    let Value::Map(entries) = value else {
        return;
    };
    let entry = |name: &str| {
        let entry = entries.iter().find(|(key, _)| key == name);
        entry.map(|(_, value)| value)
    };
    let Some(Value::Text(kind)) = entry("kind") else {
        return;
    };
    if let Some(kind) = WorkloadKind::named(kind) {
        let mut whole = path.clone();
        whole.extend(kind.pod_metadata_path().iter().map(|name| Step::Key(name)));
        found(whole);
    } else if kind == "List"
        && let Some(Value::List(items)) = entry("items")
    {
        path.push(Step::Key("items"));
        for (index, item) in items.iter().enumerate() {
            path.push(Step::Item(index));
            collect(item, path, found);
            path.pop();
        }
        path.pop();
    }
}

/// Sets a text, and makes the mappings on the way to it.
pub(super) fn set(value: &mut Value, path: &[Step<'_>], text: &str) {
    let Some((step, rest)) = path.split_first() else {
        *value = Value::Text(text.to_owned());
        return;
    };
    match (step, &mut *value) {
        (Step::Item(index), Value::List(items)) => {
            if let Some(item) = items.get_mut(*index) {
                set(item, rest, text);
            }
        }
        (Step::Key(name), Value::Map(entries)) => {
            if let Some((_, value)) = entries.iter_mut().find(|(key, _)| key == name) {
                return set(value, rest, text);
            }
            let mut made = Value::Null;
            set(&mut made, rest, text);
            entries.push(((*name).to_owned(), made));
        }
        _ => {
            *value = Value::Map(Vec::new());
            set(value, path, text);
        }
    }
}

/// Whether two files say the same, whatever the order of keys.
pub(super) fn same(one: &[Value], other: &[Value]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.to_bits() == other.to_bits(),
        (Value::List(one), Value::List(other)) => same(one, other),
        (Value::Map(one), Value::Map(other)) => {
            let (one, other) = (by_name(one), by_name(other));
            one.len() == other.len()
                && one
                    .iter()
                    .zip(&other)
                    .all(|((name, one), (other_name, other))| {
                        name == other_name && equal(one, other)
                    })
        }
        (one, other) => one == other,
    }
}

fn by_name(entries: &[(String, Value)]) -> Vec<(&str, &Value)> {
    let mut entries: Vec<_> = entries
        .iter()
        .map(|(name, value)| (&**name, value))
        .collect();
    entries.sort_by_key(|(name, _)| *name);
    entries
}
