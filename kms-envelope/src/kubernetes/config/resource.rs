//! Resources, and the etcd keys that they are stored under.

use core::fmt;

/// Where kube-apiserver keeps its objects unless `--etcd-prefix` says otherwise.
const DEFAULT_PREFIX: &[u8] = b"/registry";

/// A resource of the Kubernetes API and its group; the core group is empty.
///
/// Printed as an `EncryptionConfiguration` names it: `secrets`, `deployments.apps`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct GroupResource<'a> {
    /// The API group, such as `apps`; empty for the core group.
    pub group: &'a str,
    /// The plural name, such as `deployments`.
    pub resource: &'a str,
}

impl<'a> GroupResource<'a> {
    /// `*.*`, every resource.
    pub(super) const ALL: Self = Self {
        group: "*",
        resource: "*",
    };

    /// The resource `resource` of `group`.
    #[must_use]
    pub const fn new(group: &'a str, resource: &'a str) -> Self {
        Self { group, resource }
    }

    /// Splits `resource.group` at the first dot; without a dot the group is the core group.
    #[must_use]
    pub fn parse(name: &'a str) -> Self {
        let (resource, group) = name.split_once('.').unwrap_or((name, ""));
        Self { group, resource }
    }
}

impl fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// Which resource the object under `etcd_key` belongs to, with kube-apiserver's default prefix
/// `/registry`.
///
/// Custom resources, `CustomResourceDefinition`s and `APIService`s carry their group in the key.
/// All others do not and are looked up in a table of what Kubernetes up to 1.37 has ever stored.
/// `None` means that the key is not an object's key or that the table does not know the resource,
/// as with a newer Kubernetes.
///
/// ```
/// use kms_envelope::kubernetes::resource_of_etcd_key;
///
/// let resource = |key: &str| resource_of_etcd_key(key.as_bytes()).map(|found| found.to_string());
/// assert_eq!(resource("/registry/secrets/default/tls").as_deref(), Some("secrets"));
/// assert_eq!(resource("/registry/deployments/default/web").as_deref(), Some("deployments.apps"));
/// assert_eq!(resource("/registry/example.org/gadgets/ns/a").as_deref(), Some("gadgets.example.org"));
/// assert_eq!(resource("compact_rev_key"), None);
/// ```
#[must_use]
pub fn resource_of_etcd_key(etcd_key: &[u8]) -> Option<GroupResource<'_>> {
    resource_of_etcd_key_under(DEFAULT_PREFIX, etcd_key)
}

/// [`resource_of_etcd_key`] for another `--etcd-prefix`, with or without slashes around it.
#[must_use]
pub fn resource_of_etcd_key_under<'a>(
    prefix: &[u8],
    etcd_key: &'a [u8],
) -> Option<GroupResource<'a>> {
    let prefix = trim_slashes(prefix);
    let mut path = etcd_key.strip_prefix(b"/")?;
    if !prefix.is_empty() {
        path = path.strip_prefix(prefix)?.strip_prefix(b"/")?;
    }
    let (first, path) = next_segment(path)?;
    let path = path?;
    let (second, rest) = next_segment(path)?;
    match first {
        "services" => match second {
            "specs" => rest.map(|_| GroupResource::new("", "services")),
            "endpoints" => rest.map(|_| GroupResource::new("", "endpoints")),
            _ => None,
        },
        "ranges" => match second {
            "serviceips" | "secondaryserviceips" => {
                Some(GroupResource::new("", "serviceipallocations"))
            }
            "servicenodeports" => Some(GroupResource::new("", "servicenodeportallocations")),
            _ => None,
        },
        // Groups of custom resources hold a dot, resources do not.
        _ if first.contains('.') => rest
            .filter(|_| !second.contains('.'))
            .map(|_| GroupResource::new(first, second)),
        _ => built_in(first),
    }
}

/// Where under the server's prefix a resource is kept: paths that end with a slash, and single
/// keys that do not. `None` if that is not known.
///
/// The allocations of service addresses and ports are kept with `services`, whose providers they
/// have.
pub(crate) fn etcd_paths_of(wanted: GroupResource<'_>) -> Option<Vec<String>> {
    let GroupResource { group, resource } = wanted;
    let own = |path: &str| Some(vec![format!("{path}/")]);
    match (group, resource) {
        ("", "services" | "serviceipallocations" | "servicenodeportallocations") => Some(
            [
                "ranges/secondaryserviceips",
                "ranges/serviceips",
                "ranges/servicenodeports",
                "services/specs/",
            ]
            .map(String::from)
            .to_vec(),
        ),
        ("", "endpoints") => own("services/endpoints"),
        _ => {
            let renamed = RENAMED.iter().find(|(_, kept)| *kept == (group, resource));
            if let Some((segment, _)) = renamed {
                own(segment)
            } else if BUILT_IN.contains(&(group, resource)) {
                own(resource)
            } else if group.contains('.') && !resource.contains(['.', '/', '*']) {
                own(&format!("{group}/{resource}"))
            } else {
                None
            }
        }
    }
}

