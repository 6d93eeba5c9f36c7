//! What concerns one container.

use serde_json::Value;

use super::{Finding, Severity};
use crate::document::{DocumentContainer, PolicyDocument};

/// Parts of a variable's name that tell of a secret.
const SECRETS: [&str; 7] = [
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
];

pub(super) fn findings(
    document: &PolicyDocument,
    container: &DocumentContainer,
    findings: &mut Vec<Finding>,
) {
    let mut find = |code, severity, message: String, remedy| {
        findings.push(Finding {
            code,
            severity,
            container: Some(container.name().to_owned()),
            message,
            remedy,
        });
    };
    let image = container.image();
    let is_proved = !container.root_hashes().is_empty();
    if !image.is_empty() && !image.contains("@sha256:") {
        // Root hashes are of what the tag meant when the policy was made: another image will not start.
        let (severity, what) = if is_proved {
            (Severity::Note, "the pod stops starting once the tag moves")
        } else {
            (Severity::Warning, "whatever the tag means is run")
        };
        find(
            "unpinned-image",
            severity,
            format!("`{image}` has no digest: {what}"),
            "name the image by its digest",
        );
    }
    // Where no layers are proved, the pause image is part of the guest.
    if !is_proved && !container.is_pause() {
        find(
            "image-unproved",
            Severity::Warning,
            "nothing in the policy proves what is in the image".to_owned(),
            "have the guest check signatures of images, or use a profile with dm-verity root hashes",
        );
    }
    let (given, mounts) = (container.oci.process.env.len(), container.oci.mounts.len());
    if !container.is_pause() && given.max(mounts) > 0 {
        find(
            "may-lack",
            Severity::Note,
            format!("the host may leave out any of its {given} variables and {mounts} mounts"),
            "have the program refuse to start without what its safety depends on",
        );
    }
    if container.is_privileged() {
        find(
            "privileged",
            Severity::Warning,
            "it has all rights in the guest".to_owned(),
            "drop `privileged`, and add the capabilities that it needs",
        );
    }
    for command in container.commands() {
        find(
            "exec-allowed",
            Severity::Note,
            format!("the host may run `{command}` in it at any time"),
            "leave out exec probes and hooks whose effect the host must not choose",
        );
    }
    if container.exec_commands.iter().any(Value::is_string) {
        find(
            "exec-joined",
            Severity::Note,
            "its commands are joined by spaces, so that the host may divide the words otherwise"
                .to_owned(),
            "use commands whose words hold no spaces",
        );
    }
    variables(document, container, &mut find);
    for mount in &container.oci.mounts {
        let host = ["/dev", "/sys"].iter().any(|root| {
            let rest = mount.source.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if host && mount.type_ == "bind" {
            find(
                "guest-path",
                Severity::Note,
                format!(
                    "it sees the guest's {} at {}",
                    mount.source, mount.destination
                ),
                "leave out hostPath volumes of /dev and /sys",
            );
        }
    }
}

fn variables(
    document: &PolicyDocument,
    container: &DocumentContainer,
    find: &mut dyn FnMut(&'static str, Severity, String, &'static str),
) {
    let process = &container.oci.process;
    let patterns = document.data.request_defaults.get("CreateContainerRequest");
    let patterns = patterns.and_then(|it| it.get("allow_env_regex_map"));
    for variable in &process.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        let upper = name.to_ascii_uppercase();
        let is_secret = SECRETS.iter().any(|part| upper.contains(part));
        let is_literal = !value.is_empty() && !value.starts_with("$(") && !value.starts_with('/');
        if is_secret && is_literal {
            find(
                "secret-in-clear",
                Severity::Error,
                format!(
                    "the value of {name} stands in the policy, for everyone who may read the pod"
                ),
                "have the pod fetch it from a key broker when it runs",
            );
        }
        if value.contains("$(todo-annotation)") || value.contains("$(resource-field)") {
            find(
                "wildcard-env",
                Severity::Warning,
                format!("the host may give {name} any value"),
                "set it in the manifest, or name the annotation there",
            );
        }
        let has_pattern = patterns.is_some_and(|patterns| patterns.get(name).is_some());
        if value.contains("$(validate-from-settings)") && !has_pattern {
            find(
                "missing-env",
                Severity::Error,
                format!("the settings have no expression for {name}"),
                "add it to allow_env_regex_map in the settings",
            );
        }
    }
    let known = |name: &str| {
        let mut env = process.env.iter();
        env.any(|variable| variable.split('=').next() == Some(name))
    };
    for word in &process.args {
        for name in references(word) {
            if !known(name) {
                find(
                    "missing-env",
                    Severity::Note,
                    format!("its command names $({name}), which no variable of its is called"),
                    "set the variable, or write $$ for a dollar sign",
                );
            }
        }
    }
}

/// Names in `$(NAME)` that could be those of variables.
fn references(word: &str) -> impl Iterator<Item = &str> {
    let parts = word.split("$(").skip(1);
    let names = parts.filter_map(|rest| rest.split_once(')').map(|(name, _)| name));
    names.filter(|name| {
        let is_name =
            |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        !name.is_empty() && name.chars().all(is_name)
    })
}
