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
