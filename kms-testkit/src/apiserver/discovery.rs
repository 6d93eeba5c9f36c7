//! Which resources there are.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::schema::Resource;
use super::shared::Shared;

/// The resources of one group and version; `None` if there is no such thing.
pub(super) fn resources(shared: &Shared, group: &str, version: &str) -> Option<Value> {
    let found: Vec<&Resource> = shared
        .resources
        .iter()
        .filter(|it| it.group == group && it.version == version)
        .collect();
    let first = found.first()?;
    let mut list = Vec::new();
    for resource in &found {
        list.push(json!({
            "name": resource.plural, "singularName": "", "namespaced": resource.is_namespaced,
            "kind": resource.kind, "verbs": resource.verbs,
        }));
        // A subresource, as most have one.
        list.push(json!({
            "name": format!("{}/status", resource.plural), "singularName": "",
            "namespaced": resource.is_namespaced, "kind": resource.kind, "verbs": ["get", "patch"],
        }));
    }
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": first.api_version(), "resources": list,
    }))
}

/// All groups but the core one.
pub(super) fn groups(shared: &Shared) -> Value {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for resource in shared.resources.iter().filter(|it| !it.group.is_empty()) {
        let found = versions.entry(&resource.group).or_default();
        if !found.contains(&resource.version.as_str()) {
            found.push(&resource.version);
        }
    }
    let groups: Vec<_> = versions
        .into_iter()
        .map(|(group, versions)| describe(group, &versions))
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// One group; `None` if there is none of this name.
pub(super) fn group(shared: &Shared, name: &str) -> Option<Value> {
    let all = groups(shared);
    let groups = all.get("groups")?.as_array()?;
    let mut group = groups
        .iter()
        .find(|group| group.get("name").and_then(Value::as_str) == Some(name))?
        .clone();
    if let Some(fields) = group.as_object_mut() {
        fields.insert("kind".to_owned(), json!("APIGroup"));
        fields.insert("apiVersion".to_owned(), json!("v1"));
    }
    Some(group)
}

fn describe(group: &str, versions: &[&str]) -> Value {
    let version =
        |version: &str| json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    let all: Vec<_> = versions.iter().map(|it| version(it)).collect();
    json!({
        "name": group,
        "versions": all,
        "preferredVersion": versions.last().map(|it| version(it)),
    })
}