fn trim_slashes(mut path: &[u8]) -> &[u8] {
    while let Some(rest) = path.strip_prefix(b"/") {
        path = rest;
    }
    while let Some(rest) = path.strip_suffix(b"/") {
        path = rest;
    }
    path
}

/// The text up to the next slash, which must not be empty, and what follows the slash.
fn next_segment(path: &[u8]) -> Option<(&str, Option<&[u8]>)> {
    let mut parts = path.splitn(2, |&byte| byte == b'/');
    let segment = core::str::from_utf8(parts.next()?).ok()?;
    (!segment.is_empty()).then_some((segment, parts.next()))
}

/// The resource that a built-in API keeps under this first segment of its keys.
///
/// Alphabetical by group. Resources that are gone from Kubernetes stay: old backups hold them.
fn built_in(segment: &str) -> Option<GroupResource<'static>> {
    let renamed = RENAMED.iter().find(|(kept_as, _)| *kept_as == segment);
    let (group, resource) = match renamed {
        Some((_, wanted)) => *wanted,
        None => *BUILT_IN.iter().find(|(_, resource)| *resource == segment)?,
    };
    Some(GroupResource { group, resource })
}

/// Resources that are stored under another name, behind that name.
const RENAMED: &[(&str, (&str, &str))] = &[
    ("controllers", ("", "replicationcontrollers")),
    ("minions", ("", "nodes")),
    ("masterleases", ("", "apiServerIPInfo")),
    ("peerserverleases", ("", "apiServerPeerIPInfo")),
    ("ingress", ("networking.k8s.io", "ingresses")),
    ("podsecuritypolicy", ("policy", "podsecuritypolicies")),
];

