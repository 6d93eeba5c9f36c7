//! Where an object is.

use core::fmt;

/// An object's resource, namespace and name.
///
/// ```
/// use kms_testkit::apiserver::Place;
///
/// assert_eq!(Place::of("secrets", "default", "token").to_string(), "secrets default/token");
/// assert_eq!(Place::without_namespace("namespaces", "default").to_string(), "namespaces default");
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct Place {
    /// Plural, with the group after a dot: `secrets`, `deployments.apps`.
    pub resource: String,
    /// Its namespace, if the resource has them.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Place {
    /// An object in a namespace.
    #[must_use]
    pub fn of(
        resource: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            resource: resource.into(),
            namespace: Some(namespace.into()),
            name: name.into(),
        }
    }

    /// An object of a resource without namespaces.
    #[must_use]
    pub fn without_namespace(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            resource: resource.into(),
            namespace: None,
            name: name.into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.resource)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}
