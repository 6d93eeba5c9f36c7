//! What we may not do, before we do it.

use core::fmt;

use kms_cluster::api::{AccessVerb, KubeApi};
use kms_core::CallOptions;
use kms_envelope::reencrypt::ApiScope;
use serde::Serialize;

use crate::Failure;

/// A right that is missing.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MissingRight {
    /// `list` or `patch`.
    pub verb: &'static str,
    /// The resource, as an `EncryptionConfiguration` names it.
    pub resource: String,
    /// The namespace; all of them if there is none.
    pub namespace: Option<String>,
}

impl fmt::Display for MissingRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => f.write_str(" in all namespaces"),
        }
    }
}

/// Asks for every right that rewriting takes.
pub(super) async fn missing_rights(
    api: &KubeApi,
    scopes: &[ApiScope],
) -> Result<Vec<MissingRight>, Failure> {
    let call = CallOptions::default();
    let mut missing = Vec::new();
    for scope in scopes {
        let everywhere = [None];
        let some: Vec<_> = scope
            .namespaces
            .iter()
            .map(|it| Some(it.as_str()))
            .collect();
        let namespaces = if some.is_empty() {
            &everywhere[..]
        } else {
            &some
        };
        for namespace in namespaces {
            for verb in [AccessVerb::List, AccessVerb::Patch] {
                if !api.may(verb, &scope.resource, *namespace, &call).await? {
                    missing.push(MissingRight {
                        verb: verb.as_str(),
                        resource: scope.resource.to_string(),
                        namespace: namespace.map(str::to_owned),
                    });
                }
            }
        }
    }
    Ok(missing)
}
