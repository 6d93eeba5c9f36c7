//! What differs between two policies, container by container: by what the fields mean, not by lines.
//!
//! ```
//! use kms_policy::Policy;
//! use kms_policy::diff::diff;
//! use kms_policy::document::PolicyDocument;
//!
//! let read = |cwd| {
//!     let data = format!(r#"{{"containers": [{{"OCI": {{"Process": {{"Cwd": "{cwd}"}}}}}}]}}"#);
//!     PolicyDocument::parse(&Policy::from_text(format!("policy_data := {data}"))).unwrap()
//! };
//! let changes = diff(&read("/"), &read("/srv"));
//! assert_eq!(changes[0].field, "OCI.Process.Cwd");
//! ```

mod fields;

use core::fmt;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::document::{DocumentContainer, PolicyDocument};
use fields::Fields;

/// One field that differs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// The container, by name; none for what concerns the whole policy.
    pub container: Option<String>,
    /// The field; empty if the container as a whole came or went.
    pub field: String,
    /// What it was; none if it came. Values of variables are not shown.
    pub before: Option<String>,
    /// What it is; none if it went. Values of variables are not shown.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match (&self.container, self.field.is_empty()) {
            (Some(name), true) => format!("container {name}"),
            (Some(name), false) => format!("{name}: {}", self.field),
            (None, _) => self.field.clone(),
        };
        match (&self.before, &self.after) {
            (None, Some(after)) => write!(f, "+ {place}: {after}"),
            (Some(before), None) => write!(f, "- {place}: {before}"),
            (before, after) => {
                let of = |text: &Option<String>| text.clone().unwrap_or_default();
                write!(f, "~ {place}: {} -> {}", of(before), of(after))
            }
        }
    }
}

/// Everything that differs: the policy as a whole, then each container in the order of its name.
#[must_use]
pub fn diff(before: &PolicyDocument, after: &PolicyDocument) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(
        None,
        &fields::of_policy(before),
        &fields::of_policy(after),
        &mut changes,
    );
    let names = [before, after]
        .into_iter()
        .flat_map(|document| &document.data.containers);
    let names: BTreeSet<_> = names.map(DocumentContainer::name).collect();
    for name in names {
        let of = |document: &PolicyDocument| {
            let mut containers = document.data.containers.iter();
            containers
                .find(|container| container.name() == name)
                .cloned()
        };
        match (of(before), of(after)) {
            (Some(before), Some(after)) => {
                let (before, after) = (fields::of_container(&before), fields::of_container(&after));
                compare(Some(name), &before, &after, &mut changes);
            }
            (before, after) => changes.push(Change {
                container: Some(name.to_owned()),
                field: String::new(),
                before: before.map(|container| container.image().to_owned()),
                after: after.map(|container| container.image().to_owned()),
            }),
        }
    }
    changes
}

fn compare(container: Option<&str>, before: &Fields, after: &Fields, changes: &mut Vec<Change>) {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old != new {
            changes.push(Change {
                container: container.map(str::to_owned),
                field: name.clone(),
                before: old.map(|field| field.shown.clone()),
                after: new.map(|field| field.shown.clone()),
            });
        }
    }
}
