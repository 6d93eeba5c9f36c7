//! Which resources there are, and where they are kept.

use kms_core::object::ObjectKey;
use kms_core::{Error, ErrorKind};

/// A resource.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) kind: String,
    pub(super) is_namespaced: bool,
    /// The folder that its objects are kept in: that of the group, for a custom resource.
    folder: String,
    pub(super) verbs: &'static [&'static str],
}

const ALL: &[&str] = &["create", "delete", "get", "list", "patch", "update"];

impl Resource {
    fn built_in(group: &str, plural: &str, kind: &str, is_namespaced: bool) -> Self {
        Self {
            group: group.to_owned(),
            version: "v1".to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            is_namespaced,
            folder: format!("/registry/{plural}/"),
            verbs: ALL,
        }
    }

    /// A custom resource.
    pub(super) fn custom(
        group: &str,
        version: &str,
        plural: &str,
        kind: &str,
        is_namespaced: bool,
    ) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            is_namespaced,
            folder: format!("/registry/{group}/{plural}/"),
            verbs: ALL,
        }
    }

    /// `secrets`, `deployments.apps`.
    pub(super) fn name(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// What the keys of its objects begin with, or those of one namespace.
    pub(super) fn prefix(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => format!("{}{namespace}/", self.folder),
            None => self.folder.clone(),
        }
    }

    pub(super) fn key(&self, namespace: Option<&str>, name: &str) -> Result<ObjectKey, Error> {
        let is_part = |part: &str| !part.is_empty() && !part.contains('/');
        if !is_part(name) || !namespace.is_none_or(is_part) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a name is no segment of a path",
            ));
        }
        ObjectKey::new(format!("{}{name}", self.prefix(namespace)))
    }

    /// The namespace and name of a key.
    pub(super) fn place_of<'k>(&self, key: &'k str) -> Option<(Option<&'k str>, &'k str)> {
        let path = key.strip_prefix(&self.folder)?;
        if self.is_namespaced {
            let (namespace, name) = path.split_once('/')?;
            Some((Some(namespace), name))
        } else {
            Some((None, path))
        }
    }
}

/// What every server has.
pub(super) fn default_resources() -> Vec<Resource> {
    let mut resources = vec![
        Resource::built_in("", "configmaps", "ConfigMap", true),
        Resource::built_in("", "namespaces", "Namespace", false),
        Resource::built_in("", "secrets", "Secret", true),
        Resource::built_in("apps", "deployments", "Deployment", true),
        Resource::custom("example.org", "v1alpha1", "gadgets", "Gadget", true),
        Resource::custom("example.org", "v1", "gadgets", "Gadget", true),
    ];
    // What is computed and stored nowhere.
    let mut metrics = Resource::custom("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", true);
    metrics.verbs = &["get", "list"];
    resources.push(metrics);
    resources
}
