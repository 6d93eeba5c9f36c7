//! Where objects are, in the order in which an API server lists them.

use kms_core::object::{ApiObject, ListOptions};

use super::ApiScope;

/// A part of a scope that is listed as one: all of a resource, or one namespace of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unit {
    /// Which scope it is of.
    pub(super) scope: usize,
    pub(super) namespace: Option<String>,
}

/// The parts of all scopes, one after the other.
pub(super) fn units(scopes: &[ApiScope]) -> Vec<Unit> {
    let mut units = Vec::new();
    for (scope, wanted) in scopes.iter().enumerate() {
        if wanted.namespaces.is_empty() {
            units.push(Unit {
                scope,
                namespace: None,
            });
            continue;
        }
        // What is in no namespace is in none of these.
        let namespaces = wanted.namespaces.iter().filter(|_| wanted.is_namespaced);
        units.extend(namespaces.map(|namespace| Unit {
            scope,
            namespace: Some(namespace.clone()),
        }));
    }
    units
}

impl Unit {
    pub(super) fn options(&self, scope: &ApiScope) -> ListOptions {
        let mut options = ListOptions::new(scope.resource.clone());
        options.namespace.clone_from(&self.namespace);
        options
    }
}

/// An object's place within its resource, as the end of its key: lists come in byte order of it.
pub(super) fn path_of(object: &ApiObject) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name()),
        None => object.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use kms_core::object::ApiResource;

    use super::*;

    #[test]
    fn namespaces_are_units_of_their_own() {
        let secrets = ApiScope::new(ApiResource::new("", "v1", "secrets").unwrap(), true);
        let nodes = ApiScope::new(ApiResource::new("", "v1", "nodes").unwrap(), false);
        let show = |scopes: &[ApiScope]| -> Vec<(usize, Option<String>)> {
            let units = units(scopes).into_iter();
            units.map(|unit| (unit.scope, unit.namespace)).collect()
        };
        assert_eq!(
            show(&[secrets.clone(), nodes.clone()]),
            [(0, None), (1, None)]
        );
        let some = |scope: ApiScope| scope.with_namespaces(["b", "a", "b"]);
        assert_eq!(
            show(&[some(nodes), some(secrets)]),
            [(1, Some("a".to_owned())), (1, Some("b".to_owned()))]
        );
    }
}
