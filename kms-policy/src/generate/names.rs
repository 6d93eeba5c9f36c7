//! Names of pods, as the runtime will see them.

use super::Profile;
use crate::manifest::{Workload, WorkloadKind};

/// What the annotation with the pod's name has to be; none if any name may be there.
pub(super) fn sandbox_name(profile: Profile, workload: &Workload) -> Option<String> {
    let own = &workload.metadata;
    if profile == Profile::AksAzl3 {
        return match (workload.kind, &own.name, &own.generate_name) {
            (WorkloadKind::Pod, Some(name), _) => Some(name.clone()),
            (WorkloadKind::Pod, None, Some(_)) => Some("$(generated-name)".to_owned()),
            _ => None,
        };
    }
    let name = own.name.as_deref().map(escape);
    let generated = own.generate_name.as_deref().map(escape);
    if profile == Profile::Aks3_15 {
        return match (workload.kind, name, generated) {
            (WorkloadKind::Pod, Some(name), _) => Some(format!("^{name}$")),
            (WorkloadKind::Pod, None, Some(generated)) => {
                Some(format!("^{generated}[a-z0-9.-]*[a-z0-9]$"))
            }
            _ => None,
        };
    }
    // What the API server and controllers append: letters and digits that spell no words.
    const GENERATED: &str = "[bcdfghjklmnpqrstvwxz2456789]{5,}";
    const SUFFIX: &str = "-[bcdfghjklmnpqrstvwxz2456789]{5,}";
    let base = match (name, generated) {
        (Some(name), _) => name,
        (None, Some(generated)) => format!("{generated}{GENERATED}"),
        (None, None) => return None,
    };
    Some(match workload.kind {
        WorkloadKind::Pod => format!("^{base}$"),
        WorkloadKind::Deployment => format!("^{base}-[a-z0-9]{{1,}}{SUFFIX}$"),
        WorkloadKind::DaemonSet
        | WorkloadKind::ReplicaSet
        | WorkloadKind::ReplicationController => format!("^{base}{SUFFIX}$"),
        WorkloadKind::StatefulSet => format!("^{base}-[0-9]+$"),
        WorkloadKind::Job => format!("^{base}(-[0-9]+)?{SUFFIX}$"),
        WorkloadKind::CronJob => format!("^{base}-[0-9]+(-[0-9]+)?{SUFFIX}$"),
    })
}

/// The namespace; empty if any may be there.
pub(super) fn namespace(workload: &Workload, default: Option<&str>) -> String {
    let named = workload.metadata.namespace.as_deref().or(default);
    named.unwrap_or_default().to_owned()
}

/// A text as a regular expression that only it fits. Names hold letters, digits, dots and dashes.
pub(super) fn escape(text: &str) -> String {
    const SPECIAL: &str = r"\.+*?()|[]{}^$#&-~";
    let mut escaped = String::new();
    for letter in text.chars() {
        if SPECIAL.contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::support::Sample;
    use super::*;

    const KEY: &str = "io.kubernetes.cri.sandbox-name";

    fn name(profile: Profile, kind: &'static str, metadata: &'static str) -> Option<String> {
        let sample = Sample::new(profile).kind(kind).metadata(metadata);
        let annotations = &sample.pause()["OCI"]["Annotations"];
        annotations[KEY].as_str().map(str::to_owned)
    }

    #[test]
    fn a_pod_has_its_name_and_others_one_that_their_kind_makes() {
        const S: &str = "-[bcdfghjklmnpqrstvwxz2456789]{5,}";
        for (kind, of_kata) in [
            ("Pod", "^web$".to_owned()),
            ("Deployment", format!("^web-[a-z0-9]{{1,}}{S}$")),
            ("DaemonSet", format!("^web{S}$")),
            ("ReplicaSet", format!("^web{S}$")),
            ("ReplicationController", format!("^web{S}$")),
            ("StatefulSet", "^web-[0-9]+$".to_owned()),
            ("Job", format!("^web(-[0-9]+)?{S}$")),
            ("CronJob", format!("^web-[0-9]+(-[0-9]+)?{S}$")),
        ] {
            let metadata = "{name: web}";
            assert_eq!(name(Profile::Kata, kind, metadata), Some(of_kata), "{kind}");
            let is_pod = kind == "Pod";
            let aks = name(Profile::AksAzl3, kind, metadata);
            assert_eq!(aks, is_pod.then(|| "web".to_owned()), "{kind}");
            let aks = name(Profile::Aks3_15, kind, metadata);
            assert_eq!(aks, is_pod.then(|| "^web$".to_owned()), "{kind}");
        }
    }

    #[test]
    fn a_generated_name_begins_as_it_says() {
        let of = |profile| name(profile, "Pod", "{generateName: web.}").unwrap();
        assert_eq!(of(Profile::AksAzl3), "$(generated-name)");
        assert_eq!(of(Profile::Aks3_15), r"^web\.[a-z0-9.-]*[a-z0-9]$");
        assert_eq!(
            of(Profile::Kata),
            r"^web\.[bcdfghjklmnpqrstvwxz2456789]{5,}$"
        );
    }

    #[test]
    fn what_means_something_in_an_expression_is_escaped() {
        assert_eq!(escape("a.b-c"), r"a\.b\-c");
        assert_eq!(
            name(Profile::Kata, "Pod", "{name: a.b}").unwrap(),
            r"^a\.b$"
        );
    }

    #[test]
    fn a_namespace_that_is_not_named_is_the_default_one_or_any() {
        let namespace = |profile, metadata| {
            let sample = Sample::new(profile).metadata(metadata);
            sample.pause()["OCI"]["Annotations"]["io.kubernetes.cri.sandbox-namespace"].clone()
        };
        assert_eq!(namespace(Profile::AksAzl3, "{name: a}"), "default");
        assert_eq!(namespace(Profile::Aks3_15, "{name: a}"), "");
        assert_eq!(namespace(Profile::Kata, "{name: a}"), "");
        for profile in super::super::support::ALL {
            assert_eq!(namespace(profile, "{name: a, namespace: b}"), "b");
        }
    }
}
