//! Which objects a migration is about.

use core::fmt;

use kms_core::object::ObjectKey;
use serde::{Deserialize, Serialize};

use crate::kubernetes::{
    EncryptionConfiguration, GroupResource, etcd_paths_of, resource_of_etcd_key_under,
};
use crate::reencrypt::Place;
use crate::{Error, ErrorKind};

/// Which objects a migration is about: some resources or all, some namespaces or all.
///
/// ```
/// use kms_core::object::ObjectKey;
/// use kms_envelope::reencrypt::MigrationScope;
///
/// let scope = MigrationScope::new("/registry")
///     .with_resources(["secrets"])?
///     .with_namespaces(["team-a"])?;
/// assert!(scope.contains(&ObjectKey::new("/registry/secrets/team-a/db")?));
/// assert!(!scope.contains(&ObjectKey::new("/registry/secrets/team-b/db")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationScope {
    etcd_prefix: String,
    resources: Vec<String>,
    namespaces: Vec<String>,
}

/// Names in a list of resources or namespaces.
const MAX_NAMES: usize = 1024;
/// The longest name of a resource with its group, or of a namespace, in bytes.
const MAX_NAME_LEN: usize = 512;

impl MigrationScope {
    /// Everything under an API server's `--etcd-prefix`, which is `/registry` by default.
    #[must_use]
    pub fn new(etcd_prefix: &str) -> Self {
        Self {
            etcd_prefix: format!("/{}", etcd_prefix.trim_matches('/')),
            resources: Vec::new(),
            namespaces: Vec::new(),
        }
    }

    /// What a configuration speaks of: the resources that it names, or everything if it has
    /// wildcards.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it names a resource of which it is not known where it is kept.
    pub fn configured(etcd_prefix: &str, config: &EncryptionConfiguration) -> Result<Self, Error> {
        let scope = Self::new(etcd_prefix);
        let names = config.resources.iter().flat_map(|entry| &entry.resources);
        if names.clone().any(|name| name.contains('*')) {
            return Ok(scope);
        }
        scope.with_resources(names)
    }

    /// Only these resources, named as in an `EncryptionConfiguration`: `secrets`,
    /// `deployments.apps`, `gadgets.example.org`. None are all.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it is not known where a resource is kept.
    pub fn with_resources(
        mut self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, Error> {
        self.resources = sorted(names);
        for name in &self.resources {
            let is_known =
                name.len() <= MAX_NAME_LEN && etcd_paths_of(GroupResource::parse(name)).is_some();
            if !is_known {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "it is not known where Kubernetes keeps the resource {name:?}; one of an API group is named like deployments.apps"
                    ),
                ));
            }
        }
        check_count(&self.resources)?;
        Ok(self)
    }

    /// Only these namespaces. None are all, and what is in no namespace too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it cannot be the name of a namespace.
    pub fn with_namespaces(
        mut self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, Error> {
        self.namespaces = sorted(names);
        let is_name = |name: &String| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
            !name.is_empty() && name.len() <= MAX_NAME_LEN && name.bytes().all(is_plain)
        };
        if let Some(bad) = self.namespaces.iter().find(|name| !is_name(name)) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{bad:?} cannot be the name of a namespace"),
            ));
        }
        check_count(&self.namespaces)?;
        Ok(self)
    }

    /// What the keys begin with, with a slash in front and none behind.
    #[must_use]
    pub fn etcd_prefix(&self) -> &str {
        &self.etcd_prefix
    }

    /// The resources, sorted; empty for all.
    #[must_use]
    pub fn resources(&self) -> &[String] {
        &self.resources
    }

    /// The namespaces, sorted; empty for all.
    #[must_use]
    pub fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Whether an object is in it.
    #[must_use]
    pub fn contains(&self, key: &ObjectKey) -> bool {
        let (prefix, key) = (self.etcd_prefix.as_bytes(), key.as_bytes());
        let Some(place) = Place::of(prefix, key) else {
            return false;
        };
        let in_namespace = self.namespaces.is_empty()
            || place
                .namespace
                .is_some_and(|found| self.namespaces.iter().any(|wanted| *wanted == found));
        in_namespace && (self.resources.is_empty() || self.names_resource(prefix, key))
    }

    fn names_resource(&self, prefix: &[u8], key: &[u8]) -> bool {
        let Some(found) = resource_of_etcd_key_under(prefix, key) else {
            return false;
        };
        let found = kept_with(found);
        self.resources
            .iter()
            .any(|name| kept_with(GroupResource::parse(name)) == found)
    }

    /// What the keys of its objects begin with, in byte order; no prefix begins with another.
    pub(super) fn prefixes(&self) -> Vec<Vec<u8>> {
        let root = match self.etcd_prefix.as_str() {
            "/" => "/".to_owned(),
            prefix => format!("{prefix}/"),
        };
        if self.resources.is_empty() {
            return vec![root.into_bytes()];
        }
        let mut prefixes = Vec::new();
        for name in &self.resources {
            for path in etcd_paths_of(GroupResource::parse(name)).unwrap_or_default() {
                if self.namespaces.is_empty() {
                    prefixes.push(format!("{root}{path}").into_bytes());
                } else if path.ends_with('/') {
                    let of = |namespace| format!("{root}{path}{namespace}/").into_bytes();
                    prefixes.extend(self.namespaces.iter().map(of));
                }
            }
        }
        prefixes.sort();
        prefixes.dedup_by(|next, first| next.starts_with(first));
        prefixes
    }
}

