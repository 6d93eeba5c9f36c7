//! Resources that two configurations treat alike.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use super::reader::{Readers, readers_of};
use crate::kubernetes::{EncryptionConfiguration, GroupResource, resource_of_etcd_key};

/// No resource has this name.
const NO_NAME: &str = "\0";

/// Resources that none of the configurations at hand tells apart.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Class {
    /// One resource: group and name.
    One(String, String),
    /// What else there is in a group.
    Group(String),
    /// What else there is.
    Rest,
}

/// What reads each class; the first of its readers writes it.
pub(super) type Lists<'a> = BTreeMap<Class, Readers<'a>>;

impl Class {
    fn named(name: &str) -> Self {
        let name = GroupResource::parse(name);
        match (name.group, name.resource) {
            ("*", "*") => Self::Rest,
            (group, "*") => Self::Group(group.to_owned()),
            (group, resource) => Self::One(group.to_owned(), resource.to_owned()),
        }
    }

    /// The class that decides if nothing is said of this one.
    pub(super) fn fallback(&self, known: &BTreeSet<Self>) -> Option<Self> {
        match self {
            Self::One(group, _) => {
                let group = Self::Group(group.clone());
                Some(if known.contains(&group) {
                    group
                } else {
                    Self::Rest
                })
            }
            Self::Group(_) => Some(Self::Rest),
            Self::Rest => None,
        }
    }

    fn readers_in<'a>(&self, configuration: &'a EncryptionConfiguration) -> Readers<'a> {
        let (group, resource) = match self {
            Self::One(group, resource) => (group.as_str(), resource.as_str()),
            Self::Group(group) => (group.as_str(), NO_NAME),
            Self::Rest => (NO_NAME, NO_NAME),
        };
        readers_of(&configuration.providers_for(group, resource))
    }
}

/// As a configuration names it.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(group, resource) => {
                fmt::Display::fmt(&GroupResource::new(group, resource), f)
            }
            Self::Group(group) => write!(f, "*.{group}"),
            Self::Rest => f.write_str("*.*"),
        }
    }
}

/// All classes that these configurations tell apart.
pub(super) fn classes(configurations: &[&EncryptionConfiguration]) -> BTreeSet<Class> {
    let names = configurations
        .iter()
        .flat_map(|configuration| &configuration.resources)
        .flat_map(|entry| &entry.resources);
    names
        .map(|name| Class::named(name))
        .chain([Class::Rest])
        .collect()
}

/// What a configuration reads each class with.
pub(super) fn lists<'a>(
    classes: &BTreeSet<Class>,
    configuration: &'a EncryptionConfiguration,
) -> Lists<'a> {
    let list = |class: &Class| (class.clone(), class.readers_in(configuration));
    classes.iter().map(list).collect()
}

/// The class of a resource as a census names it, by its etcd key; `None` if Kubernetes is not
/// known to store such a thing.
pub(super) fn class_of_census(resource: &str, known: &BTreeSet<Class>) -> Option<Class> {
    // The census has cut namespace and name off.
    let key = format!("/registry/{resource}/x/x");
    let found = resource_of_etcd_key(key.as_bytes())?;
    let one = match (found.group, found.resource) {
        // They go with the services.
        ("", "serviceipallocations" | "servicenodeportallocations") => {
            Class::One(String::new(), "services".to_owned())
        }
        (group, resource) => Class::One(group.to_owned(), resource.to_owned()),
    };
    if known.contains(&one) {
        return Some(one);
    }
    one.fallback(known)
}