/// Resources that are stored under their own name.
const BUILT_IN: &[(&str, &str)] = &[
    ("", "configmaps"),
    ("", "events"),
    ("", "limitranges"),
    ("", "namespaces"),
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "secrets"),
    ("", "serviceaccounts"),
    (
        "admissionregistration.k8s.io",
        "externaladmissionhookconfigurations",
    ),
    ("admissionregistration.k8s.io", "initializerconfigurations"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
    ),
    ("apps", "controllerrevisions"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("auditregistration.k8s.io", "auditsinks"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("certificates.k8s.io", "certificatesigningrequests"),
    ("certificates.k8s.io", "clustertrustbundles"),
    ("certificates.k8s.io", "podcertificaterequests"),
    ("coordination.k8s.io", "leasecandidates"),
    ("coordination.k8s.io", "leases"),
    ("discovery.k8s.io", "endpointslices"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
    ),
    ("internal.apiserver.k8s.io", "storageversions"),
    ("networking.k8s.io", "clustercidrs"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "ipaddresses"),
    ("networking.k8s.io", "networkpolicies"),
    ("networking.k8s.io", "servicecidrs"),
    ("node.k8s.io", "runtimeclasses"),
    ("policy", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "devicetaintrules"),
    ("resource.k8s.io", "podschedulingcontexts"),
    ("resource.k8s.io", "podschedulings"),
    ("resource.k8s.io", "resourceclaimparameters"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceclasses"),
    ("resource.k8s.io", "resourceclassparameters"),
    ("resource.k8s.io", "resourcepoolstatusrequests"),
    ("resource.k8s.io", "resourceslices"),
    ("scheduling.k8s.io", "podgroups"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("scheduling.k8s.io", "workloads"),
    ("settings.k8s.io", "podpresets"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
    ("storagemigration.k8s.io", "storageversionmigrations"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(key: &str) -> Option<String> {
        resource_of_etcd_key(key.as_bytes()).map(|found| found.to_string())
    }

    #[test]
    fn keys_of_every_shape() {
        let table = [
            ("/registry/secrets/kube-system/token", "secrets"),
            ("/registry/namespaces/default", "namespaces"),
            ("/registry/minions/node-1", "nodes"),
            ("/registry/controllers/ns/a", "replicationcontrollers"),
            ("/registry/services/specs/ns/a", "services"),
            ("/registry/services/endpoints/ns/a", "endpoints"),
            ("/registry/events/ns/a.17", "events"),
            ("/registry/deployments/ns/a", "deployments.apps"),
            ("/registry/ingress/ns/a", "ingresses.networking.k8s.io"),
            (
                "/registry/ingressclasses/a",
                "ingressclasses.networking.k8s.io",
            ),
            (
                "/registry/ipaddresses/10.0.0.1",
                "ipaddresses.networking.k8s.io",
            ),
            (
                "/registry/podsecuritypolicy/a",
                "podsecuritypolicies.policy",
            ),
            (
                "/registry/leases/kube-node-lease/a",
                "leases.coordination.k8s.io",
            ),
            (
                "/registry/apiregistration.k8s.io/apiservices/v1.apps",
                "apiservices.apiregistration.k8s.io",
            ),
            (
                "/registry/apiextensions.k8s.io/customresourcedefinitions/a.b.c",
                "customresourcedefinitions.apiextensions.k8s.io",
            ),
            (
                "/registry/snap.example/gadgets/ns/a",
                "gadgets.snap.example",
            ),
            ("/registry/snap.example/gadgets/a", "gadgets.snap.example"),
            ("/registry/ranges/serviceips", "serviceipallocations"),
            (
                "/registry/ranges/servicenodeports",
                "servicenodeportallocations",
            ),
            ("/registry/masterleases/10.0.0.1", "apiServerIPInfo"),
            ("/registry/peerserverleases/a", "apiServerPeerIPInfo"),
        ];
        for (key, wanted) in table {
            assert_eq!(resource(key).as_deref(), Some(wanted), "{key}");
        }
    }

    #[test]
    fn keys_of_no_known_resource() {
        for key in [
            "",
            "/",
            "compact_rev_key",
            "/registry",
            "/registry/",
            "/registry/secrets",
            "/registry/secrets/",
            "/registry//secrets/ns/a",
            "registry/secrets/ns/a",
            "/registry2/secrets/ns/a",
            "/registry/services/other/ns/a",
            "/registry/services/specs",
            "/registry/ranges/other",
            "/registry/snap.example/gadgets",
            "/registry/snap.example/gad.gets/a",
            "/registry/frobnications/ns/a",
        ] {
            assert_eq!(resource(key), None, "{key}");
        }
        assert_eq!(resource_of_etcd_key(b"/registry/\xff.x/a/b"), None);
    }

    #[test]
    fn the_prefix_is_cleaned_as_the_server_cleans_it() {
        for prefix in ["/a/b", "a/b", "/a/b/", "a/b//"] {
            let found = resource_of_etcd_key_under(prefix.as_bytes(), b"/a/b/pods/ns/x");
            assert_eq!(found, Some(GroupResource::new("", "pods")), "{prefix}");
        }
        let found = resource_of_etcd_key_under(b"/", b"/pods/ns/x");
        assert_eq!(found, Some(GroupResource::new("", "pods")));
    }

    #[test]
    fn a_resource_is_kept_where_its_keys_are() {
        for name in [
            "secrets",
            "nodes",
            "services",
            "endpoints",
            "deployments.apps",
            "ingresses.networking.k8s.io",
            "gadgets.snap.example",
            "apiservices.apiregistration.k8s.io",
        ] {
            let paths = etcd_paths_of(GroupResource::parse(name)).unwrap();
            for path in paths {
                let key = match path.ends_with('/') {
                    true => format!("/registry/{path}ns/a"),
                    false => format!("/registry/{path}"),
                };
                let found = resource(&key).unwrap();
                let is_same = found == name || path.starts_with("ranges/");
                assert!(is_same, "{name}: {key} is of {found}");
            }
        }
        for unknown in ["frobnications", "things.apps", "*.*", "a/b.example.org"] {
            assert_eq!(
                etcd_paths_of(GroupResource::parse(unknown)),
                None,
                "{unknown}"
            );
        }
    }

    #[test]
    fn the_table_names_each_resource_once() {
        for (index, (group, resource)) in BUILT_IN.iter().enumerate() {
            assert!(!resource.contains(['.', '/']));
            assert!(BUILT_IN[..index].iter().all(|(_, other)| other != resource));
            assert!(index == 0 || BUILT_IN[index - 1].0 <= *group);
        }
    }
}
