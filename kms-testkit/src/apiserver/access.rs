//! Who may do what.

/// What a request does.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads many.
    List,
    /// Makes one.
    Create,
    /// Replaces one.
    Update,
    /// Changes a part of one.
    Patch,
    /// Removes one.
    Delete,
    /// Asks what it may do.
    Review,
    /// Asks which resources there are.
    Discover,
}

impl Verb {
    /// As roles name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Review => "review",
            Self::Discover => "discover",
        }
    }
}

/// What may not be done.
///
/// Without namespace and name it is about all objects of the resource.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Denial {
    /// What may not be done.
    pub verb: Verb,
    /// Plural, with the group after a dot: `secrets`, `deployments.apps`.
    pub resource: String,
    /// Only in this namespace.
    pub namespace: Option<String>,
}

impl Denial {
    /// Denies a verb on a resource.
    #[must_use]
    pub fn new(verb: Verb, resource: impl Into<String>) -> Self {
        Self {
            verb,
            resource: resource.into(),
            namespace: None,
        }
    }

    /// Only in this namespace. Who asks for all of them is denied, too, as they include it.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    pub(super) fn meets(&self, verb: Verb, resource: &str, namespace: Option<&str>) -> bool {
        self.verb == verb
            && self.resource == resource
            && match (&self.namespace, namespace) {
                (Some(denied), Some(asked)) => denied == asked,
                _ => true,
            }
    }
}