/// The resource whose providers and place another one has.
pub(super) fn kept_with(resource: GroupResource<'_>) -> GroupResource<'_> {
    match (resource.group, resource.resource) {
        ("", "serviceipallocations" | "servicenodeportallocations") => {
            GroupResource::new("", "services")
        }
        _ => resource,
    }
}

fn sorted(names: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let mut names: Vec<_> = names
        .into_iter()
        .map(|name| name.as_ref().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn check_count(names: &[String]) -> Result<(), Error> {
    if names.len() <= MAX_NAMES {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        format!("more than {MAX_NAMES} resources or namespaces"),
    ))
}

impl fmt::Display for MigrationScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resources.as_slice() {
            [] => write!(f, "all resources")?,
            some => write!(f, "{}", some.join(", "))?,
        }
        match self.namespaces.as_slice() {
            [] => {}
            some => write!(f, " in {}", some.join(", "))?,
        }
        if self.etcd_prefix != "/registry" {
            write!(f, " under {}", self.etcd_prefix)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scope: &MigrationScope) -> Vec<String> {
        let text = |prefix: Vec<u8>| String::from_utf8(prefix).unwrap();
        scope.prefixes().into_iter().map(text).collect()
    }

    fn key(text: &str) -> ObjectKey {
        ObjectKey::new(text).unwrap()
    }

    #[test]
    fn only_what_is_needed_is_read() {
        let all = MigrationScope::new("registry/");
        assert_eq!(texts(&all), ["/registry/"]);
        let some = all.with_resources(["secrets", "nodes"]).unwrap();
        assert_eq!(texts(&some), ["/registry/minions/", "/registry/secrets/"]);
        let few = some.with_namespaces(["b", "a"]).unwrap();
        assert_eq!(
            texts(&few)[2..],
            ["/registry/secrets/a/", "/registry/secrets/b/"]
        );
        let root = MigrationScope::new("/")
            .with_resources(["secrets"])
            .unwrap();
        assert_eq!(texts(&root), ["/secrets/"]);
    }

    #[test]
    fn allocations_go_with_services() {
        let scope = MigrationScope::new("/registry")
            .with_resources(["services"])
            .unwrap();
        for text in [
            "/registry/ranges/serviceips",
            "/registry/services/specs/default/a",
        ] {
            assert!(scope.contains(&key(text)), "{text}");
            let is_read = texts(&scope).iter().any(|prefix| text.starts_with(prefix));
            assert!(is_read, "{text}");
        }
        assert!(!scope.contains(&key("/registry/services/endpoints/default/a")));
        let in_namespace = scope.with_namespaces(["default"]).unwrap();
        assert!(!in_namespace.contains(&key("/registry/ranges/serviceips")));
    }

    #[test]
    fn what_is_contained_is_read_and_the_rest_is_not() {
        let scope = MigrationScope::new("/registry")
            .with_resources(["secrets", "gadgets.example.org"])
            .unwrap();
        assert!(scope.contains(&key("/registry/secrets/a/b")));
        assert!(scope.contains(&key("/registry/example.org/gadgets/one")));
        for other in [
            "/registry/pods/a/b",
            "/registry2/secrets/a/b",
            "compact_rev_key",
        ] {
            assert!(!scope.contains(&key(other)), "{other}");
        }
        assert!(scope.contains(&key("/registry/secrets/a/b")));
        let all = MigrationScope::new("/registry");
        assert!(all.contains(&key("/registry/frobnications/a/b")));
        assert!(!all.contains(&key("compact_rev_key")));
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let scope = || MigrationScope::new("/registry");
        for bad in ["", "frobnications", "x.apps", "*.*"] {
            assert!(scope().with_resources([bad]).is_err(), "{bad:?}");
        }
        for bad in ["", "a/b", "a b"] {
            assert!(scope().with_namespaces([bad]).is_err(), "{bad:?}");
        }
    }
}
