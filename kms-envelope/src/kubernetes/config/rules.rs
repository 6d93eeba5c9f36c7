//! What kube-apiserver allows in the lists of resources.

use std::collections::{BTreeMap, BTreeSet};

use super::cursor::quoted;
use super::resource::GroupResource;

/// Why `name` may not stand in a list, if it may not.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("a resource name is required");
    }
    if name.chars().any(|c| !c.to_lowercase().eq([c])) {
        return Err("resource names hold no capital letters");
    }
    if name == "*" {
        return Err("write *.* for all resources, or *. for those of the core group");
    }
    if matches!(
        name,
        "apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations"
    ) {
        return Err("has no REST API and cannot be encrypted by name");
    }
    let name = GroupResource::parse(name);
    match name.group {
        "events.k8s.io" => {
            Err("events are stored in the core group, whichever API wrote them; write events")
        }
        "extensions" => Err("the group extensions was removed from Kubernetes"),
        "*" if name.resource != "*" => {
            Err("one resource across all groups is not supported; name its group")
        }
        _ => Ok(()),
    }
}

/// Why these names may not stand in one list, if they may not.
pub(super) fn check_list(names: &[&str]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(GroupResource::parse(name)) {
            return Err(format!("{} is listed more than once", quoted(name)));
        }
    }
    if seen.contains(&GroupResource::ALL) && seen.len() > 1 {
        return Err("*.* covers all the others; move it to a later entry of its own".to_owned());
    }
    let mut by_group: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &seen {
        let count = by_group.entry(name.group).or_default();
        *count = count.saturating_add(1);
    }
    let wildcard = seen
        .iter()
        .find(|name| name.resource == "*" && by_group.get(name.group).is_some_and(|&n| n > 1));
    match wildcard {
        Some(wildcard) => Err(format!(
            "{} covers others of the list; move it to a later entry",
            quoted(&format!("*.{}", wildcard.group))
        )),
        None => Ok(()),
    }
}

/// The wildcards of the entries read so far. They win over any name that comes later.
#[derive(Default)]
pub(super) struct EarlierWildcards<'a>(BTreeSet<&'a str>);

impl<'a> EarlierWildcards<'a> {
    /// Takes in the names of one entry.
    pub(super) fn extend(&mut self, names: &[&'a str]) {
        let names = names.iter().map(|name| GroupResource::parse(name));
        self.0.extend(
            names
                .filter(|name| name.resource == "*")
                .map(|name| name.group),
        );
    }

    /// The earlier wildcard that makes `name` useless, if there is one.
    pub(super) fn masking(&self, name: &str) -> Option<String> {
        let group = GroupResource::parse(name).group;
        self.0
            .get(group)
            .or_else(|| self.0.get("*"))
            .map(|group| format!("*.{group}"))
    }
}
